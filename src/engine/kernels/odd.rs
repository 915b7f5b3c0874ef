//! Tests that no kernel panics, whatever its attributes and inputs are.

use super::{TABLES, eval};
use crate::engine::NodeCall;
use crate::ir::{AttrValue, Attrs, DType, OpName, TensorData};

/// Numbers that look random but are the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n.max(1)
    }

    fn pick<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.below(items.len())]
    }

    fn ints(&mut self) -> Vec<i64> {
        (0..self.below(5)).map(|_| self.pick(&[-1, 0, 1, 1, 2, 3, 1 << 29, i64::MAX, i64::MIN])).collect()
    }

    fn dims(&mut self) -> Vec<u64> {
        let mut dims: Vec<u64> = (0..self.below(6)).map(|_| self.pick(&[1, 1, 2, 2, 3, 4])).collect();
        if self.below(8) == 0 && !dims.is_empty() {
            let (a, b) = (self.below(dims.len()), self.below(dims.len()));
            (dims[a], dims[b]) = (1 << 40, 0);
        }
        dims
    }

    fn tensor(&mut self) -> TensorData {
        let dims = self.dims();
        let len = if dims.contains(&0) { 0 } else { dims.iter().product::<u64>() as usize };
        let dtype =
            self.pick(&[DType::Float, DType::Float, DType::Int64, DType::Int8, DType::Uint8, DType::Bool]);
        let mut bytes = Vec::new();
        for _ in 0..len {
            let float = self.pick(&[0.0f32, 1.0, -2.5, 3.0, f32::NAN, f32::INFINITY, 1e30]);
            let int = self.pick(&[0i64, 1, 2, -1, 3, i64::MAX, i64::MIN]);
            match dtype {
                DType::Float => bytes.extend(float.to_le_bytes()),
                DType::Int64 => bytes.extend(int.to_le_bytes()),
                DType::Bool => bytes.push(int as u8 & 1),
                _ => bytes.push(int as u8),
            }
        }
        TensorData::new(dtype, &dims, bytes).unwrap()
    }

    fn attrs(&mut self) -> Attrs {
        let mut attrs = Attrs::new();
        for name in INTS.iter().chain(WORDS.iter().map(|(n, _)| n)).chain(LISTS) {
            if self.below(4) != 0 {
                continue;
            }
            let words = WORDS.iter().find(|(n, _)| n == name).map(|(_, words)| *words);
            let value = match words {
                Some(words) => AttrValue::from(self.pick(words)),
                None if LISTS.contains(name) => AttrValue::Ints(self.ints()),
                None => AttrValue::Int(self.pick(&[-1, 0, 1, 2, 3, i64::MIN, i64::MAX])),
            };
            attrs.set(name, value);
        }
        attrs
    }
}

const INTS: &[&str] = &[
    "axis",
    "group",
    "size",
    "p",
    "keepdims",
    "ceil_mode",
    "num_groups",
    "fmod",
    "num_heads",
    "q_num_heads",
    "kv_num_heads",
    "output_height",
    "output_width",
    "sampling_ratio",
    "hidden_size",
    "layout",
    "onesided",
    "inverse",
    "noop_with_empty_axes",
    "storage_order",
    "training_mode",
    "antialias",
    "exclude_outside",
    "align_corners",
    "is_causal",
    "transA",
    "transB",
    "count_include_pad",
    "offset_group",
    "left_window_size",
];
const LISTS: &[&str] = &[
    "kernel_shape",
    "pads",
    "strides",
    "dilations",
    "axes",
    "output_padding",
    "output_shape",
    "pooled_shape",
];
const WORDS: &[(&str, &[&str])] = &[
    ("mode", &["nearest", "linear", "cubic", "avg", "max", "TF"]),
    ("auto_pad", &["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"]),
    ("direction", &["LEFT", "RIGHT", "forward", "reverse", "bidirectional"]),
    ("equation", &["ij->ji", "ii", "i,i", "...,...", "ij,jk->ik", "", "->", "a...b"]),
    ("coordinate_transformation_mode", &["align_corners", "asymmetric", "tf_crop_and_resize", "half_pixel"]),
    ("reduction", &["mean", "sum", "none"]),
    ("update_rule", &["linear", "gated", "delta", "gated_delta"]),
    ("padding_mode", &["zeros", "border", "reflection"]),
];

#[test]
fn no_kernel_panics() {
    let (mut dice, mut answered) = (Dice(1), 0);
    for &(name, _) in TABLES.iter().copied().flatten() {
        let op = OpName::onnx(name);
        for _ in 0..400 {
            let attrs = dice.attrs();
            let first = dice.tensor();
            let mut inputs = vec![Some(first.clone())];
            for _ in 0..dice.below(8) {
                let next = match dice.below(4) {
                    0 => None,
                    1 => Some(first.clone()),
                    _ => Some(dice.tensor()),
                };
                inputs.push(next);
            }
            let inputs: Vec<_> = inputs.iter().map(Option::as_ref).collect();
            let outputs = vec![true; 1 + dice.below(4)];
            let call =
                NodeCall { op: &op, attrs: &attrs, inputs: &inputs, outputs: &outputs, limit: 1 << 16 };
            answered += usize::from(eval(&call).is_ok());
        }
    }
    // Enough of the calls are right for the others to be nearly so.
    assert!(answered > 1000, "{answered}");
}
