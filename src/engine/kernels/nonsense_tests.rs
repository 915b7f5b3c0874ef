//! Every kernel on calls that make no sense: an error is right, a panic or an allocation past the limit is not.

use super::TABLES;
use super::testing::{Case, Dice};
use crate::ir::DType;

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
