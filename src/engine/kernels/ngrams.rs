//! `TfIdfVectorizer`.

use std::collections::BTreeMap;

use super::Kernel;
use crate::engine::{EngineError, NodeCall};
use crate::ir::{AttrValue, DType, TensorData};

pub(super) const TABLE: &[(&str, Kernel)] = &[("TfIdfVectorizer", vectorize)];

/// A token of a sequence or of the pool, as bytes.
type Token = Vec<u8>;

/// The n-grams to count.
struct Grams {
    /// The column of the output for every n-gram.
    columns: BTreeMap<Vec<Token>, usize>,
    lengths: (usize, usize),
    skips: usize,
    width: usize,
}

fn number(call: &NodeCall<'_>, name: &str) -> Result<usize, EngineError> {
    let value = call.int_attr(name)?.and_then(|n| usize::try_from(n).ok()).filter(|&n| n < 1 << 20);
    value.ok_or_else(|| call.invalid(format_args!("attribute `{name}` is absent or negative")))
}

fn pool(call: &NodeCall<'_>, strings: bool) -> Result<Vec<Token>, EngineError> {
    match (call.attrs.get("pool_strings"), call.attrs.get("pool_int64s")) {
        (Some(AttrValue::Strings(items)), None) if strings => Ok(items.iter().map(|s| s.to_vec()).collect()),
        (None, Some(AttrValue::Ints(items))) if !strings => {
            Ok(items.iter().map(|i| i.to_le_bytes().to_vec()).collect())
        }
        _ => Err(call.invalid("needs a pool of the kind of its input")),
    }
}

impl Grams {
    fn new(call: &NodeCall<'_>, strings: bool) -> Result<Self, EngineError> {
        let pool = pool(call, strings)?;
        let counts = call.ints_attr("ngram_counts")?.unwrap_or_default();
        let indexes = call.ints_attr("ngram_indexes")?.unwrap_or_default();
        let lengths = (number(call, "min_gram_length")?, number(call, "max_gram_length")?);
        let wrong = || call.invalid("its n-grams, their counts and their indexes do not fit");
        let starts: Vec<usize> =
            counts.iter().map(|&c| usize::try_from(c)).collect::<Result<_, _>>().map_err(|_| wrong())?;
        let mut columns = BTreeMap::new();
        let (mut id, mut width) = (0, 0);
        for (i, &start) in starts.iter().enumerate() {
            let end = starts.get(i + 1).copied().unwrap_or(pool.len());
            for gram in pool.get(start..end).ok_or_else(wrong)?.chunks_exact(i + 1) {
                let column = indexes.get(id).and_then(|&c| usize::try_from(c).ok()).ok_or_else(wrong)?;
                width = width.max(column.saturating_add(1));
                id += 1;
                if (lengths.0..=lengths.1).contains(&(i + 1)) {
                    columns.insert(gram.to_vec(), column);
                }
            }
        }
        if id != indexes.len() || lengths.0 == 0 {
            return Err(wrong());
        }
        Ok(Self { columns, lengths, skips: number(call, "max_skip_count")?, width })
    }

    /// Counts the n-grams of one sequence.
    fn count(&self, row: &[Token], counts: &mut [f64]) {
        for length in self.lengths.0..=self.lengths.1.min(row.len()) {
            // One token skips nothing: it is counted once.
            let skips = if length == 1 { 0 } else { self.skips.min(row.len()) };
            for step in 1..=skips + 1 {
                let span = (length - 1) * step;
                for start in 0..row.len().saturating_sub(span) {
                    let gram: Vec<Token> = row[start..].iter().step_by(step).take(length).cloned().collect();
                    if let Some(&column) = self.columns.get(&gram) {
                        counts[column] += 1.0;
                    }
                }
            }
        }
    }
}

fn vectorize(call: &NodeCall<'_>) -> Result<Vec<TensorData>, EngineError> {
    let x = call.need(0)?;
    let tokens: Vec<Token> = match x.string_items() {
        Some(items) => items.iter().map(|s| s.to_vec()).collect(),
        None => call.wrapped(x)?.iter().map(|i| i.to_le_bytes().to_vec()).collect(),
    };
    let grams = Grams::new(call, x.string_items().is_some())?;
    let (rows, length) = match x.dims() {
        [_] => (1, tokens.len()),
        &[n, c] => (n as usize, c as usize),
        dims => return Err(call.invalid(format_args!("a sequence of dims {dims:?}"))),
    };
    let lead = if x.rank() == 2 { vec![x.dims()[0]] } else { Vec::new() };
    let dims: Vec<u64> = lead.into_iter().chain([grams.width as u64]).collect();
    let mut items = vec![0.0; call.sized(DType::Float, &dims)?];
    for (row, counts) in items.chunks_mut(grams.width.max(1)).enumerate().take(rows) {
        grams.count(tokens.get(row * length..(row + 1) * length).unwrap_or(&[]), counts);
    }
    let mode = call.str_or("mode", "")?;
    if !matches!(mode.as_str(), "TF" | "IDF" | "TFIDF") {
        return Err(call.invalid(format_args!("mode `{mode}` is unknown")));
    }
    if mode == "IDF" {
        for x in &mut items {
            *x = x.min(1.0);
        }
    }
    if let Some(weights) = call.attrs.floats("weights").filter(|w| mode != "TF" && !w.is_empty()) {
        let ordered =
            call.attrs.ints("ngram_indexes").is_some_and(|c| c.iter().copied().eq(0..c.len() as i64));
        if !ordered || weights.len() != grams.width {
            return Err(call.unsupported("weights of n-grams that are out of order"));
        }
        items.iter_mut().enumerate().for_each(|(i, x)| *x *= f64::from(weights[i % grams.width]));
    }
    Ok(vec![call.real_tensor(DType::Float, &dims, &items)?])
}

#[cfg(test)]
mod tests {
    use super::super::case::{check, refused};
    use crate::ir::{AttrValue, TensorData};

    fn attrs(mode: &str) -> Vec<(&'static str, AttrValue)> {
        vec![
            ("mode", mode.into()),
            ("min_gram_length", 1.into()),
            ("max_gram_length", 2.into()),
            ("max_skip_count", 1.into()),
            ("ngram_counts", AttrValue::Ints(vec![0, 3])),
            ("ngram_indexes", AttrValue::Ints(vec![0, 1, 2, 3, 4])),
            ("pool_int64s", AttrValue::Ints(vec![1, 3, 7, 1, 3, 3, 3])),
        ]
    }

    #[test]
    fn counts_with_skips() {
        let x = Some(TensorData::vector(&[1i32, 1, 3, 3, 3, 7, 8]));
        check("TfIdfVectorizer", &attrs("TF"), std::slice::from_ref(&x), &[5], &[2.0, 3.0, 1.0, 3.0, 3.0]);
        let mut weighted = attrs("IDF");
        weighted.push(("weights", AttrValue::Floats(vec![0.5, 1.0, 2.0, 3.0, 4.0])));
        check("TfIdfVectorizer", &weighted, std::slice::from_ref(&x), &[5], &[0.5, 1.0, 2.0, 3.0, 4.0]);
        refused("TfIdfVectorizer", &attrs("COUNT"), std::slice::from_ref(&x));
        refused("TfIdfVectorizer", &attrs("TF")[..5], &[x]);
    }
}
