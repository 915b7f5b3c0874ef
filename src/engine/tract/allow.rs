//! What tract is trusted with: the operators that have no kernel of ours, each within the forms in which it gives
//! the answers of the standard's own node tests and of onnxruntime.
//!
//! The figures of a row: right answers of tract 0.23.9, alone on constants, in the standard's node tests, and against
//! onnxruntime 1.32 on random calls over the operator's attributes, of those that the row lets through.

use super::unsupported;
use crate::engine::{EngineError, NodeCall};
use crate::ir::{DType, OpName};

/// Operators of other domains that tract means by their name.
const FOREIGN: &[(&str, &[&str])] = &[
    ("ai.onnx.ml", &["ArrayFeatureExtractor", "LinearClassifier", "LinearRegressor", "Normalizer"]),
    ("com.microsoft", &["BiasGelu", "FastGelu", "MatMulNBits", "QuickGelu", "SkipLayerNormalization"]),
];

/// Operators that tract does not have in the standard's own domain, though it knows the name.
const NOT_STANDARD: &[&str] = &["BiasGelu", "FastGelu", "MatMulNBits", "QuickGelu", "SkipLayerNormalization"];

/// Whether tract means the same as the domain by an operator of this name. tract itself does not look at the domain.
pub(super) fn runs(op: &OpName) -> bool {
    if op.domain.is_empty() {
        return !NOT_STANDARD.contains(&&*op.name);
    }
    FOREIGN.iter().any(|(domain, ops)| *domain == &*op.domain && ops.contains(&&*op.name))
}

/// Says no, with the form that is not known to be right.
type Check = fn(&NodeCall<'_>) -> Result<(), &'static str>;

const ALLOWED: &[(&str, Check)] = &[
    ("BlackmanWindow", window),     // 2 of 2, 24 of 24
    ("DFT", dft),                   // 9 of 9, 54 of 54; a dft_length is ignored
    ("GRU", recurrent),             // 5 of 5, 24 of 24; clip, activations and reverse are ignored
    ("GridSample", grid_sample),    // 18 of 18, 44 of 44; cubic at a border clamps otherwise
    ("HammingWindow", window),      // 2 of 2, 24 of 24
    ("HannWindow", window),         // 2 of 2, 24 of 24
    ("LSTM", recurrent),            // 5 of 5, 24 of 24; input_forget too is ignored
    ("NonMaxSuppression", non_max), // 10 of 10, 19 of 19; takes no limit for all boxes
    ("RNN", recurrent),             // 5 of 5, 20 of 20
    ("Resize", resize),             // 37 of 37, 285 of 285
    ("RotaryEmbedding", rotary),    // 8 of 8, 16 of 16
    ("STFT", stft),                 // 2 of 2, 16 of 16
];

/// Whether tract is known to evaluate this call right.
///
/// # Errors
/// [`EngineError::Unsupported`] with the operator and the form that is not known to be right.
pub(super) fn check(call: &NodeCall<'_>) -> Result<(), EngineError> {
    let name = &*call.op.name;
    let found = ALLOWED.iter().find(|(op, _)| *op == name && call.op.domain.is_empty());
    let Some((_, check)) = found else {
        return Err(unsupported(format!("operator {} on constants", call.op)));
    };
    check(call).map_err(|form| unsupported(format!("{name} with {form} on constants")))
}

/// The types in which the operator was tried.
fn only(call: &NodeCall<'_>, slot: usize, dtypes: &[DType]) -> Result<(), &'static str> {
    match call.input(slot) {
        Some(input) if !dtypes.contains(&input.dtype()) => Err("an input of this element type"),
        _ => Ok(()),
    }
}

fn floats(call: &NodeCall<'_>, slots: &[usize]) -> Result<(), &'static str> {
    slots.iter().try_for_each(|&slot| only(call, slot, &[DType::Float]))
}

fn when(wrong: bool, form: &'static str) -> Result<(), &'static str> {
    if wrong { Err(form) } else { Ok(()) }
}

fn window(call: &NodeCall<'_>) -> Result<(), &'static str> {
    let dtype = call.attrs.int("output_datatype").unwrap_or(1);
    when(dtype != i64::from(DType::Float.code()), "an output of another type than float")?;
    only(call, 0, &[DType::Int32, DType::Int64])
}

fn dft(call: &NodeCall<'_>) -> Result<(), &'static str> {
    when(call.attrs.get("axis").is_some(), "the form before opset 20")?;
    when(call.input(1).is_some(), "a dft_length")?;
    floats(call, &[0])
}

fn stft(call: &NodeCall<'_>) -> Result<(), &'static str> {
    floats(call, &[0, 2])
}

fn recurrent(call: &NodeCall<'_>) -> Result<(), &'static str> {
    let direction = call.attrs.str("direction").unwrap_or("forward");
    when(!["forward", "bidirectional"].contains(&direction), "the direction reverse")?;
    when(call.attrs.get("clip").is_some(), "clip")?;
    when(
        ["activations", "activation_alpha", "activation_beta"].iter().any(|a| call.attrs.get(a).is_some()),
        "activations",
    )?;
    when(call.attrs.int("input_forget").unwrap_or(0) != 0, "input_forget")?;
    floats(call, &[0, 1, 2, 3, 5, 6, 7])
}

fn grid_sample(call: &NodeCall<'_>) -> Result<(), &'static str> {
    let is = |attr, value| call.attrs.str(attr) == Some(value);
    when(
        (is("mode", "cubic") || is("mode", "bicubic")) && is("padding_mode", "border"),
        "cubic at a border",
    )?;
    floats(call, &[0, 1])
}

fn non_max(call: &NodeCall<'_>) -> Result<(), &'static str> {
    let most = call.input(2).and_then(crate::ir::TensorData::to_i64).unwrap_or(0);
    when(most < 1, "no max_output_boxes_per_class")?;
    floats(call, &[0, 1])
}

fn rotary(call: &NodeCall<'_>) -> Result<(), &'static str> {
    floats(call, &[0, 1, 2])
}

/// Where a scale gives a length that is no whole number, the standard's text and its reference implementation differ
/// about `align_corners` and `tf_crop_and_resize`; symmetric half pixels meet ties that a rounding error decides.
fn resize(call: &NodeCall<'_>) -> Result<(), &'static str> {
    let at = call.attrs.str("coordinate_transformation_mode").unwrap_or("half_pixel");
    let nearest = call.attrs.str("mode").is_none_or(|mode| mode == "nearest");
    when(nearest && at == "half_pixel_symmetric", "nearest at half_pixel_symmetric")?;
    when(call.input(2).is_none() && call.input(3).is_none(), "the form before opset 11")?;
    if ["align_corners", "tf_crop_and_resize"].contains(&at) {
        let scales = call.input(2).and_then(crate::ir::TensorData::to_f64s).unwrap_or_default();
        when(scales.iter().any(|s| s.fract() != 0.0), "scales that are no whole numbers in this mode")?;
    }
    floats(call, &[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_without_repeats() {
        assert!(ALLOWED.windows(2).all(|w| w[0].0 < w[1].0));
    }

    #[test]
    fn a_name_counts_in_its_own_domain_only() {
        assert!(runs(&OpName::onnx("Add")) && runs(&OpName::new("ai.onnx", "Add")));
        assert!(!runs(&OpName::new("com.foo", "Add")) && !runs(&OpName::new("com.microsoft", "Add")));
        assert!(runs(&OpName::new("com.microsoft", "FastGelu")) && !runs(&OpName::onnx("FastGelu")));
    }
}
