use super::super::testing::{Case, bools, floats, ints};
use crate::ir::TensorData;

#[test]
fn sums_and_products_accumulate() {
    let x = floats(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let scan = |op: &str, axis: i64| Case::new(op).input(&x).input(&ints(&[], &[axis]));
    let of = |items: [f32; 6]| floats(&[2, 3], &items);
    assert_eq!(scan("CumSum", 0).one(), of([1.0, 2.0, 3.0, 5.0, 7.0, 9.0]));
    assert_eq!(scan("CumSum", -1).one(), of([1.0, 3.0, 6.0, 4.0, 9.0, 15.0]));
    assert_eq!(scan("CumSum", 1).int("exclusive", 1).one(), of([0.0, 1.0, 3.0, 0.0, 4.0, 9.0]));
    assert_eq!(scan("CumSum", 1).int("reverse", 1).one(), of([6.0, 5.0, 3.0, 15.0, 11.0, 6.0]));
    assert_eq!(
        scan("CumProd", 1).int("reverse", 1).int("exclusive", 1).one(),
        of([6.0, 3.0, 1.0, 30.0, 6.0, 1.0])
    );
    scan("CumSum", 2).invalid();
    Case::new("CumSum").input(&bools(&[1], &[true])).input(&ints(&[], &[0])).unsupported();
    let wrapped =
        Case::new("CumProd").input(&TensorData::vector(&[i32::MAX, 2, 3])).input(&ints(&[], &[0])).one();
    assert_eq!(wrapped, TensorData::vector(&[i32::MAX, -2, -6]));
}

#[test]
fn sums_round_once() {
    // One rounding at each of the steps would stay at 2^24.
    let x = floats(&[3], &[16_777_216.0, 1.0, 1.0]);
    let sum = Case::new("CumSum").input(&x).input(&ints(&[1], &[0])).one();
    assert_eq!(sum, floats(&[3], &[16_777_216.0, 16_777_216.0, 16_777_218.0]));
}

#[test]
fn blocks_overlap_in_the_image() {
    let list = |items: &[i64]| TensorData::vector(items);
    let fold = |x: &TensorData, image: &[i64], block: &[i64]| {
        Case::new("Col2Im").input(x).input(&list(image)).input(&list(block))
    };
    let columns = floats(&[1, 2, 2], &[1.0, 2.0, 3.0, 4.0]);
    assert_eq!(fold(&columns, &[1, 3], &[1, 2]).one(), floats(&[1, 1, 1, 3], &[1.0, 5.0, 4.0]));
    let spread = fold(&columns, &[1, 4], &[1, 2]).attr("dilations", vec![1i64, 2]).one();
    assert_eq!(spread, floats(&[1, 1, 1, 4], &[1.0, 2.0, 3.0, 4.0]));
    let apart =
        fold(&columns, &[1, 3], &[1, 2]).attr("strides", vec![1i64, 2]).attr("pads", vec![0i64, 1, 0, 0]);
    assert_eq!(apart.one(), floats(&[1, 1, 1, 3], &[3.0, 2.0, 4.0]));
    fold(&columns, &[1, 4], &[1, 2]).invalid();
    fold(&columns, &[1, 3], &[1, 3]).invalid();
    fold(&columns, &[1, 3], &[1, 0]).invalid();
    fold(&columns, &[1, 3], &[1, 2]).attr("strides", vec![0i64, 1]).invalid();
    let wide = [i64::MAX, 1];
    fold(&columns, &wide, &wide).invalid();
}
