//! Literal cases for Resize.

use super::super::case::{check, f32s, i64s, refused, run};
use super::*;
use crate::ir::AttrValue;

type Attributes = Vec<(&'static str, AttrValue)>;

fn attrs(mode: &str, transform: &str) -> Attributes {
    vec![("mode", mode.into()), ("coordinate_transformation_mode", transform.into())]
}

fn sized(x: &[f32], size: i64, attrs: &Attributes, want: &[f64]) {
    let inputs = [f32s(&[1, x.len() as u64], x), None, None, i64s(&[2], &[1, size])];
    check("Resize", attrs, &inputs, &[1, size as u64], want);
}

#[test]
fn interpolates_in_every_transform() {
    let x = [1.0, 2.0, 4.0, 8.0];
    let half = [1.0, 1.5, 7.0 / 3.0, 11.0 / 3.0, 6.0, 8.0];
    for transform in ["half_pixel", "half_pixel_symmetric", "pytorch_half_pixel"] {
        sized(&x, 6, &attrs("linear", transform), &half);
    }
    sized(&x, 6, &attrs("linear", "align_corners"), &[1.0, 1.6, 2.4, 3.6, 5.6, 8.0]);
    let asymmetric = [1.0, 5.0 / 3.0, 8.0 / 3.0, 4.0, 20.0 / 3.0, 8.0];
    sized(&x, 6, &attrs("linear", "asymmetric"), &asymmetric);
    let cubic = [0.913_194_444, 1.3125, 2.304_398_148, 3.383_101_852, 6.1875, 8.347_222_222];
    sized(&x, 6, &attrs("cubic", "half_pixel"), &cubic);
    let mut outside = attrs("cubic", "half_pixel");
    outside.extend([("exclude_outside", 1.into()), ("cubic_coeff_a", (-0.5f32).into())]);
    let want = [0.934_210_526, 1.352_941_176, 2.252_314_815, 3.539_351_852, 6.235_294_118, 8.263_157_895];
    sized(&x, 6, &outside, &want);
    for (mode, want) in [("linear", [1.75, 5.75]), ("cubic", [1.339_843_75, 5.949_218_75])] {
        let mut smooth = attrs(mode, "half_pixel");
        smooth.push(("antialias", 1.into()));
        sized(&x, 2, &smooth, &want);
    }
    refused("Resize", &attrs("linear", "middle"), &[f32s(&[1], &x[..1]), None, None, i64s(&[1], &[2])]);
}

#[test]
fn takes_the_nearest_place() {
    let x = [1.0, 2.0, 3.0, 4.0];
    for (rounding, want) in [
        ("round_prefer_floor", [1.0, 3.0]),
        ("round_prefer_ceil", [2.0, 4.0]),
        ("floor", [1.0, 3.0]),
        ("ceil", [2.0, 4.0]),
    ] {
        let mut attrs = attrs("nearest", "half_pixel");
        attrs.push(("nearest_mode", rounding.into()));
        sized(&x, 2, &attrs, &want);
    }
    sized(&x, 8, &attrs("nearest", "asymmetric"), &[1.0, 1.0, 2.0, 2.0, 3.0, 3.0, 4.0, 4.0]);
    let scales = [f32s(&[1, 2], &[1.0, 2.0]), None, f32s(&[2], &[2.0, 1.5])];
    check("Resize", &[], &scales, &[2, 3], &[1.0, 1.0, 2.0, 1.0, 1.0, 2.0]);
    let words = Some(TensorData::strings(&[2], vec!["a".into(), "b".into()]).unwrap());
    let doubled = run("Resize", &[], &[words, None, f32s(&[1], &[2.0])], 1).unwrap();
    assert_eq!(doubled[0].string_items().unwrap(), ["a", "a", "b", "b"]);
}

#[test]
fn refuses_what_float_cannot_tell() {
    let x = f32s(&[10], &[0.0; 10]);
    let answer = run("Resize", &[], &[x, None, f32s(&[1], &[0.7])], 1);
    assert!(matches!(answer, Err(EngineError::Unsupported { .. })), "{answer:?}");
}

#[test]
fn crops_and_fills() {
    let mut crop = attrs("linear", "tf_crop_and_resize");
    crop.push(("extrapolation_value", 9f32.into()));
    let x = f32s(&[1, 4], &[1.0, 2.0, 4.0, 8.0]);
    let inputs = [x, f32s(&[4], &[0.0, 0.5, 1.0, 1.5]), None, i64s(&[2], &[1, 4])];
    check("Resize", &crop, &inputs, &[1, 4], &[3.0, 6.0, 9.0, 9.0]);
}

#[test]
fn keeps_the_aspect_ratio_of_some_axes() {
    let x = f32s(&[1, 2, 4], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
    for (policy, dims) in [("not_larger", [1, 1, 2]), ("not_smaller", [1, 2, 4]), ("stretch", [1, 2, 2])] {
        let attrs = [("axes", AttrValue::Ints(vec![-2, 2])), ("keep_aspect_ratio_policy", policy.into())];
        let got = run("Resize", &attrs, &[x.clone(), None, None, i64s(&[2], &[2, 2])], 1).unwrap();
        assert_eq!(got[0].dims(), dims, "{policy}");
    }
    refused("Resize", &[], &[x.clone(), None, f32s(&[3], &[1.0; 3]), i64s(&[3], &[1, 2, 4])]);
    refused("Resize", &[], &[x.clone(), None, f32s(&[2], &[1.0; 2])]);
    refused("Resize", &[], &[x, None, f32s(&[3], &[1.0, 0.0, 1.0])]);
}
