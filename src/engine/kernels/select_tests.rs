use super::super::testing::{Case, bools, floats, ints, raw, strings};
use crate::ir::{DType, TensorData};

fn list(items: &[i64]) -> TensorData {
    TensorData::vector(items)
}

#[test]
fn slice_goes_both_ways_and_clamps() {
    let x = ints(&[2, 4], &[1, 2, 3, 4, 5, 6, 7, 8]);
    let slice = |starts: &[i64], ends: &[i64], axes: &[i64], steps: &[i64]| {
        let case = Case::new("Slice").input(&x).input(&list(starts)).input(&list(ends));
        case.input(&list(axes)).input(&list(steps))
    };
    assert_eq!(slice(&[1, 0], &[2, 3], &[0, 1], &[1, 2]).one(), ints(&[1, 2], &[5, 7]));
    assert_eq!(slice(&[-1], &[i64::MIN], &[1], &[-1]).one(), ints(&[2, 4], &[4, 3, 2, 1, 8, 7, 6, 5]));
    assert_eq!(slice(&[2], &[-4], &[1], &[-1]).one(), ints(&[2, 2], &[3, 2, 7, 6]));
    assert_eq!(slice(&[0], &[i64::MAX], &[-1], &[3]).one(), ints(&[2, 2], &[1, 4, 5, 8]));
    assert_eq!(slice(&[9], &[i64::MIN], &[1], &[i64::MIN]).one(), ints(&[2, 1], &[4, 8]));
    assert_eq!(slice(&[3], &[1], &[1], &[1]).one(), ints(&[2, 0], &[]));
    let short = Case::new("Slice").input(&x).input(&list(&[0, 1])).input(&list(&[-1, 1000]));
    assert_eq!(short.one(), ints(&[1, 3], &[2, 3, 4]));
    slice(&[0], &[1], &[1], &[0]).invalid();
    slice(&[0, 0], &[1, 1], &[1, -1], &[1, 1]).invalid();
    slice(&[0], &[1], &[2], &[1]).invalid();
    slice(&[0], &[1, 2], &[0], &[1]).invalid();
}

#[test]
fn pieces_below_a_byte_stay_whole() {
    // 1 2 3 / 4 5 6 in four bits; the last two columns.
    let x = raw(DType::Uint4, &[2, 3], &[0x21, 0x43, 0x65]);
    let ends = Case::new("Slice").input(&x).input(&list(&[1])).input(&list(&[3])).input(&list(&[1]));
    assert_eq!(ends.one(), raw(DType::Uint4, &[2, 2], &[0x32, 0x65]));
    let x = raw(DType::Float6e2m3, &[4], &[0x41, 0x30, 0x10]);
    let twice = Case::new("Gather").input(&x).input(&list(&[3, 0])).one();
    assert_eq!(twice, raw(DType::Float6e2m3, &[2], &[0x44, 0]));
    let words = strings(&[3], &["a", "b", "c"]);
    assert_eq!(Case::new("Gather").input(&words).input(&list(&[-1, 1])).one(), strings(&[2], &["c", "b"]));
}

#[test]
fn split_cuts_as_told_or_evenly() {
    let x = ints(&[1, 5], &[1, 2, 3, 4, 5]);
    let split = |outputs| Case::new("Split").input(&x).int("axis", -1).outputs(outputs);
    let three = [ints(&[1, 2], &[1, 2]), ints(&[1, 2], &[3, 4]), ints(&[1, 1], &[5])];
    assert_eq!(split(3).int("num_outputs", 3).all(), three);
    let told = split(2).input(&list(&[0, 5])).all();
    assert_eq!(told, [ints(&[1, 0], &[]), x.clone()]);
    split(2).input(&list(&[1, 3])).invalid();
    split(2).input(&list(&[-1, 6])).invalid();
    split(2).int("num_outputs", 0).invalid();
    split(2).int("num_outputs", i64::MAX).invalid();
    let empty = ints(&[0, 1 << 60], &[]);
    let halves = Case::new("Split").input(&empty).int("axis", 1).int("num_outputs", 2).outputs(2).all();
    assert_eq!(halves[0].dims(), [0, 1 << 59]);
}

#[test]
fn gather_puts_the_dims_of_the_indices_in_place() {
    let x = floats(&[3, 2], &[1.0, 1.2, 2.3, 3.4, 4.5, 5.7]);
    let rows = Case::new("Gather").input(&x).input(&ints(&[2, 2], &[0, 1, -2, 2])).one();
    assert_eq!(rows, floats(&[2, 2, 2], &[1.0, 1.2, 2.3, 3.4, 2.3, 3.4, 4.5, 5.7]));
    let column = Case::new("Gather").input(&x).input(&ints(&[], &[1])).int("axis", 1).one();
    assert_eq!(column, floats(&[3], &[1.2, 3.4, 5.7]));
    Case::new("Gather").input(&x).input(&list(&[3])).invalid();
    Case::new("Gather").input(&x).input(&list(&[-4])).invalid();
    Case::new("Gather").input(&floats(&[], &[1.0])).input(&list(&[0])).invalid();
    Case::new("Gather").input(&x).input(&list(&[0; 100])).limit(799).too_large();
}

#[test]
fn tile_repeats_every_axis() {
    let x = ints(&[2, 2], &[1, 2, 3, 4]);
    let tile = |repeats: &[i64]| Case::new("Tile").input(&x).input(&list(repeats));
    assert_eq!(tile(&[1, 2]).one(), ints(&[2, 4], &[1, 2, 1, 2, 3, 4, 3, 4]));
    assert_eq!(tile(&[2, 1]).one(), ints(&[4, 2], &[1, 2, 3, 4, 1, 2, 3, 4]));
    assert_eq!(tile(&[0, 7]).one(), ints(&[0, 14], &[]));
    tile(&[1]).invalid();
    tile(&[1, -1]).invalid();
    tile(&[1 << 60, 1]).too_large();
    tile(&[i64::MAX, i64::MAX]).too_large();
}

#[test]
fn compress_keeps_what_the_condition_marks() {
    let x = floats(&[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let compress = |keep: &[bool]| Case::new("Compress").input(&x).input(&bools(&[keep.len() as u64], keep));
    assert_eq!(compress(&[false, true, true]).int("axis", 0).one(), floats(&[2, 2], &[3.0, 4.0, 5.0, 6.0]));
    assert_eq!(compress(&[false, true]).int("axis", -1).one(), floats(&[3, 1], &[2.0, 4.0, 6.0]));
    assert_eq!(compress(&[false, true, false, false, true]).one(), floats(&[2], &[2.0, 5.0]));
    compress(&[true; 3]).int("axis", 1).invalid();
}

#[test]
fn pad_fills_in_four_ways() {
    let x = ints(&[3], &[1, 2, 3]);
    let pad = |mode: &str, pads: &[i64]| Case::new("Pad").input(&x).input(&list(pads)).attr("mode", mode);
    assert_eq!(pad("constant", &[1, 2]).one(), ints(&[6], &[0, 1, 2, 3, 0, 0]));
    assert_eq!(pad("constant", &[1, 0]).input(&ints(&[], &[9])).one(), ints(&[4], &[9, 1, 2, 3]));
    assert_eq!(pad("constant", &[-1, 1]).one(), ints(&[3], &[2, 3, 0]));
    assert_eq!(pad("edge", &[2, 1]).one(), ints(&[6], &[1, 1, 1, 2, 3, 3]));
    assert_eq!(pad("reflect", &[2, 1]).one(), ints(&[6], &[3, 2, 1, 2, 3, 2]));
    assert_eq!(pad("wrap", &[2, 1]).one(), ints(&[6], &[2, 3, 1, 2, 3, 1]));
    assert_eq!(pad("reflect", &[-1, 2]).one(), ints(&[4], &[2, 3, 2, 3]));
    let words = strings(&[1, 1], &["a"]);
    let axes = Case::new("Pad").input(&words).input(&list(&[0, 1])).absent().input(&list(&[-1]));
    assert_eq!(axes.one(), strings(&[1, 2], &["a", ""]));
    pad("reflect", &[-3, 1]).invalid();
    pad("constant", &[-2, -2]).invalid();
    pad("mirror", &[0, 0]).invalid();
    pad("constant", &[0]).invalid();
    pad("constant", &[0, 0]).input(&floats(&[], &[1.0])).invalid();
    pad("constant", &[i64::MAX, i64::MAX]).too_large();
    pad("wrap", &[1 << 60, 0]).too_large();
    pad("constant", &[i64::MIN, 0]).invalid();
}

#[test]
fn crop_and_pad_keep_the_centre() {
    let x = ints(&[4], &[1, 2, 3, 4]);
    let to = |size: i64| Case::new("CenterCropPad").input(&x).input(&list(&[size]));
    assert_eq!(to(1).one(), ints(&[1], &[2]));
    assert_eq!(to(2).one(), ints(&[2], &[2, 3]));
    assert_eq!(to(7).one(), ints(&[7], &[0, 1, 2, 3, 4, 0, 0]));
    assert_eq!(to(4).one(), x);
    to(-1).invalid();
    to(1 << 60).too_large();
    let square = ints(&[2, 2], &[1, 2, 3, 4]);
    let both = Case::new("CenterCropPad").input(&square).input(&list(&[3])).attr("axes", vec![-1i64]);
    assert_eq!(both.one(), ints(&[2, 3], &[1, 2, 0, 3, 4, 0]));
}
