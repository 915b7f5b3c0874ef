//! Element types, quantization, recurrences and control flow.

use crate::ir::{DType, TensorData};

use super::draft::{Draft, Outcome, refuse};
use super::table::{Row, same};

pub(super) const STEPS: &[Row] = &[
    ("Cast", 1, 6, cast_name_up, cast_name_down),
    ("Cast", 13, 19, same, saturate_down),
    ("Cast", 23, 24, same, saturate_down),
    ("CastLike", 23, 24, same, same),
    ("Constant", 11, 12, same, constant_down),
    ("QuantizeLinear", 10, 13, same, per_tensor_down),
    ("QuantizeLinear", 13, 19, same, same),
    ("QuantizeLinear", 19, 21, same, quantized_type_down),
    ("DequantizeLinear", 10, 13, same, per_tensor_down),
    ("DequantizeLinear", 21, 23, same, dequantized_type_down),
    ("ConvTranspose", 1, 11, same, same),
    ("GRU", 1, 3, direction_up, same),
    ("GRU", 3, 7, sequence_up, sequence_down),
    ("LSTM", 1, 7, sequence_up, sequence_down),
    ("RNN", 1, 7, sequence_up, sequence_down),
    ("Scan", 8, 9, |_| refuse("its inputs have a batch axis"), |_| refuse("its inputs had a batch axis")),
    ("Scan", 9, 11, same, scan_axes_down),
    ("ScatterElements", 16, 18, same, reduction_down),
    ("ScatterND", 16, 18, same, reduction_down),
];

/// The names of opset 1 are those of `TensorProto.DataType`: the text syntax has them in lower case.
fn cast_name_up(d: &mut Draft<'_>) -> Outcome {
    let name = d.text("to")?.unwrap_or_default();
    let Some(dtype) = DType::from_name(&name.to_ascii_lowercase()) else {
        return refuse("its `to` names no element type");
    };
    d.set("to", i64::from(dtype.code()));
    Ok(())
}

fn target(d: &Draft<'_>) -> Outcome<Option<DType>> {
    let code = d.int("to")?.and_then(|code| i32::try_from(code).ok());
    Ok(code.and_then(DType::from_code))
}

fn cast_name_down(d: &mut Draft<'_>) -> Outcome {
    let Some(dtype) = target(d)? else { return refuse("its `to` names no element type") };
    d.set("to", dtype.name().to_ascii_uppercase().as_str());
    Ok(())
}

/// `CastLike` is a `Cast` where the type is known.
pub(super) fn cast_like_down(d: &mut Draft<'_>) -> Outcome {
    let Some(dtype) = d.fact(1).dtype else { return refuse("the type that it casts to is not known") };
    d.rename("Cast");
    d.take_input(1);
    d.set("to", i64::from(dtype.code()));
    Ok(())
}

/// Only the 8-bit floats saturate, and only `float8e8m0` rounds in several ways.
fn saturate_down(d: &mut Draft<'_>) -> Outcome {
    let Some(dtype) = target(d)? else { return Ok(()) };
    if !dtype.is_small_float() {
        d.drop_attr("saturate");
    }
    if dtype != DType::Float8e8m0 {
        d.drop_attr("round_mode");
    }
    Ok(())
}

fn constant_down(d: &mut Draft<'_>) -> Outcome {
    let strings = |items: Vec<bytes::Bytes>, dims: &[u64]| TensorData::strings(dims, items).ok();
    let value = if let Some(x) = d.take_float("value_float")? {
        Some(TensorData::scalar(x))
    } else if let Some(x) = d.take_int("value_int")? {
        Some(TensorData::scalar(x))
    } else if let Some(x) = d.take_bytes("value_string")? {
        strings(vec![x], &[])
    } else if let Some(x) = d.take_floats("value_floats")? {
        Some(TensorData::vector(&x))
    } else if let Some(x) = d.take_ints("value_ints")? {
        Some(TensorData::vector(&x))
    } else {
        return Ok(());
    };
    match value {
        Some(value) => d.set("value", value),
        None => return refuse("its value cannot be a tensor"),
    }
    Ok(())
}

fn per_tensor_down(d: &mut Draft<'_>) -> Outcome {
    if d.rank(1) != Some(0) && !d.fact(1).is_single() {
        return refuse("its scale is not known to be one for the whole tensor");
    }
    d.drop_attr("axis");
    Ok(())
}

/// Before 21, the zero point alone decided the type of the result.
fn quantized_type_down(d: &mut Draft<'_>) -> Outcome {
    let code = d.int("output_dtype")?.unwrap_or(0);
    let said = i32::try_from(code).ok().and_then(DType::from_code);
    let held = if d.has_input(2) { d.fact(2).dtype } else { Some(DType::Uint8) };
    if code != 0 && held != said {
        let dims = d.fact(1).known_dims().filter(|_| !d.has_input(2));
        let zero = dims.zip(said.filter(|t| t.bits() == 8)).and_then(|(dims, dtype)| {
            let count = usize::try_from(dims.iter().product::<u64>()).ok()?;
            TensorData::new(dtype, &dims, vec![0; count]).ok()
        });
        let Some(zero) = zero else { return refuse("its `output_dtype` needs a zero point of that type") };
        d.give(2, &zero);
    }
    d.drop_attr("output_dtype");
    Ok(())
}

fn dequantized_type_down(d: &mut Draft<'_>) -> Outcome {
    let said = d.int("output_dtype")?.and_then(|c| i32::try_from(c).ok()).and_then(DType::from_code);
    if said.is_some() && said == d.fact(1).dtype {
        d.drop_attr("output_dtype");
    }
    Ok(())
}

fn direction_up(d: &mut Draft<'_>) -> Outcome {
    if d.text("direction")?.as_deref() == Some("foward") {
        d.set("direction", "forward");
    }
    Ok(())
}

fn sequence_up(d: &mut Draft<'_>) -> Outcome {
    d.drop_attr("output_sequence");
    Ok(())
}

fn sequence_down(d: &mut Draft<'_>) -> Outcome {
    if d.uses_output(0) {
        d.set("output_sequence", 1i64);
    }
    Ok(())
}

fn scan_axes_down(d: &mut Draft<'_>) -> Outcome {
    for name in ["scan_input_axes", "scan_output_axes"] {
        if d.ints(name)?.unwrap_or_default().iter().any(|&a| a < 0) {
            return refuse("its scan axes count from the back");
        }
    }
    Ok(())
}

fn reduction_down(d: &mut Draft<'_>) -> Outcome {
    match d.text("reduction")?.as_deref() {
        Some("max" | "min") => refuse("its `reduction` is `max` or `min`"),
        _ => Ok(()),
    }
}
