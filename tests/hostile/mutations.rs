//! Damaged models: bytes flipped, cut, doubled and swapped, from a seed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use onnxpress::{Optimizer, Recipe, load_bytes};

use crate::stage::SMALL;

const SHAPES: &str = r#"
<ir_version: 10, opset_import: ["": 21]>
g (float[N, 4] x, bool on) => (float[A, B] y, float[N, 4] z)
<int64[2] s = {2, -1}, int64[1] zero = {0}, int64[1] two = {2}, int64[1] one = {1}>
{
  d = Shape (x)
  n = Slice (d, zero, one)
  c = Concat <axis = 0> (two, two)
  p = ConstantOfShape (c)
  e = Expand (p, s1)
  s1 = Mul (c, two)
  r = Reshape (x, s)
  t = Transpose <perm = [1, 0]> (r)
  y = Tile (e, c)
  z = If (on) <
    then_branch = a () => (float[N, 4] q) { q = Relu (x) },
    else_branch = b () => (float[N, 4] q) { k = Constant <value_float = 2.0> ()  q = Mul (x, k) }
  >
}"#;

const QUANTIZED: &str = r#"
<ir_version: 8, opset_import: ["": 17, "f": 1]>
g (float[1, 1, 4, 4] x) => (float[1, 1, 2, 2] y)
<int8[1, 1, 3, 3] w = {1, -2, 3, -4, 5, -6, 7, -8, 9}, float s = {0.1}, int8 z = {0}, float[1] bias = {0.5}>
{
  d = DequantizeLinear (w, s, z)
  c = Conv <pads = [0, 0, 0, 0], strides = [1, 1]> (x, d, bias)
  h = f.half (c)
  r = Clip (h)
  y = Identity (r)
}
<domain: "f", opset_import: ["": 17]>
half (a) => (b) { k = Constant <value = float {0.5}> ()  b = Mul (a, k) }"#;

/// A small generator, the same everywhere.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end.max(1) as u64) as usize
    }
}

fn damaged(whole: &[u8], seed: u64) -> Vec<u8> {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let mut bytes = whole.to_vec();
    for _ in 0..=dice.below(3) {
        let at = dice.below(bytes.len());
        match dice.below(8) {
            0..=2 => bytes[at] ^= 1 << dice.below(8),
            3 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff][dice.below(5)],
            4 => bytes[at] = bytes[at].wrapping_add(1),
            5 => bytes.truncate(at.max(1)),
            6 => {
                let end = (at + dice.below(40)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                let to = dice.below(bytes.len());
                bytes.splice(to..to, copy);
            }
            _ => {
                let other = dice.below(bytes.len());
                bytes.swap(at, other);
            }
        }
    }
    bytes
}

/// Loads and optimizes; whether the bytes were a model at all.
fn digest(bytes: Vec<u8>) -> bool {
    let Ok(loaded) = load_bytes(bytes, None) else { return false };
    for recipe in ["extends: simplify", "steps: [inline-functions]"] {
        let recipe = Recipe::from_str(recipe, "r", "".as_ref()).unwrap();
        if let Ok((model, report)) = Optimizer::new(recipe).run(&loaded.model) {
            assert!(report.after.weight_bytes <= report.before.weight_bytes + 5000, "it grows: {report:?}");
            if let Ok(bytes) = onnxpress::onnx::encode(model.check().unwrap()) {
                load_bytes(bytes, None).unwrap_or_else(|e| panic!("what is written cannot be read: {e}"));
            }
        }
    }
    true
}

#[test]
fn damaged_models_do_no_harm() {
    let rounds: u64 = std::env::var("ONNXPRESS_MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(1000);
    let first: u64 = std::env::var("ONNXPRESS_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(0);
    let start = Instant::now();
    let mut models = 0;
    for (name, text) in [("small", SMALL), ("shapes", SHAPES), ("quantized", QUANTIZED)] {
        let model = onnxpress::from_text(text).unwrap_or_else(|e| panic!("{name}: {e}")).model;
        let whole = onnxpress::onnx::encode(model.check().unwrap()).unwrap();
        for seed in first..first + rounds {
            let bytes = damaged(&whole, seed);
            let began = Instant::now();
            match catch_unwind(AssertUnwindSafe(|| digest(bytes))) {
                Ok(was_model) => models += u64::from(was_model),
                Err(_) => panic!(
                    "{name}, seed {seed} (run it alone with ONNXPRESS_SEED={seed} ONNXPRESS_MUTATIONS=1)"
                ),
            }
            assert!(began.elapsed() < Duration::from_secs(3), "{name}, seed {seed}: {:?}", began.elapsed());
        }
    }
    assert!(models > rounds / 10, "only {models} damaged files were models at all");
    assert!(rounds > 1000 || start.elapsed() < Duration::from_secs(120), "{:?}", start.elapsed());
}
