use super::super::testing::{Case, bools, floats, ints};
use crate::ir::TensorData;

#[test]
fn elements_are_gathered_along_an_axis() {
    let x = ints(&[3, 3], &[1, 2, 3, 4, 5, 6, 7, 8, 9]);
    let gather = |axis, dims: &[u64], at: &[i64]| {
        Case::new("GatherElements").input(&x).input(&ints(dims, at)).int("axis", axis)
    };
    assert_eq!(gather(0, &[2, 3], &[1, 2, 0, 2, 0, 0]).one(), ints(&[2, 3], &[4, 8, 3, 7, 2, 3]));
    assert_eq!(gather(1, &[2, 2], &[0, 0, -2, -3]).one(), ints(&[2, 2], &[1, 1, 5, 4]));
    gather(0, &[1, 3], &[0, 3, 0]).invalid();
    gather(0, &[1, 4], &[0; 4]).invalid();
    gather(0, &[3], &[0; 3]).invalid();
}

#[test]
fn slices_are_gathered_by_tuples() {
    let x = ints(&[2, 2, 2], &[0, 1, 2, 3, 4, 5, 6, 7]);
    let gather = |dims: &[u64], at: &[i64]| Case::new("GatherND").input(&x).input(&ints(dims, at));
    assert_eq!(gather(&[2, 1, 2], &[0, 1, 1, 0]).one(), ints(&[2, 1, 2], &[2, 3, 4, 5]));
    assert_eq!(gather(&[1, 3], &[-1, -1, -1]).one(), ints(&[1], &[7]));
    assert_eq!(gather(&[2, 1], &[1, 0]).int("batch_dims", 1).one(), ints(&[2, 2], &[2, 3, 4, 5]));
    gather(&[1, 3], &[0, 0, 2]).invalid();
    gather(&[1, 4], &[0; 4]).invalid();
    gather(&[1, 1], &[0]).int("batch_dims", 1).invalid();
    gather(&[1], &[0]).int("batch_dims", -1).invalid();
    gather(&[1], &[0]).int("batch_dims", i64::MAX).invalid();
    gather(&[1 << 50, 0], &[]).invalid();
}

#[test]
fn updates_are_scattered_along_an_axis() {
    let x = floats(&[1, 5], &[1.0, 2.0, 3.0, 4.0, 5.0]);
    let scatter = |reduction: &str, at: &[i64], updates: &[f32]| {
        let dims = [1, at.len() as u64];
        let case =
            Case::new("ScatterElements").input(&x).input(&ints(&dims, at)).input(&floats(&dims, updates));
        case.int("axis", 1).attr("reduction", reduction)
    };
    let row = |items: [f32; 5]| floats(&[1, 5], &items);
    assert_eq!(scatter("none", &[1, -2], &[1.1, 2.1]).one(), row([1.0, 1.1, 3.0, 2.1, 5.0]));
    assert_eq!(scatter("add", &[1, 1], &[1.1, 2.5]).one(), row([1.0, 3.1f32 + 2.5, 3.0, 4.0, 5.0]));
    assert_eq!(scatter("mul", &[1, 1], &[2.0, 2.5]).one(), row([1.0, 10.0, 3.0, 4.0, 5.0]));
    assert_eq!(scatter("max", &[1, 1], &[1.0, 2.5]).one(), row([1.0, 2.5, 3.0, 4.0, 5.0]));
    assert_eq!(scatter("min", &[1, 1], &[1.0, 2.5]).one(), row([1.0, 1.0, 3.0, 4.0, 5.0]));
    scatter("none", &[1, 1], &[1.0, 2.0]).unsupported();
    scatter("max", &[1], &[f32::NAN]).unsupported();
    scatter("mean", &[1], &[1.0]).invalid();
    scatter("none", &[5], &[1.0]).invalid();
    let flags = bools(&[1], &[true]);
    Case::new("ScatterElements")
        .input(&flags)
        .input(&ints(&[1], &[0]))
        .input(&flags)
        .attr("reduction", "add")
        .unsupported();
}

#[test]
fn integers_reduce_exactly_and_wrap() {
    let x = TensorData::vector(&[200u8, 7]);
    let case = Case::new("ScatterND")
        .input(&x)
        .input(&ints(&[2, 1], &[0, 0]))
        .input(&TensorData::vector(&[50u8, 10]));
    assert_eq!(case.attr("reduction", "add").one(), TensorData::vector(&[4u8, 7]));
    let reduce = |reduction: &str| {
        let case = Case::new("ScatterND").input(&ints(&[2], &[5, -6])).input(&ints(&[2, 1], &[0, 1]));
        case.input(&ints(&[2], &[-7, 8])).attr("reduction", reduction).one()
    };
    assert_eq!(reduce("max"), ints(&[2], &[5, 8]));
    assert_eq!(reduce("min"), ints(&[2], &[-7, -6]));
    assert_eq!(reduce("mul"), ints(&[2], &[-35, -48]));
}

#[test]
fn slices_are_scattered_by_tuples() {
    let x = ints(&[2, 2], &[1, 2, 3, 4]);
    let scatter =
        |at: &TensorData, updates: &TensorData| Case::new("ScatterND").input(&x).input(at).input(updates);
    assert_eq!(scatter(&ints(&[1, 1], &[-1]), &ints(&[1, 2], &[8, 9])).one(), ints(&[2, 2], &[1, 2, 8, 9]));
    assert_eq!(scatter(&ints(&[2], &[0, 1]), &ints(&[], &[9])).one(), ints(&[2, 2], &[1, 9, 3, 4]));
    scatter(&ints(&[1, 1], &[2]), &ints(&[1, 2], &[8, 9])).invalid();
    scatter(&ints(&[1, 1], &[0]), &ints(&[2], &[8, 9])).invalid();
    scatter(&ints(&[1, 3], &[0, 0, 0]), &ints(&[1], &[8])).invalid();
    scatter(&ints(&[2, 1], &[0, -2]), &ints(&[2, 2], &[1; 4])).unsupported();
}

#[test]
fn caches_are_written_in_a_line_or_a_circle() {
    let past = ints(&[2, 3, 1], &[1, 2, 3, 4, 5, 6]);
    let update = ints(&[2, 2, 1], &[10, 20, 30, 40]);
    let write = |starts: &[i64], mode: &str| {
        Case::new("TensorScatter")
            .input(&past)
            .input(&update)
            .input(&TensorData::vector(starts))
            .attr("mode", mode)
    };
    assert_eq!(write(&[0, 1], "linear").one(), ints(&[2, 3, 1], &[10, 20, 3, 4, 30, 40]));
    assert_eq!(write(&[2, 4], "circular").one(), ints(&[2, 3, 1], &[20, 2, 10, 4, 30, 40]));
    assert_eq!(
        Case::new("TensorScatter").input(&past).input(&update).one(),
        ints(&[2, 3, 1], &[10, 20, 3, 30, 40, 6])
    );
    write(&[0, 2], "linear").invalid();
    write(&[0, -1], "circular").invalid();
    write(&[0], "linear").invalid();
    write(&[0, 0], "square").invalid();
    write(&[0, 0], "linear").int("axis", 0).invalid();
}
