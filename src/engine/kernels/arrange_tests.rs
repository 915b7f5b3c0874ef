use super::super::testing::{Case, bools, floats, ints, raw, strings};
use crate::ir::{DType, TensorData};

#[test]
fn transpose_permutes_or_reverses() {
    let x = ints(&[2, 3], &[1, 2, 3, 4, 5, 6]);
    assert_eq!(Case::new("Transpose").input(&x).one(), ints(&[3, 2], &[1, 4, 2, 5, 3, 6]));
    let cube = ints(&[1, 2, 3], &[1, 2, 3, 4, 5, 6]);
    let turned = Case::new("Transpose").input(&cube).attr("perm", vec![2i64, 0, 1]).one();
    assert_eq!(turned, ints(&[3, 1, 2], &[1, 4, 2, 5, 3, 6]));
    let packed = raw(DType::Int2, &[2, 3], &[0b11_10_01_00, 0b01_00]);
    assert_eq!(
        Case::new("Transpose").input(&packed).one(),
        raw(DType::Int2, &[3, 2], &[0b00_01_11_00, 0b01_10])
    );
    for bad in [&[0i64][..], &[0, 0], &[0, 2]] {
        Case::new("Transpose").input(&x).attr("perm", bad).invalid();
    }
}

#[test]
fn depth_and_space_change_places() {
    let x = ints(&[1, 8, 1, 1], &[0, 1, 2, 3, 4, 5, 6, 7]);
    let d2s = |mode: &str| Case::new("DepthToSpace").input(&x).int("blocksize", 2).attr("mode", mode).one();
    assert_eq!(d2s("DCR"), ints(&[1, 2, 2, 2], &[0, 2, 4, 6, 1, 3, 5, 7]));
    assert_eq!(d2s("CRD"), ints(&[1, 2, 2, 2], &[0, 1, 2, 3, 4, 5, 6, 7]));
    for mode in ["DCR", "CRD"] {
        let space = d2s(mode);
        let back = Case::new("SpaceToDepth").input(&space).int("blocksize", 2).attr("mode", mode).one();
        assert_eq!(back, x);
    }
    Case::new("DepthToSpace").input(&x).int("blocksize", 3).invalid();
    Case::new("DepthToSpace").input(&x).int("blocksize", 0).invalid();
    Case::new("DepthToSpace").input(&x).int("blocksize", i64::MAX).invalid();
    Case::new("SpaceToDepth").input(&x).int("blocksize", 2).invalid();
    Case::new("SpaceToDepth").input(&x).invalid();
}

#[test]
fn concat_joins_along_an_axis() {
    let (x, y) = (ints(&[2, 1], &[1, 2]), ints(&[2, 2], &[3, 4, 5, 6]));
    let join = |axis| Case::new("Concat").input(&x).input(&y).int("axis", axis);
    assert_eq!(join(-1).one(), ints(&[2, 3], &[1, 3, 4, 2, 5, 6]));
    join(0).invalid();
    join(2).invalid();
    Case::new("Concat").input(&x).input(&floats(&[2, 1], &[0.0; 2])).int("axis", 0).invalid();
    Case::new("Concat").input(&x).absent().int("axis", 0).invalid();
    let words = strings(&[1], &["a"]);
    assert_eq!(
        Case::new("Concat").input(&words).input(&words).int("axis", 0).one(),
        strings(&[2], &["a", "a"])
    );
    let odd = raw(DType::Uint4, &[1], &[7]);
    assert_eq!(
        Case::new("Concat").input(&odd).input(&odd).int("axis", 0).one(),
        raw(DType::Uint4, &[2], &[0x77])
    );
    join(1).limit(47).too_large();
}

#[test]
fn expand_and_where_broadcast() {
    let x = ints(&[3, 1], &[1, 2, 3]);
    let expand = |sizes: &[i64]| Case::new("Expand").input(&x).input(&TensorData::vector(sizes));
    assert_eq!(expand(&[2, 1, 2]).one(), ints(&[2, 3, 2], &[1, 1, 2, 2, 3, 3, 1, 1, 2, 2, 3, 3]));
    assert_eq!(expand(&[1]).one(), x);
    assert_eq!(expand(&[0, 1, 1]).one().dims(), [0, 3, 1]);
    expand(&[2, 1]).invalid();
    expand(&[-1, 1]).invalid();
    expand(&[1 << 60, 1, 1]).too_large();
    expand(&[i64::MAX, i64::MAX, 1, 1]).too_large();
    let condition = bools(&[2, 1], &[true, false]);
    let choose = Case::new("Where").input(&condition).input(&ints(&[2], &[1, 2])).input(&ints(&[], &[9]));
    assert_eq!(choose.one(), ints(&[2, 2], &[1, 2, 9, 9]));
    Case::new("Where").input(&condition).input(&x).input(&floats(&[], &[1.0])).invalid();
    Case::new("Where").input(&condition).input(&x).input(&x).invalid();
}

#[test]
fn sequences_are_reversed_up_to_their_length() {
    let x = floats(&[4, 4], &[0., 4., 8., 12., 1., 5., 9., 13., 2., 6., 10., 14., 3., 7., 11., 15.]);
    let reversed = [3., 6., 9., 12., 2., 5., 8., 13., 1., 4., 10., 14., 0., 7., 11., 15.];
    let reverse =
        |lengths: &[i64]| Case::new("ReverseSequence").input(&x).input(&TensorData::vector(lengths));
    assert_eq!(reverse(&[4, 3, 2, 1]).one(), floats(&[4, 4], &reversed));
    let rows = reverse(&[1, 2, 3, 0]).int("time_axis", 1).int("batch_axis", 0).one();
    let reversed = [0., 4., 8., 12., 5., 1., 9., 13., 10., 6., 2., 14., 3., 7., 11., 15.];
    assert_eq!(rows, floats(&[4, 4], &reversed));
    reverse(&[5, 1, 1, 1]).invalid();
    reverse(&[1, 1, 1]).invalid();
    reverse(&[1; 4]).int("time_axis", 1).invalid();
}

#[test]
fn triangles_are_kept() {
    let x = ints(&[2, 3], &[1, 2, 3, 4, 5, 6]);
    let trilu =
        |upper: i64, k: i64| Case::new("Trilu").input(&x).input(&ints(&[], &[k])).int("upper", upper).one();
    assert_eq!(trilu(1, 0), ints(&[2, 3], &[1, 2, 3, 0, 5, 6]));
    assert_eq!(trilu(1, 1), ints(&[2, 3], &[0, 2, 3, 0, 0, 6]));
    assert_eq!(trilu(0, -1), ints(&[2, 3], &[0, 0, 0, 4, 0, 0]));
    assert_eq!(trilu(0, i64::MAX), x);
    assert_eq!(trilu(1, i64::MAX), ints(&[2, 3], &[0; 6]));
    Case::new("Trilu").input(&ints(&[2], &[1, 2])).invalid();
}
