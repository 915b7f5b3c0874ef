use super::super::testing::{Case, bools, floats, ints, strings};
use crate::ir::TensorData;

#[test]
fn arg_max_prefers_the_first_or_the_last() {
    let x = floats(&[2, 3], &[2.0, 1.0, 2.0, -3.0, -0.0, 0.0]);
    let arg = |op: &str, axis| Case::new(op).input(&x).int("axis", axis);
    assert_eq!(arg("ArgMax", 1).one(), ints(&[2, 1], &[0, 1]));
    assert_eq!(arg("ArgMax", -1).int("select_last_index", 1).one(), ints(&[2, 1], &[2, 2]));
    assert_eq!(arg("ArgMin", 1).int("keepdims", 0).one(), ints(&[2], &[1, 0]));
    assert_eq!(arg("ArgMax", 0).one(), ints(&[1, 3], &[0, 0, 0]));
    let large = TensorData::vector(&[1u64, u64::MAX, 2]);
    assert_eq!(Case::new("ArgMax").input(&large).one(), ints(&[1], &[1]));
    assert_eq!(Case::new("ArgMin").input(&TensorData::vector(&[1i8, -128])).one(), ints(&[1], &[1]));
    arg("ArgMax", 2).invalid();
    Case::new("ArgMax").input(&floats(&[0], &[])).invalid();
    Case::new("ArgMax").input(&floats(&[2], &[1.0, f32::NAN])).unsupported();
}

#[test]
fn non_zero_lists_coordinates_by_axis() {
    let x = bools(&[2, 2], &[true, false, true, true]);
    assert_eq!(Case::new("NonZero").input(&x).one(), ints(&[2, 3], &[0, 1, 1, 0, 0, 1]));
    let x = floats(&[3], &[-0.0, f32::NAN, 1e-40]);
    assert_eq!(Case::new("NonZero").input(&x).one(), ints(&[1, 2], &[1, 2]));
    assert_eq!(Case::new("NonZero").input(&floats(&[2], &[0.0; 2])).one(), ints(&[1, 0], &[]));
}

#[test]
fn top_k_breaks_ties_by_place() {
    let x = ints(&[2, 4], &[0, 3, 3, 2, 7, 6, 5, 7]);
    let top = |k: i64| Case::new("TopK").input(&x).input(&TensorData::vector(&[k])).outputs(2);
    assert_eq!(top(3).all(), [ints(&[2, 3], &[3, 3, 2, 7, 7, 6]), ints(&[2, 3], &[1, 2, 3, 0, 3, 1])]);
    assert_eq!(top(2).int("largest", 0).all(), [ints(&[2, 2], &[0, 2, 5, 6]), ints(&[2, 2], &[0, 3, 2, 1])]);
    assert_eq!(top(1).int("axis", 0).all(), [ints(&[1, 4], &[7, 6, 5, 7]), ints(&[1, 4], &[1, 1, 1, 1])]);
    assert_eq!(top(0).all()[0].dims(), [2, 0]);
    top(5).invalid();
    top(-1).invalid();
    top(1).int("axis", 2).invalid();
}

#[test]
fn unique_elements_and_slices() {
    let x = floats(&[6], &[2.0, 1.0, 1.0, 3.0, 4.0, 3.0]);
    let unique = |x: &TensorData| Case::new("Unique").input(x).outputs(4);
    let list = |items: &[i64]| ints(&[items.len() as u64], items);
    assert_eq!(
        unique(&x).int("sorted", 0).all(),
        [
            floats(&[4], &[2.0, 1.0, 3.0, 4.0]),
            list(&[0, 1, 3, 4]),
            list(&[0, 1, 1, 2, 3, 2]),
            list(&[1, 2, 2, 1])
        ]
    );
    assert_eq!(
        unique(&x).all(),
        [
            floats(&[4], &[1.0, 2.0, 3.0, 4.0]),
            list(&[1, 0, 3, 4]),
            list(&[1, 0, 0, 2, 3, 2]),
            list(&[2, 1, 2, 1])
        ]
    );
    let rows = ints(&[3, 3], &[1, 0, 0, 1, 0, 0, 2, 3, 4]);
    assert_eq!(unique(&rows).int("axis", 0).all()[0], ints(&[2, 3], &[1, 0, 0, 2, 3, 4]));
    let columns = ints(&[2, 4, 2], &[1, 1, 0, 1, 2, 1, 0, 1, 1, 1, 0, 1, 2, 1, 0, 1]);
    let [y, first, inverse, counts] = <[_; 4]>::try_from(unique(&columns).int("axis", 1).all()).unwrap();
    assert_eq!(y, ints(&[2, 3, 2], &[0, 1, 1, 1, 2, 1, 0, 1, 1, 1, 2, 1]));
    assert_eq!([first, inverse, counts], [list(&[1, 0, 2]), list(&[1, 0, 2, 0]), list(&[2, 1, 1])]);
    assert_eq!(unique(&strings(&[3], &["b", "a", "b"])).all()[0], strings(&[2], &["a", "b"]));
    assert_eq!(unique(&floats(&[0], &[])).all()[1], list(&[]));
    unique(&floats(&[1], &[f32::NAN])).unsupported();
    unique(&ints(&[0, 4], &[])).int("axis", 1).unsupported();
}
