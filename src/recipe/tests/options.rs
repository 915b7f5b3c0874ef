//! Options of passes, read from a recipe: with a type of the tests' own, since it must have every kind of option.

use std::sync::Arc;

use serde::Deserialize;

use super::super::de::DeError;
use super::super::error::Source;
use super::super::load::parse;
use super::*;

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Options {
    per_channel: bool,
    bits: u8,
    ratio: f32,
    scheme: Scheme,
    layers: Vec<String>,
    limit: Option<u64>,
    nested: Option<Inner>,
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Scheme {
    #[default]
    Int8,
    Int4,
    Blocks {
        size: u32,
    },
    Bits(u8),
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Inner {
    depth: i64,
}

fn options(text: &str) -> Result<Options, String> {
    let source = Arc::new(Source { name: "r".into(), text: text.into(), ..Source::default() });
    let tree = parse(&source).unwrap();
    let read: Result<Option<Options>, DeError> = Deserialize::deserialize(&tree);
    read.map(Option::unwrap_or_default).map_err(|e| e.into_recipe(&tree.place, &["only"]).to_string())
}

#[test]
fn every_kind_of_option_is_read() {
    let text = "per-channel: true\nbits: 4\nratio: 1\nscheme: int4\nlayers: [a, 'b']\nlimit: 9\nnested: { depth: -1 }";
    let wanted = Options {
        per_channel: true,
        bits: 4,
        ratio: 1.0,
        scheme: Scheme::Int4,
        layers: vec!["a".into(), "b".into()],
        limit: Some(9),
        nested: Some(Inner { depth: -1 }),
    };
    assert_eq!(options(text).unwrap(), wanted);
    assert_eq!(
        options("{ limit: ~, scheme: { blocks: { size: 32 } } }").unwrap().scheme,
        Scheme::Blocks { size: 32 }
    );
    assert_eq!(options("scheme: { bits: 3 }").unwrap().scheme, Scheme::Bits(3));
    assert_eq!(options("{}").unwrap(), Options::default());
}

#[test]
fn every_wrong_option_is_placed_and_explained() {
    let table = [
        ("per-chanel: true", "1:1: unknown option `per-chanel`; did you mean `per-channel`?"),
        ("per_channel: true", "1:1: unknown option `per_channel`; did you mean `per-channel`?"),
        ("onli: [a]", "1:1: unknown option `onli`; did you mean `only`?"),
        ("bits: 300", "1:7: expected a whole number from 0 to 255, found the number 300"),
        ("bits: -1", "1:7: expected a whole number from 0 to 255, found the number -1"),
        ("bits: 1.5", "1:7: expected a whole number from 0 to 255, found the number 1.5"),
        ("bits: '8'", "1:7: expected a whole number from 0 to 255, found the text `8`"),
        ("bits: ~", "1:7: expected a whole number from 0 to 255, found nothing"),
        ("per-channel: yes", "1:14: expected true or false, found the text `yes`"),
        ("ratio: [1]", "1:8: expected a number, found a list"),
        ("scheme: int3", "1:9: unknown value `int3`; did you mean `int8`?"),
        ("scheme: float", "1:9: unknown value `float`; the values are int8, int4, blocks, bits"),
        ("scheme: 8", "1:9: expected one of int8, int4, blocks, bits, found the number 8"),
        ("scheme: bits", "1:9: `bits` needs a value"),
        ("scheme: { int8: 3 }", "1:17: expected nothing, found the number 3"),
        ("scheme: { blocks: { sizes: 3 } }", "1:21: unknown option `sizes`; did you mean `size`?"),
        ("scheme: { blocks: {} }", "1:19: the option `size` is missing"),
        ("layers: a", "1:9: expected a list, found the text `a`"),
        ("layers:\n  - a\n  - 12", "3:5: expected text, found the number 12; put it in quotes"),
        ("nested: { depth: 1, width: 2 }", "1:21: unknown option `width`; the options are depth, only"),
        ("nested: 3", "1:9: expected a mapping of options, found the number 3"),
    ];
    for (text, wanted) in table {
        let message = options(text).unwrap_err();
        assert_eq!(message, format!("r:{wanted}"), "{text}");
    }
}

#[test]
fn a_registered_pass_takes_its_options_in_all_three_forms() {
    let forms = ["fuse-conv-bn", "fuse-conv-bn:", "fuse-conv-bn: {}", "fuse-conv-bn: ~"];
    let recipes: Vec<Recipe> = forms.iter().map(|form| read(&format!("steps:\n  - {form}"))).collect();
    assert!(recipes.windows(2).all(|pair| pair[0] == pair[1]));
}
