use bytes::Bytes;
use half::f16;

use super::super::testing::{Case, bools, floats, ints, raw, strings};
use crate::ir::{AttrValue, DType, TensorData};

#[test]
fn constants_come_in_every_form() {
    let constant = |name: &str, value: AttrValue| Case::new("Constant").attr(name, value);
    let word = Bytes::from_static(b"a");
    let cases = [
        ("value", AttrValue::Tensor(ints(&[2], &[1, 2])), ints(&[2], &[1, 2])),
        ("value_int", AttrValue::Int(3), ints(&[], &[3])),
        ("value_ints", AttrValue::Ints(vec![3, 4]), ints(&[2], &[3, 4])),
        ("value_float", AttrValue::Float(0.5), floats(&[], &[0.5])),
        ("value_floats", AttrValue::Floats(vec![0.5]), floats(&[1], &[0.5])),
        ("value_string", AttrValue::String(word.clone()), strings(&[], &["a"])),
        ("value_strings", AttrValue::Strings(vec![word.clone(), word]), strings(&[2], &["a", "a"])),
    ];
    for (name, value, expected) in cases {
        assert_eq!(constant(name, value).one(), expected);
    }
    Case::new("Constant").invalid();
    constant("value_int", AttrValue::Float(1.0)).invalid();
    Case::new("Constant").int("value_int", 1).attr("value_float", 1f32).invalid();
}

#[test]
fn shapes_are_filled() {
    let fill = |dims: &[i64]| Case::new("ConstantOfShape").input(&TensorData::vector(dims));
    assert_eq!(fill(&[2]).one(), floats(&[2], &[0.0; 2]));
    assert_eq!(fill(&[]).attr("value", ints(&[1], &[7])).one(), ints(&[], &[7]));
    assert_eq!(
        fill(&[3]).attr("value", raw(DType::Int4, &[1], &[0x0f])).one(),
        raw(DType::Int4, &[3], &[0xff, 0x0f])
    );
    assert_eq!(fill(&[0, 5]).one().dims(), [0, 5]);
    fill(&[-1]).invalid();
    fill(&[1]).attr("value", ints(&[2], &[1, 2])).invalid();
    fill(&[1 << 60]).too_large();
    fill(&[1 << 60, 1 << 60]).too_large();
    fill(&[262_144]).attr("value", floats(&[1], &[1.0])).limit((1 << 20) - 1).too_large();
}

#[test]
fn eyes_have_one_diagonal() {
    let x = ints(&[2, 3], &[0; 6]);
    assert_eq!(Case::new("EyeLike").input(&x).one(), ints(&[2, 3], &[1, 0, 0, 0, 1, 0]));
    let up = Case::new("EyeLike").input(&x).int("k", 1).int("dtype", DType::Bool.code().into()).one();
    assert_eq!(up, bools(&[2, 3], &[false, true, false, false, false, true]));
    let half = Case::new("EyeLike").input(&x).int("k", -1).int("dtype", DType::Float16.code().into()).one();
    assert_eq!(
        half,
        TensorData::from_slice(&[2, 3], &[0, 0, 0, 1, 0, 0].map(|x| f16::from_f32(x as f32))).unwrap()
    );
    assert_eq!(Case::new("EyeLike").input(&x).int("k", i64::MIN).one(), x);
    Case::new("EyeLike").input(&ints(&[2], &[0; 2])).invalid();
    Case::new("EyeLike").input(&x).int("dtype", 99).invalid();
    Case::new("EyeLike").input(&x).int("dtype", DType::String.code().into()).unsupported();
}

#[test]
fn one_hot_marks_indices() {
    let values = ints(&[2], &[2, 5]);
    let hot = |at: &TensorData, depth: &TensorData| Case::new("OneHot").input(at).input(depth).input(&values);
    let three = ints(&[], &[3]);
    assert_eq!(hot(&ints(&[2], &[1, -1]), &three).one(), ints(&[2, 3], &[2, 5, 2, 2, 2, 5]));
    assert_eq!(hot(&ints(&[2], &[0, 3]), &three).int("axis", 0).one(), ints(&[3, 2], &[5, 2, 2, 2, 2, 2]));
    assert_eq!(hot(&floats(&[1], &[1.0]), &floats(&[1], &[2.0])).one(), ints(&[1, 2], &[2, 5]));
    assert_eq!(hot(&ints(&[1], &[i64::MIN]), &three).one(), ints(&[1, 3], &[2, 2, 2]));
    hot(&ints(&[1], &[0]), &ints(&[], &[-1])).invalid();
    hot(&ints(&[1], &[0]), &three).int("axis", 2).invalid();
    hot(&ints(&[2], &[0, 1]), &ints(&[], &[1 << 60])).too_large();
}

#[test]
fn ranges_stop_before_their_limit() {
    let range =
        |a: &TensorData, b: &TensorData, d: &TensorData| Case::new("Range").input(a).input(b).input(d);
    let of = |a: i64, b: i64, d: i64| range(&ints(&[], &[a]), &ints(&[], &[b]), &ints(&[], &[d]));
    assert_eq!(of(10, 4, -3).one(), ints(&[2], &[10, 7]));
    assert_eq!(of(1, 5, 2).one(), ints(&[2], &[1, 3]));
    assert_eq!(of(5, 1, 1).one(), ints(&[0], &[]));
    let float = |x: f32| floats(&[], &[x]);
    assert_eq!(range(&float(1.0), &float(2.0), &float(0.5)).one(), floats(&[2], &[1.0, 1.5]));
    let half = |x: f32| TensorData::scalar(f16::from_f32(x));
    let long = range(&half(2047.0), &half(2052.0), &half(1.0)).one().to_f64s().unwrap();
    assert_eq!(long, [2047.0, 2048.0, 2048.0, 2050.0, 2052.0]);
    // 44 steps of 0.1 in 32 bits, a little more in 64.
    range(&float(-1.7), &float(2.7), &float(0.1)).unsupported();
    of(0, 1, 0).invalid();
    of(i64::MIN, i64::MAX, 1).too_large();
    range(&float(0.0), &float(1e30), &float(1e-30)).too_large();
    range(&float(0.0), &float(f32::NAN), &float(1.0)).invalid();
    range(&float(0.0), &half(1.0), &float(1.0)).invalid();
    range(&floats(&[2], &[0.0, 1.0]), &float(1.0), &float(1.0)).invalid();
}
