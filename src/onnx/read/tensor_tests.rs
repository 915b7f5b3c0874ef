use super::*;
use crate::onnx::proto::tensor_proto::Segment;
use crate::onnx::write;

fn read(proto: TensorProto) -> Result<TensorData, String> {
    tensor(proto, &mut ExternalFiles::beside(None)).map_err(|fault| fault.to_string())
}

fn proto(dtype: DType, dims: &[i64]) -> TensorProto {
    TensorProto { data_type: Some(dtype.code()), dims: dims.to_vec(), ..TensorProto::default() }
}

fn int32(dtype: DType, dims: &[i64], items: &[i32]) -> TensorProto {
    TensorProto { int32_data: items.to_vec(), ..proto(dtype, dims) }
}

#[test]
fn every_typed_field_is_read_and_written_back() {
    use DType as D;
    let p = proto;
    let all = [
        TensorProto { float_data: vec![1.5, -0.0], ..p(D::Float, &[2]) },
        TensorProto { float_data: vec![1.0, 2.0], ..p(D::Complex64, &[1]) },
        TensorProto { double_data: vec![1e300], ..p(D::Double, &[]) },
        TensorProto { double_data: vec![1.0, 2.0], ..p(D::Complex128, &[1]) },
        TensorProto { int64_data: vec![i64::MIN, -1, 7], ..p(D::Int64, &[3]) },
        TensorProto { uint64_data: vec![u64::MAX], ..p(D::Uint64, &[1]) },
        TensorProto { uint64_data: vec![u32::MAX.into(), 0], ..p(D::Uint32, &[2]) },
        TensorProto { string_data: vec![Bytes::from_static(b"a"), Bytes::new()], ..p(D::String, &[2, 1]) },
        int32(D::Int32, &[2], &[i32::MIN, i32::MAX]),
        int32(D::Int16, &[2], &[-32768, 32767]),
        int32(D::Uint16, &[1], &[65535]),
        int32(D::Int8, &[2], &[-128, 127]),
        int32(D::Uint8, &[1], &[255]),
        int32(D::Bool, &[2], &[1, 0]),
        int32(D::Float16, &[1], &[0x3c00]),
        int32(D::Bfloat16, &[1], &[0xff80]),
        int32(D::Float8e4m3fn, &[1], &[0x7f]),
        int32(D::Float8e8m0, &[1], &[0xff]),
        int32(D::Int4, &[3], &[0x9f, 0x01]),
        int32(D::Uint2, &[5], &[0b11_10_01_00, 0b01]),
        int32(D::Float4e2m1, &[2], &[0x21]),
        int32(D::Float6e2m3, &[5], &[63, 0, 1, 32, 17]),
        int32(D::Float6e3m2, &[3], &[1, 2, 3]),
        p(D::Float, &[0, 3]),
        p(D::Float, &[0, i64::MAX, i64::MAX]),
    ];
    for before in all {
        let data = read(before.clone()).unwrap_or_else(|e| panic!("{before:?}: {e}"));
        assert_eq!(write::tensor(&data), before);
    }
}

#[test]
fn raw_data_is_shared_and_written_back() {
    let raw = Bytes::from(vec![7u8; 12]);
    let before = TensorProto {
        raw_data: Some(raw.clone()),
        name: Some("t".into()),
        doc_string: Some("d".into()),
        ..proto(DType::Float, &[3])
    };
    let data = read(before.clone()).unwrap();
    assert_eq!(data.bytes().unwrap().as_ptr(), raw.as_ptr());
    assert_eq!(write::tensor(&data), before);
    let empty = TensorProto { raw_data: Some(Bytes::new()), ..proto(DType::Int64, &[0]) };
    assert_eq!(write::tensor(&read(empty.clone()).unwrap()), empty);
}

#[test]
fn six_bit_elements_are_packed_as_raw_data_has_them() {
    let data = read(int32(DType::Float6e2m3, &[4], &[0b00_0001, 0b10_0010, 0b11_1100, 0b01_1011])).unwrap();
    let word: u32 = 0b00_0001 | 0b10_0010 << 6 | 0b11_1100 << 12 | 0b01_1011 << 18;
    assert_eq!(data.bytes().unwrap()[..], word.to_le_bytes()[..3]);
}

#[test]
fn wrong_tensors_are_refused() {
    use DType as D;
    let raw = |len: usize, p| TensorProto { raw_data: Some(vec![0; len].into()), ..p };
    let segment = Some(Segment { begin: Some(0), end: Some(1) });
    let typed = TensorProto { float_data: vec![0.0], ..proto(D::Float, &[1]) };
    for (bad, message) in [
        (raw(7, proto(D::Float, &[2])), "tensor of float[2] needs 8 bytes, but has 7"),
        (raw(12, proto(D::Float, &[2])), "tensor of float[2] needs 8 bytes, but has 12"),
        (proto(D::Float, &[]), "tensor of float[] needs 4 bytes, but has 0"),
        (proto(D::String, &[1]), "tensor of string[1] needs 1 bytes, but has 0"),
        (raw(4, proto(D::Float, &[-1])), "dim -1 is negative"),
        (proto(D::Float, &[1 << 62, 4]), "tensor of float[4611686018427387904, 4] is larger than any memory"),
        (
            raw(4, proto(D::Float, &[1 << 61])),
            "tensor of float[2305843009213693952] is larger than any memory",
        ),
        (raw(4, typed.clone()), "its elements are stored twice, in `raw_data` and in `float_data`"),
        (
            TensorProto { int64_data: vec![1], ..typed.clone() },
            "its elements are stored twice, in `float_data` and in `int64_data`",
        ),
        (
            TensorProto { data_type: Some(7), ..typed.clone() },
            "elements of int64 do not belong in `float_data`",
        ),
        (raw(1, proto(D::String, &[1])), "elements of string do not belong in `raw_data`"),
        (
            TensorProto { data_type: None, ..typed.clone() },
            "element type 0 is unknown; the newest known is 28",
        ),
        (
            TensorProto { data_type: Some(29), ..typed.clone() },
            "element type 29 is unknown; the newest known is 28",
        ),
        (
            TensorProto { segment, ..typed },
            "it is one segment of a larger tensor, which is not supported; store the tensor whole",
        ),
        (int32(D::Int8, &[2], &[0, 128]), "element 1 of `int32_data` is 128, out of range for int8"),
        (int32(D::Uint16, &[1], &[-1]), "element 0 of `int32_data` is -1, out of range for uint16"),
        (int32(D::Bool, &[1], &[2]), "element 0 of `int32_data` is 2, out of range for bool"),
        (int32(D::Float6e3m2, &[1], &[64]), "element 0 of `int32_data` is 64, out of range for float6e3m2"),
        (
            TensorProto { uint64_data: vec![1 << 32], ..proto(D::Uint32, &[1]) },
            "element 0 of `uint64_data` is 4294967296, out of range for uint32",
        ),
        (int32(D::Int4, &[3], &[1]), "tensor of int4[3] needs 2 bytes, but has 1"),
        (int32(D::Float6e2m3, &[4], &[1, 2, 3]), "tensor of float6e2m3[4] needs 4 bytes, but has 3"),
    ] {
        assert_eq!(read(bad).unwrap_err(), message);
    }
}
