//! Operators on strings.

use bytes::Bytes;
use regex::Regex;

use super::Table;
use super::index::{Offsets, broadcast};
use crate::engine::{EngineError, NodeCall};
use crate::ir::{AttrValue, DType, TensorData};

pub(super) const TABLE: Table = &[
    ("RegexFullMatch", regex_full_match),
    ("StringConcat", string_concat),
    ("StringNormalizer", string_normalizer),
    ("StringSplit", string_split),
];

type Outputs = Result<Vec<TensorData>, EngineError>;

fn items<'a>(call: &NodeCall<'a>, slot: usize) -> Result<&'a [Bytes], EngineError> {
    call.need(slot)?
        .string_items()
        .ok_or_else(|| call.invalid(format_args!("input {slot} must hold strings")))
}

fn texts<'a>(call: &NodeCall<'a>, slot: usize) -> Result<Vec<&'a str>, EngineError> {
    let wrong = |_| call.invalid(format_args!("input {slot} holds a string that is not UTF-8"));
    items(call, slot)?.iter().map(|s| std::str::from_utf8(s).map_err(wrong)).collect()
}

fn made(call: &NodeCall<'_>, dims: &[u64], items: Vec<Bytes>) -> Result<TensorData, EngineError> {
    TensorData::strings(dims, items).map_err(|e| call.invalid(e))
}

fn string_concat(call: &NodeCall<'_>) -> Outputs {
    let (a, b) = (items(call, 0)?, items(call, 1)?);
    let shapes = [call.need(0)?.dims(), call.need(1)?.dims()];
    let wrong = || call.invalid(format_args!("{shapes:?} do not broadcast"));
    let dims = broadcast(&shapes).ok_or_else(wrong)?;
    let mut joined = Vec::with_capacity(call.sized(DType::String, &dims)?);
    let walk = |shape: &[u64]| Offsets::broadcast(shape, &dims).ok_or_else(wrong);
    let mut bytes = 0u64;
    for (i, k) in walk(shapes[0])?.zip(walk(shapes[1])?) {
        bytes += (a[i].len() + b[k].len()) as u64;
        if bytes > call.limit {
            return Err(EngineError::TooLarge { bytes, limit: call.limit });
        }
        joined.push([&a[i][..], &b[k][..]].concat().into());
    }
    Ok(vec![made(call, &dims, joined)?])
}

fn string_split(call: &NodeCall<'_>) -> Outputs {
    let (data, texts) = (call.need(0)?, texts(call, 0)?);
    let delimiter = call.str_or("delimiter", "")?;
    let most = match call.int_attr("maxsplit")?.map(usize::try_from) {
        None => usize::MAX,
        Some(Ok(most)) => most,
        Some(Err(_)) => return Err(call.unsupported("a negative maxsplit")),
    };
    if delimiter.is_empty() && !texts.iter().all(|s| s.is_ascii()) {
        return Err(call.unsupported("white space beyond ASCII"));
    }
    let parts: Vec<Vec<&str>> = texts
        .iter()
        .map(|text| {
            if delimiter.is_empty() {
                split_words(text, most)
            } else {
                text.splitn(most.saturating_add(1), delimiter.as_str()).collect()
            }
        })
        .collect();
    let widest = parts.iter().map(Vec::len).max().unwrap_or(0);
    let dims = [data.dims(), &[widest as u64]].concat();
    let mut flat = Vec::with_capacity(call.sized(DType::String, &dims)?);
    for words in &parts {
        let padded = words.iter().copied().chain(std::iter::repeat("")).take(widest);
        flat.extend(padded.map(|s| Bytes::copy_from_slice(s.as_bytes())));
    }
    let counts: Vec<i64> = parts.iter().map(|words| words.len() as i64).collect();
    call.sized(DType::Int64, data.dims())?;
    let counts = TensorData::from_slice(data.dims(), &counts).map_err(|e| call.invalid(e))?;
    Ok(vec![made(call, &dims, flat)?, counts])
}

/// Words between white space, with what follows the last split in one piece.
fn split_words(text: &str, most: usize) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text.trim_ascii();
    while !rest.is_empty() {
        let end = if words.len() == most { None } else { rest.find(|c: char| c.is_ascii_whitespace()) };
        let (word, left) = rest.split_at(end.unwrap_or(rest.len()));
        words.push(word);
        rest = left.trim_ascii_start();
    }
    words
}

fn string_normalizer(call: &NodeCall<'_>) -> Outputs {
    let (data, texts) = (call.need(0)?, texts(call, 0)?);
    let stops: Vec<&str> = match call.attrs.get("stopwords") {
        None => Vec::new(),
        Some(AttrValue::Strings(words)) => words.iter().filter_map(|w| std::str::from_utf8(w).ok()).collect(),
        Some(_) => return Err(call.invalid("attribute `stopwords` must be a list of strings")),
    };
    let locale = call.str_or("locale", "en_US")?;
    let plain = |s: &&str| s.is_ascii() && !s.is_empty() && !s.contains(' ');
    if !texts.iter().chain(&stops).all(plain) || !(locale.starts_with("en") || locale == "C") {
        return Err(
            call.unsupported("strings that are empty, hold spaces or are not ASCII, and locales but English")
        );
    }
    if !(data.rank() == 1 || (data.rank() == 2 && data.dims()[0] == 1)) {
        return Err(call.invalid(format_args!("its input must be [C] or [1, C], not {:?}", data.dims())));
    }
    let exact = call.flag("is_case_sensitive", false)?;
    let change = call.str_or("case_change_action", "NONE")?;
    let stopped = |s: &str| stops.iter().any(|w| if exact { *w == s } else { w.eq_ignore_ascii_case(s) });
    let mut kept = Vec::new();
    for text in texts.into_iter().filter(|s| !stopped(s)) {
        kept.push(Bytes::from(match change.as_str() {
            "NONE" => text.to_owned(),
            "LOWER" => text.to_ascii_lowercase(),
            "UPPER" => text.to_ascii_uppercase(),
            other => return Err(call.invalid(format_args!("case_change_action `{other}` is unknown"))),
        }));
    }
    if kept.is_empty() {
        kept.push(Bytes::new());
    }
    let mut dims = data.dims().to_vec();
    dims[data.rank() - 1] = kept.len() as u64;
    call.sized(DType::String, &dims)?;
    Ok(vec![made(call, &dims, kept)?])
}

fn regex_full_match(call: &NodeCall<'_>) -> Outputs {
    let (data, texts) = (call.need(0)?, texts(call, 0)?);
    let pattern = call.str_or("pattern", "")?;
    // What the two syntaxes read differently: sets of characters with operators, and open repetitions.
    let differs = ["&&", "--", "~~", "{,"].iter().any(|s| pattern.contains(s)) || nests_classes(&pattern);
    if differs || !pattern.is_ascii() || !texts.iter().all(|s| s.is_ascii()) {
        return Err(call.unsupported("this pattern, or strings that are not ASCII"));
    }
    let regex = Regex::new(&format!(r"\A(?:{pattern})\z"));
    let regex = regex.map_err(|_| call.unsupported(format_args!("the pattern `{pattern}`")))?;
    call.sized(DType::Bool, data.dims())?;
    let matches: Vec<bool> = texts.iter().map(|s| regex.is_match(s)).collect();
    Ok(vec![TensorData::from_slice(data.dims(), &matches).map_err(|e| call.invalid(e))?])
}

/// Whether a bracket opens inside brackets, other than for a named class such as `[:alpha:]`.
fn nests_classes(pattern: &str) -> bool {
    let (mut inside, mut escaped) = (false, false);
    let mut rest = pattern.chars().peekable();
    while let Some(c) = rest.next() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '[' if inside && rest.peek() != Some(&':') => return true,
            '[' => inside = true,
            ']' => inside = false,
            _ => {}
        }
    }
    false
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
