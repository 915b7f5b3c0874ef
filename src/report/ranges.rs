//! The ranges of quantized tensors, in forms that other tools read.

use std::fmt::Write;

use serde_json::{Map, Value, json};

use crate::analysis::quantized::{Quantized, Spread, quantized};
use crate::ir::Model;

/// A form of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeFormat {
    /// The encodings file of AIMET, which the converters of Qualcomm's runtimes take as overrides: version 0.6.1; 1.0.0,
    /// where a weight has blocks, which 0.6.1 cannot say.
    Encodings,
    /// A table with commas.
    Csv,
    /// A table with tabs.
    Tsv,
}

impl RangeFormat {
    /// The endings of file names, as a message names them.
    pub const ENDINGS: &str = ".encodings, .json, .csv or .tsv";

    /// The form that a file name asks for.
    pub fn of(file_name: &str) -> Option<Self> {
        let ending = file_name.rsplit_once('.')?.1.to_ascii_lowercase();
        match &*ending {
            "encodings" | "json" => Some(Self::Encodings),
            "csv" => Some(Self::Csv),
            "tsv" => Some(Self::Tsv),
            _ => None,
        }
    }
}

/// The quantized tensors of a result as a file; `None` where it has none. Names are those of the original where the
/// tensor is there too.
pub fn ranges(original: &Model, result: &Model, format: RangeFormat) -> Option<String> {
    let all = quantized(original, result);
    (!all.is_empty()).then(|| match format {
        RangeFormat::Encodings => encodings(&all),
        RangeFormat::Csv => table(&all, ','),
        RangeFormat::Tsv => table(&all, '\t'),
    })
}

fn encodings(all: &[Quantized]) -> String {
    let blocks = all.iter().any(|q| matches!(q.spread, Spread::Blocks { .. }));
    let part = |parameters: bool| {
        let of_kind = || all.iter().filter(|q| q.is_parameter == parameters);
        if blocks {
            Value::Array(of_kind().map(whole_encoding).collect())
        } else {
            let named = of_kind().map(|q| (q.tensor.clone(), channel_encodings(q)));
            Value::Object(named.collect::<Map<_, _>>())
        }
    };
    let version = if blocks { "1.0.0" } else { "0.6.1" };
    let bits = |parameters: bool| {
        all.iter()
            .filter(|q| q.is_parameter == parameters && q.dtype.bits() < 32)
            .map(|q| q.dtype.bits())
            .max()
    };
    let spread = all.iter().any(|q| q.is_parameter && q.spread != Spread::Tensor);
    let symmetric = all.iter().filter(|q| q.is_parameter).all(is_symmetric);
    let (spread, symmetric) = if blocks {
        (json!(spread), json!(symmetric))
    } else {
        (json!(word(spread)), json!(word(symmetric)))
    };
    let mut file = json!({
        "version": version,
        "activation_encodings": part(false),
        "param_encodings": part(true),
        "quantizer_args": {
            "activation_bitwidth": bits(false).unwrap_or(32),
            "dtype": "int",
            "is_symmetric": symmetric,
            "param_bitwidth": bits(true).unwrap_or(32),
            "per_channel_quantization": spread,
            "quant_scheme": "post_training_tf",
        },
    });
    if let (true, Some(map)) = (blocks, file.as_object_mut()) {
        map.insert("excluded_layers".to_owned(), json!([]));
    }
    serde_json::to_string_pretty(&file).unwrap_or_default() + "\n"
}

/// A truth value as version 0.6.1 writes it.
fn word(truth: bool) -> &'static str {
    if truth { "True" } else { "False" }
}

/// The number of steps from zero to the smallest code: what is called an offset is `min / scale`, not the zero point.
fn offset(q: &Quantized, zero: i64) -> i64 {
    q.codes().0 - zero
}

/// Whether zero is in the middle of the codes.
fn is_symmetric(q: &Quantized) -> bool {
    let middle = -(1i64 << (q.dtype.bits() - 1));
    q.zero_points.iter().all(|&zero| offset(q, zero) == middle)
}

/// Version 0.6.1: one encoding for each scale.
fn channel_encodings(q: &Quantized) -> Value {
    let symmetric = word(is_symmetric(q));
    let one = |(scale, zero, min, max): (f64, i64, f64, f64)| {
        json!({
            "bitwidth": q.dtype.bits(),
            "dtype": "int",
            "is_symmetric": symmetric,
            "max": max,
            "min": min,
            "offset": offset(q, zero),
            "scale": scale,
        })
    };
    q.grids().map(one).collect()
}

/// Version 1.0.0: one encoding with lists.
fn whole_encoding(q: &Quantized) -> Value {
    let order = by_channel(q);
    let scale: Vec<f64> = order.iter().map(|&at| q.scales[at]).collect();
    let offsets: Vec<i64> = order.iter().map(|&at| offset(q, q.zero_points[at])).collect();
    let (kind, block) = match q.spread {
        Spread::Tensor => ("PER_TENSOR", None),
        Spread::Axis(_) => ("PER_CHANNEL", None),
        Spread::Blocks { size, .. } => ("PER_BLOCK", Some(size)),
    };
    let mut encoding = json!({
        "name": q.tensor,
        "enc_type": kind,
        "dtype": "INT",
        "bw": q.dtype.bits(),
        "is_sym": is_symmetric(q),
        "scale": scale,
        "offset": offsets,
    });
    if let (Some(size), Some(map)) = (block, encoding.as_object_mut()) {
        map.insert("block_size".to_owned(), json!(size));
    }
    encoding
}

/// The places of the scales with those of an output channel together, where blocks of a matrix lie down its columns.
fn by_channel(q: &Quantized) -> Vec<usize> {
    let plain = (0..q.scales.len()).collect();
    let Spread::Blocks { axis, dims, .. } = &q.spread else { return plain };
    let [blocks, channels] = dims[..] else { return plain };
    if axis.rem_euclid(2) != 0 {
        return plain;
    }
    let (blocks, channels) = (blocks as usize, channels as usize);
    (0..channels).flat_map(|channel| (0..blocks).map(move |block| block * channels + channel)).collect()
}

/// One row for each scale.
fn table(all: &[Quantized], separator: char) -> String {
    let mut out = String::new();
    let mut row = |cells: [String; 10]| {
        let cells: Vec<String> = cells.iter().map(|cell| quoted(cell, separator)).collect();
        let _ = writeln!(out, "{}", cells.join(&separator.to_string()));
    };
    row(["tensor", "kind", "axis", "index", "block_size", "dtype", "scale", "zero_point", "min", "max"]
        .map(str::to_owned));
    for q in all {
        let (axis, size) = match q.spread {
            Spread::Tensor => (String::new(), String::new()),
            Spread::Axis(axis) => (axis.to_string(), String::new()),
            Spread::Blocks { axis, size, .. } => (axis.to_string(), size.to_string()),
        };
        for (at, (scale, zero, min, max)) in q.grids().enumerate() {
            row([
                q.tensor.clone(),
                if q.is_parameter { "parameter" } else { "activation" }.to_owned(),
                axis.clone(),
                if q.spread == Spread::Tensor { String::new() } else { at.to_string() },
                size.clone(),
                q.dtype.name().to_owned(),
                scale.to_string(),
                zero.to_string(),
                min.to_string(),
                max.to_string(),
            ]);
        }
    }
    out
}

/// A cell of a table.
fn quoted(cell: &str, separator: char) -> String {
    if cell.contains([separator, '"', '\n', '\r']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell.to_owned()
    }
}

#[cfg(test)]
#[path = "ranges_tests.rs"]
mod tests;
