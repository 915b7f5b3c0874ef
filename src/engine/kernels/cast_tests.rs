use half::f16;

use super::super::testing::{Case, bools, floats, ints, raw, strings};
use crate::ir::{DType, TensorData};

fn cast(x: &TensorData, to: DType) -> Case {
    Case::new("Cast").input(x).int("to", to.code().into())
}

#[test]
fn numbers_change_their_type() {
    let x = floats(&[4], &[-2.5, 0.0, 3.99, 200.0]);
    assert_eq!(cast(&x, DType::Int64).one(), ints(&[4], &[-2, 0, 3, 200]));
    assert_eq!(cast(&x, DType::Bool).one(), bools(&[4], &[true, false, true, true]));
    assert_eq!(cast(&x, DType::Int8).one(), TensorData::vector(&[-2i8, 0, 3, -56]));
    assert_eq!(
        cast(&x, DType::Float16).one(),
        TensorData::vector(&[-2.5, 0.0, 3.99, 200.0].map(f16::from_f32))
    );
    assert_eq!(cast(&ints(&[2], &[-1, 256]), DType::Uint8).one(), TensorData::vector(&[255u8, 0]));
    assert_eq!(cast(&ints(&[3], &[-8, 7, -1]), DType::Int4).one(), raw(DType::Int4, &[3], &[0x78, 0x0f]));
    assert_eq!(cast(&raw(DType::Int4, &[3], &[0x78, 0x0f]), DType::Int64).one(), ints(&[3], &[-8, 7, -1]));
    assert_eq!(cast(&bools(&[2], &[true, false]), DType::Float).one(), floats(&[2], &[1.0, 0.0]));
    let like = Case::new("CastLike").input(&ints(&[1], &[3])).input(&floats(&[0], &[])).one();
    assert_eq!(like, floats(&[1], &[3.0]));
    cast(&floats(&[1], &[3e9]), DType::Int32).unsupported();
    cast(&floats(&[1], &[f32::NAN]), DType::Int32).unsupported();
    cast(&raw(DType::Complex64, &[1], &[0; 8]), DType::Float).unsupported();
    Case::new("Cast").input(&x).invalid();
    Case::new("Cast").input(&x).int("to", 1 << 40).invalid();
    cast(&ints(&[3], &[1; 3]), DType::Double).limit(23).too_large();
}

#[test]
fn small_floats_saturate_or_not() {
    use DType::{Float8e4m3fn, Float8e4m3fnuz, Float8e5m2, Float8e5m2fnuz};
    let x = floats(&[6], &[0.479_671_45, 1e6, -1e6, f32::INFINITY, -0.0, 448.0]);
    let to = |dtype, saturate: i64| cast(&x, dtype).int("saturate", saturate).one();
    let bytes = |dtype, b: &[u8]| raw(dtype, &[6], b);
    assert_eq!(to(Float8e4m3fn, 1), bytes(Float8e4m3fn, &[0x2f, 0x7e, 0xfe, 0x7e, 0x80, 0x7e]));
    assert_eq!(to(Float8e4m3fn, 0), bytes(Float8e4m3fn, &[0x2f, 0x7f, 0xff, 0x7f, 0x80, 0x7e]));
    assert_eq!(to(Float8e4m3fnuz, 0), bytes(Float8e4m3fnuz, &[0x37, 0x80, 0x80, 0x80, 0x00, 0x80]));
    assert_eq!(to(Float8e5m2, 1), bytes(Float8e5m2, &[0x38, 0x7b, 0xfb, 0x7b, 0x80, 0x5f]));
    assert_eq!(to(Float8e5m2, 0), bytes(Float8e5m2, &[0x38, 0x7c, 0xfc, 0x7c, 0x80, 0x5f]));
    assert_eq!(to(Float8e5m2fnuz, 1), bytes(Float8e5m2fnuz, &[0x3c, 0x7f, 0xff, 0x7f, 0x00, 0x63]));
    let scales = floats(&[3], &[1.0, 3.0, 1e-40]);
    let to = |mode: &str| cast(&scales, DType::Float8e8m0).attr("round_mode", mode).one();
    assert_eq!(to("up"), raw(DType::Float8e8m0, &[3], &[127, 129, 0]));
    assert_eq!(to("down"), raw(DType::Float8e8m0, &[3], &[127, 128, 0]));
    assert_eq!(to("nearest"), raw(DType::Float8e8m0, &[3], &[127, 129, 0]));
    cast(&scales, DType::Float8e8m0).attr("round_mode", "odd").invalid();
    cast(&floats(&[1], &[f32::NAN]), DType::Float4e2m1).unsupported();
    assert_eq!(
        cast(&floats(&[3], &[0.26, -9.0, 2.5]), DType::Float4e2m1).one(),
        raw(DType::Float4e2m1, &[3], &[0xf1, 0x04])
    );
}

#[test]
fn text_is_read_strictly_and_written_plainly() {
    let x = strings(&[5], &["3.25", "-INF", "1e-5", "NaN", "1000"]);
    let read = cast(&x, DType::Float).one().to_vec::<f32>().unwrap();
    assert_eq!(read[..3], [3.25, f32::NEG_INFINITY, 1e-5]);
    assert!(read[3].is_nan() && read[4].total_cmp(&1000.0).is_eq());
    assert_eq!(cast(&strings(&[1], &["-7"]), DType::Int32).one(), TensorData::vector(&[-7i32]));
    for bad in ["2.718", "300", "x", "", " 1"] {
        cast(&strings(&[1], &[bad]), DType::Int8).unsupported();
    }
    cast(&strings(&[1], &["true"]), DType::Bool).unsupported();
    assert_eq!(cast(&ints(&[1], &[-12]), DType::String).one(), strings(&[1], &["-12"]));
    cast(&bools(&[1], &[true]), DType::String).unsupported();
    assert_eq!(
        cast(&floats(&[2], &[0.25, -314.159]), DType::String).one(),
        strings(&[2], &["0.25", "-314.159"])
    );
    for digits_differ in [1.0, 1e-7, 1e20, f32::INFINITY] {
        cast(&floats(&[1], &[digits_differ]), DType::String).unsupported();
    }
    cast(&TensorData::vector(&[0.123_456_789f64]), DType::String).unsupported();
}

#[test]
fn bits_are_reinterpreted() {
    let to = |x: &TensorData, dtype: DType| Case::new("BitCast").input(x).int("to", dtype.code().into());
    assert_eq!(to(&floats(&[1], &[1.0]), DType::Int32).one(), TensorData::vector(&[0x3f80_0000i32]));
    let four = raw(DType::Uint4, &[3], &[0x9f, 1]);
    assert_eq!(to(&four, DType::Float4e2m1).one(), raw(DType::Float4e2m1, &[3], &[0x9f, 1]));
    to(&four, DType::Uint8).invalid();
    to(&strings(&[1], &["a"]), DType::Uint8).invalid();
    to(&TensorData::vector(&[2u8]), DType::Bool).unsupported();
}
