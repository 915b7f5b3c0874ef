use half::f16;

use super::super::testing::{Case, floats, ints, raw};
use crate::ir::{DType, TensorData};

#[test]
fn numbers_are_quantized_per_tensor() {
    let x = floats(&[6], &[0.0, 2.0, 3.0, 1000.0, -254.0, -1000.0]);
    let scale = floats(&[], &[2.0]);
    let to = |point: &TensorData| Case::new("QuantizeLinear").input(&x).input(&scale).input(point).one();
    assert_eq!(to(&TensorData::scalar(128u8)), TensorData::vector(&[128u8, 129, 130, 255, 1, 0]));
    assert_eq!(to(&TensorData::scalar(1i16)), TensorData::vector(&[1i16, 2, 3, 501, -126, -499]));
    assert_eq!(to(&raw(DType::Int4, &[], &[1])), raw(DType::Int4, &[6], &[0x21, 0x73, 0x88]));
    assert_eq!(to(&raw(DType::Uint2, &[], &[1])), raw(DType::Uint2, &[6], &[0b11_11_10_01, 0]));
    let ties = floats(&[4], &[1.0, 3.0, 5.0, -5.0]);
    let ties = Case::new("QuantizeLinear").input(&ties).input(&scale).input(&TensorData::scalar(0i8)).one();
    assert_eq!(ties, TensorData::vector(&[0i8, 2, 2, -2]));
    let plain = Case::new("QuantizeLinear").input(&x).input(&scale);
    assert_eq!(plain.one(), TensorData::vector(&[0u8, 1, 2, 255, 0, 0]));
    assert_eq!(
        plain.int("output_dtype", DType::Float8e4m3fn.code().into()).one(),
        raw(DType::Float8e4m3fn, &[6], &[0, 0x38, 0x3c, 0x7e, 0xf0, 0xfe])
    );
    let point = TensorData::scalar(0u8);
    let clash = Case::new("QuantizeLinear").input(&x).input(&scale).input(&point);
    clash.int("output_dtype", DType::Int8.code().into()).invalid();
    Case::new("QuantizeLinear").input(&floats(&[1], &[f32::NAN])).input(&scale).unsupported();
}

#[test]
fn precision_that_shows_is_no_answer() {
    let half = |x: f32| f16::from_f32(x);
    let x = TensorData::vector(&[half(2.0), half(3.0)]);
    let ok = Case::new("QuantizeLinear").input(&x).input(&TensorData::scalar(half(2.0)));
    assert_eq!(ok.one(), TensorData::vector(&[1u8, 2]));
    let differ = |x: f16, scale: f16| {
        let ratio = x.to_f32() / scale.to_f32();
        f16::from_f32(ratio).to_f32().round_ties_even() as u8 != ratio.round_ties_even() as u8
    };
    let pairs =
        (0x3400..0x3500).flat_map(|s| (0x4000..0x4400).map(move |x| (f16::from_bits(x), f16::from_bits(s))));
    let (x, scale) = pairs.into_iter().find(|&(x, scale)| differ(x, scale)).unwrap();
    Case::new("QuantizeLinear")
        .input(&TensorData::vector(&[x]))
        .input(&TensorData::scalar(scale))
        .unsupported();
}

#[test]
fn scales_go_along_an_axis_or_by_blocks() {
    let x = TensorData::from_slice(&[2, 3], &[1i8, 2, 3, 4, 5, 6]).unwrap();
    let back = |scale: &TensorData, point: &TensorData| {
        Case::new("DequantizeLinear").input(&x).input(scale).input(point)
    };
    let rows = back(&floats(&[2], &[2.0, 0.5]), &TensorData::vector(&[0i8, -2])).int("axis", 0).one();
    assert_eq!(rows, floats(&[2, 3], &[2.0, 4.0, 6.0, 3.0, 3.5, 4.0]));
    let scale = floats(&[2, 2], &[1.0, 10.0, 100.0, 1000.0]);
    let blocks = Case::new("DequantizeLinear").input(&x).input(&scale).int("block_size", 2);
    assert_eq!(blocks.one(), floats(&[2, 3], &[1.0, 2.0, 30.0, 400.0, 500.0, 6000.0]));
    let half = blocks.int("output_dtype", DType::Float16.code().into()).one();
    assert_eq!(half.to_f64s().unwrap(), [1.0, 2.0, 30.0, 400.0, 500.0, 6000.0]);
    back(&floats(&[2], &[1.0; 2]), &TensorData::vector(&[0i8; 2])).invalid();
    back(&floats(&[3], &[1.0; 3]), &TensorData::vector(&[0i8; 2])).invalid();
    back(&floats(&[3], &[1.0; 3]), &TensorData::vector(&[0u8; 3])).invalid();
    Case::new("DequantizeLinear").input(&x).input(&scale).int("block_size", 3).invalid();
    Case::new("DequantizeLinear").input(&x).input(&scale).int("block_size", -1).invalid();
    let wide = Case::new("DequantizeLinear")
        .input(&TensorData::vector(&[16_777_217i32]))
        .input(&floats(&[], &[2.0]));
    assert_eq!(wide.one(), floats(&[1], &[33_554_432.0]));
    Case::new("DequantizeLinear").input(&ints(&[1], &[1])).input(&floats(&[], &[1.0])).unsupported();
}

#[test]
fn the_range_of_the_input_gives_scale_and_zero_point() {
    let x = floats(&[6], &[0.0, 2.0, -3.0, -2.5, 1.34, 0.5]);
    let [y, scale, point] =
        <[_; 3]>::try_from(Case::new("DynamicQuantizeLinear").input(&x).outputs(3).all()).unwrap();
    assert_eq!(y, TensorData::vector(&[153u8, 255, 0, 26, 221, 179]));
    assert_eq!(scale, floats(&[], &[5.0 / 255.0]));
    assert_eq!(point, TensorData::scalar(153u8));
    Case::new("DynamicQuantizeLinear").input(&floats(&[2], &[0.0; 2])).unsupported();
    Case::new("DynamicQuantizeLinear").input(&floats(&[1], &[f32::INFINITY])).unsupported();
    Case::new("DynamicQuantizeLinear").input(&floats(&[0], &[])).unsupported();
}
