//! Every kernel on calls that make no sense: an error is right, a panic or an allocation past the limit is not.

use super::TABLES;
use super::testing::Case;
use crate::ir::{AttrValue, DType, TensorData};

/// Numbers that look random, the same on every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides
    }

    fn of<T: Copy>(&mut self, items: &[T]) -> T {
        items[self.roll(items.len())]
    }

    fn int(&mut self) -> i64 {
        const ODD: &[i64] = &[i64::MIN, i64::MAX, 1 << 60, -(1 << 40), 1 << 31, 255, 6];
        if self.roll(8) == 0 { self.of(ODD) } else { self.roll(8) as i64 - 3 }
    }

    fn tensor(&mut self) -> TensorData {
        if self.roll(2) == 0 {
            let items: Vec<i64> = (0..self.roll(5)).map(|_| self.int()).collect();
            return if items.len() == 1 { TensorData::scalar(items[0]) } else { TensorData::vector(&items) };
        }
        let mut dims: Vec<u64> = (0..self.roll(5)).map(|_| self.of(&[0, 1, 1, 2, 2, 3, 4])).collect();
        if dims.contains(&0) && self.roll(2) == 0 {
            dims.push(1 << 59);
        }
        let dtype = if self.roll(3) == 0 { DType::Float } else { self.of(DType::ALL) };
        let len: u64 = if dims.contains(&0) { 0 } else { dims.iter().product() };
        if dtype == DType::String {
            return TensorData::strings(&dims, (0..len).map(|i| format!("{i} a").into()).collect()).unwrap();
        }
        let bytes: Vec<u8> = (0..dtype.byte_len(len).unwrap()).map(|_| self.roll(256) as u8).collect();
        TensorData::new(dtype, &dims, bytes).unwrap()
    }

    fn attr(&mut self) -> AttrValue {
        match self.roll(8) {
            0 => AttrValue::Tensor(self.tensor()),
            1 => {
                self.of(&["add", "max", "CRD", "edge", "reflect", "wrap", "circular", "[a-", "LOWER"]).into()
            }
            2 => AttrValue::Ints((0..self.roll(5)).map(|_| self.int()).collect()),
            _ => self.int().into(),
        }
    }
}

const ATTRS: &[&str] = &[
    "axis",
    "axes",
    "mode",
    "to",
    "start",
    "end",
    "k",
    "dtype",
    "perm",
    "blocksize",
    "reduction",
    "batch_dims",
    "allowzero",
    "num_outputs",
    "block_size",
    "output_dtype",
    "precision",
    "saturate",
    "exclusive",
    "reverse",
    "value",
    "value_ints",
    "keepdims",
    "largest",
    "sorted",
    "strides",
    "pads",
    "dilations",
    "maxsplit",
    "pattern",
    "time_axis",
    "batch_axis",
    "upper",
    "select_last_index",
    "round_mode",
    "stopwords",
    "delimiter",
];

#[test]
fn nonsense_is_an_error_and_no_panic() {
    let mut dice = Dice(7);
    let ops: Vec<&str> = TABLES.iter().flat_map(|table| table.iter().map(|(name, _)| *name)).collect();
    let mut answers = 0;
    for round in 0..200 * ops.len() {
        let mut case = Case::new(ops[round % ops.len()]).outputs(1 + dice.roll(3)).limit(4096);
        let mut tensor = dice.tensor();
        for _ in 0..dice.roll(6) {
            case = if dice.roll(8) == 0 { case.absent() } else { case.input(&tensor) };
            if dice.roll(3) > 0 {
                tensor = dice.tensor();
            }
        }
        for _ in 0..dice.roll(4) {
            let name = if dice.roll(4) == 0 { "axis" } else { dice.of(ATTRS) };
            case = case.attr(name, dice.attr());
        }
        for output in case.run().unwrap_or_default() {
            answers += 1;
            assert!(output.byte_len() <= 4096 || output.dtype() == DType::String);
        }
    }
    assert!(answers > 500, "{answers}");
}
