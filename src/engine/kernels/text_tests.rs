use bytes::Bytes;

use super::super::testing::{Case, bools, ints, strings};
use crate::ir::AttrValue;

#[test]
fn strings_are_joined() {
    let (x, y) = (strings(&[2, 1], &["a", "b"]), strings(&[2], &["c", ""]));
    assert_eq!(
        Case::new("StringConcat").input(&x).input(&y).one(),
        strings(&[2, 2], &["ac", "a", "bc", "b"])
    );
    Case::new("StringConcat").input(&strings(&[3], &[""; 3])).input(&y).invalid();
    Case::new("StringConcat").input(&ints(&[1], &[1])).input(&y).invalid();
}

#[test]
fn strings_are_split() {
    let split = |text: &str| Case::new("StringSplit").input(&strings(&[2], &[text, "x"])).outputs(2);
    let both = |dims: &[u64], words: &[&str], counts: &[i64]| vec![strings(dims, words), ints(&[2], counts)];
    assert_eq!(
        split("a,,b").attr("delimiter", ",").all(),
        both(&[2, 3], &["a", "", "b", "x", "", ""], &[3, 1])
    );
    assert_eq!(split("  a  b c ").all(), both(&[2, 3], &["a", "b", "c", "x", "", ""], &[3, 1]));
    let once = split(" a  b c ").int("maxsplit", 1).all();
    assert_eq!(once, both(&[2, 2], &["a", "b c", "x", ""], &[2, 1]));
    assert_eq!(split("").all(), both(&[2, 1], &["", "x"], &[0, 1]));
    assert_eq!(
        split("a-b").attr("delimiter", "-").int("maxsplit", 0).all(),
        both(&[2, 1], &["a-b", "x"], &[1, 1])
    );
}

#[test]
fn stop_words_go() {
    let stop = |word: &'static str| AttrValue::Strings(vec![Bytes::from_static(word.as_bytes())]);
    let x = strings(&[3], &["Monday", "tuesday", "friday"]);
    let normal = |word| Case::new("StringNormalizer").input(&x).attr("stopwords", stop(word));
    let upper = normal("monday").attr("case_change_action", "UPPER").one();
    assert_eq!(upper, strings(&[2], &["TUESDAY", "FRIDAY"]));
    assert_eq!(normal("monday").int("is_case_sensitive", 1).one(), x);
    let one = strings(&[1, 1], &["a"]);
    assert_eq!(
        Case::new("StringNormalizer").input(&one).attr("stopwords", stop("a")).one(),
        strings(&[1, 1], &[""])
    );
    Case::new("StringNormalizer").input(&strings(&[1], &["ß"])).unsupported();
    Case::new("StringNormalizer").input(&strings(&[2, 1], &["a", "b"])).invalid();
}

#[test]
fn whole_strings_match() {
    let x = strings(&[3], &["www.google.com", "www.facebook.com", "www.bbc.co.uk"]);
    let matches = |pattern: &str| Case::new("RegexFullMatch").input(&x).attr("pattern", pattern);
    assert_eq!(matches(r"www\.[\w.-]+\.\bcom\b").one(), bools(&[3], &[true, true, false]));
    assert_eq!(matches("www|.*uk").one(), bools(&[3], &[false, false, true]));
    matches("(").unsupported();
    matches("[a[b]").unsupported();
    matches("a{,2}").unsupported();
}
