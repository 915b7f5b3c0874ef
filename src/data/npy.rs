//! Arrays of `NumPy` files: the only place that names `npyz`.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use bytes::Bytes;
use npyz::{Endianness, NpyHeader, Order, TypeChar, npz::NpzArchive};

use super::DataError;
use crate::ir::{DType, TensorData};

/// The longest header that is read. `NumPy` itself refuses longer ones.
const HEADER: usize = 10_000;

/// The arrays of an `.npz` or `.npy` file by name, in the order of the names. The one of an `.npy` has the file's stem.
pub(crate) fn read(path: &Path) -> Result<Vec<(String, TensorData)>, DataError> {
    let invalid = |what: String| DataError::at(path.display(), what);
    let mut file = BufReader::new(File::open(path).map_err(|e| invalid(e.to_string()))?);
    let mut magic = [0; 6];
    let plain = file.read_exact(&mut magic).is_ok() && magic == *b"\x93NUMPY";
    if plain {
        let name = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
        let array = array((&magic[..]).chain(file)).map_err(invalid)?;
        return Ok(vec![(name, array)]);
    }
    let mut archive = NpzArchive::open(path).map_err(|e| invalid(format!("neither .npz nor .npy: {e}")))?;
    let mut names: Vec<String> = archive.array_names().map(str::to_owned).collect();
    names.sort();
    names
        .into_iter()
        .map(|name| {
            let entry = archive.zip_archive().by_name(&format!("{name}.npy"));
            let array = array(entry.map_err(|e| invalid(e.to_string()))?);
            array.map(|a| (name.clone(), a)).map_err(|what| invalid(format!("array `{name}`: {what}")))
        })
        .collect()
}

/// Reads one array in the `.npy` format.
fn array(mut from: impl Read) -> Result<TensorData, String> {
    let header = header(&mut from)?;
    let npyz::DType::Plain(ty) = header.dtype() else { return Err("it has fields, not elements".to_owned()) };
    let dims = header.shape().to_vec();
    let count = dims.iter().try_fold(1u64, |n, &d| n.checked_mul(d)).ok_or("its shape overflows")?;
    let size = ty.size_field();
    let dtype = match (ty.type_char(), size) {
        (TypeChar::Bool, 1) => DType::Bool,
        (TypeChar::Int, 1) => DType::Int8,
        (TypeChar::Int, 2) => DType::Int16,
        (TypeChar::Int, 4) => DType::Int32,
        (TypeChar::Int, 8) => DType::Int64,
        (TypeChar::Uint, 1) => DType::Uint8,
        (TypeChar::Uint, 2) => DType::Uint16,
        (TypeChar::Uint, 4) => DType::Uint32,
        (TypeChar::Uint, 8) => DType::Uint64,
        (TypeChar::Float, 2) => DType::Float16,
        (TypeChar::Float, 4) => DType::Float,
        (TypeChar::Float, 8) => DType::Double,
        (TypeChar::Complex, 8) => DType::Complex64,
        (TypeChar::Complex, 16) => DType::Complex128,
        (TypeChar::UnicodeStr | TypeChar::ByteStr, _) => DType::String,
        _ => return Err(format!("elements of type `{ty}` have no counterpart in ONNX")),
    };
    // What swaps when the byte order does, and what one element takes.
    let (word, width) = match ty.type_char() {
        TypeChar::UnicodeStr => (4, size.checked_mul(4)),
        TypeChar::Complex => (size / 2, Some(size)),
        _ => (size, Some(size)),
    };
    let needed = width.and_then(|w| w.checked_mul(count)).ok_or("its size overflows")?;
    let mut bytes = Vec::new();
    from.take(needed).read_to_end(&mut bytes).map_err(|e| e.to_string())?;
    if bytes.len() as u64 != needed {
        return Err(format!("it ends after {} of {needed} bytes", bytes.len()));
    }
    if ty.endianness() == Endianness::Big && word > 1 {
        bytes.chunks_exact_mut(word as usize).for_each(<[u8]>::reverse);
    }
    let width = (needed / count.max(1)) as usize;
    if header.order() == Order::Fortran && dims.len() > 1 {
        bytes = row_major(&bytes, &dims, width);
    }
    let tensor = match (dtype, ty.type_char()) {
        (DType::String, kind) => {
            let items = bytes.chunks(width.max(1)).map(|item| text(item, kind == TypeChar::UnicodeStr));
            TensorData::strings(
                &dims,
                items.chain(std::iter::repeat_n(Bytes::new(), empty(width, count))).collect(),
            )
        }
        (DType::Bool, _) => {
            TensorData::new(dtype, &dims, bytes.iter().map(|&b| u8::from(b != 0)).collect::<Vec<_>>())
        }
        _ => TensorData::new(dtype, &dims, bytes),
    };
    tensor.map_err(|e| e.to_string())
}

/// How many strings of no width at all an array of `count` holds.
fn empty(width: usize, count: u64) -> usize {
    if width == 0 { count.min(1 << 24) as usize } else { 0 }
}

fn header(from: &mut impl Read) -> Result<NpyHeader, String> {
    let mut start = [0; 10];
    from.read_exact(&mut start).map_err(|e| e.to_string())?;
    let mut bytes = start.to_vec();
    let mut length = usize::from(u16::from_le_bytes([start[8], start[9]]));
    if start[6] > 1 {
        let mut rest = [0; 2];
        from.read_exact(&mut rest).map_err(|e| e.to_string())?;
        length += (usize::from(rest[0]) << 16) + (usize::from(rest[1]) << 24);
        bytes.extend(rest);
    }
    if length > HEADER {
        return Err(format!("its header takes {length} bytes, more than {HEADER}"));
    }
    let at = bytes.len();
    bytes.resize(at + length, 0);
    from.read_exact(&mut bytes[at..]).map_err(|e| e.to_string())?;
    // The parser of the header recurses by bracket.
    if bytes[at..].iter().filter(|b| b"([{".contains(b)).count() > 16 {
        return Err("its header nests too deep".to_owned());
    }
    NpyHeader::from_reader(bytes.as_slice()).map_err(|e| e.to_string())
}

/// Elements of `width` bytes from column-major to row-major order.
fn row_major(bytes: &[u8], dims: &[u64], width: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut index = vec![0u64; dims.len()];
    let strides: Vec<u64> = dims
        .iter()
        .scan(1u64, |stride, &d| {
            let this = *stride;
            *stride = stride.saturating_mul(d);
            Some(this)
        })
        .collect();
    for _ in 0..bytes.len() / width.max(1) {
        let at = index.iter().zip(&strides).map(|(i, s)| i * s).sum::<u64>() as usize * width;
        out.extend_from_slice(bytes.get(at..at + width).unwrap_or(&[]));
        for axis in (0..dims.len()).rev() {
            index[axis] += 1;
            if index[axis] < dims[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    out
}

/// A string without its padding of zeros.
fn text(item: &[u8], unicode: bool) -> Bytes {
    if !unicode {
        let end = item.iter().rposition(|&b| b != 0).map_or(0, |at| at + 1);
        return Bytes::copy_from_slice(&item[..end]);
    }
    let codes = item.chunks_exact(4).map(|c| u32::from_le_bytes([c[0], c[1], c[2], c[3]]));
    let text: String = codes.map(|c| char::from_u32(c).unwrap_or(char::REPLACEMENT_CHARACTER)).collect();
    Bytes::from(text.trim_end_matches('\0').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An `.npy` file, version 1.
    fn npy(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
        let fortran = if fortran { "True" } else { "False" };
        let dict = format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n");
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((dict.len() as u16).to_le_bytes());
        file.extend(dict.as_bytes());
        file.extend(data);
        file
    }

    fn le<T: crate::ir::Element>(items: &[T]) -> Vec<u8> {
        TensorData::vector(items).bytes().unwrap().to_vec()
    }

    #[test]
    fn every_numeric_type_is_read() {
        let half = array(&npy("<f2", false, "(2,)", &[0, 0x3c, 0, 0xc0])[..]).unwrap();
        assert_eq!((half.dtype(), half.to_f64s()), (DType::Float16, Some(vec![1.0, -2.0])));
        let bools = array(&npy("|b1", false, "(3,)", &[1, 0, 1])[..]).unwrap();
        assert_eq!(bools.to_vec::<bool>(), Some(vec![true, false, true]));
        let big = array(&npy(">i4", false, "(1, 2)", &[0, 0, 1, 0, 255, 255, 255, 255])[..]).unwrap();
        assert_eq!((big.dims(), big.to_vec::<i32>()), (&[1, 2][..], Some(vec![256, -1])));
        let scalar = array(&npy("<f4", false, "()", &le(&[2.5f32]))[..]).unwrap();
        assert_eq!((scalar.rank(), scalar.to_f64()), (0, Some(2.5)));
    }

    #[test]
    fn column_major_arrays_become_row_major() {
        let found = array(&npy("<i8", true, "(2, 3)", &le(&[1i64, 4, 2, 5, 3, 6]))[..]).unwrap();
        assert_eq!(found.to_vec::<i64>(), Some(vec![1, 2, 3, 4, 5, 6]));
    }

    #[test]
    fn strings_lose_their_padding() {
        let unicode = le(&[0x61u32, 0x62, 0xe9, 0]);
        let found = array(&npy("<U2", false, "(2,)", &unicode)[..]).unwrap();
        assert_eq!(found.string_items().unwrap(), [Bytes::from("ab"), Bytes::from("é")]);
        let found = array(&npy("|S3", false, "(2,)", b"abcd\0\0")[..]).unwrap();
        assert_eq!(found.string_items().unwrap(), [Bytes::from("abc"), Bytes::from("d")]);
    }

    #[test]
    fn bad_files_are_errors() {
        assert!(array(&npy("<f4", false, "(3,)", &[0; 8])[..]).unwrap_err().contains("8 of 12"));
        assert!(array(&npy("|O", false, "(1,)", &[0; 8])[..]).is_err());
        assert!(array(&npy("<f4", false, "(4294967296, 4294967295)", &[])[..]).is_err());
        assert!(array(&npy("<f4", false, &"(".repeat(9000), &[])[..]).unwrap_err().contains("deep"));
        assert!(array(&b"\x93NUMPY"[..]).is_err());
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.npz");
        std::fs::write(&path, b"PK\x03\x04 and no more").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("neither .npz nor .npy"));
        assert!(read(&dir.path().join("absent.npz")).is_err());
    }
}
