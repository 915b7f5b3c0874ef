//! `MatMulNBits` of onnxruntime: a product with a matrix whose rows are blocks of codes.

use super::Table;
use crate::engine::{EngineError, NodeCall};
use crate::ir::{DType, TensorData};

pub(super) const TABLE: Table = &[("MatMulNBits", matmul_nbits)];

type Outputs = Result<Vec<TensorData>, EngineError>;

/// The matrix: `columns` rows of `depth` codes in blocks of `block`.
struct Matrix {
    depth: usize,
    columns: usize,
    bits: usize,
    block: usize,
}

impl Matrix {
    fn of(call: &NodeCall<'_>) -> Result<Self, EngineError> {
        let size = |name: &str, default: i64| {
            let found = call.int_or(name, default)?;
            let wrong = || call.invalid(format_args!("`{name}` is {found}"));
            usize::try_from(found).ok().filter(|&n| n > 0 && n <= 1 << 31).ok_or_else(wrong)
        };
        let (bits, block) = (size("bits", 4)?, size("block_size", 0)?);
        if !(bits == 4 || bits == 8) || !block.is_power_of_two() || block < 16 {
            return Err(call.unsupported(format_args!("{bits} bits in blocks of {block}")));
        }
        Ok(Self { depth: size("K", 0)?, columns: size("N", 0)?, bits, block })
    }

    /// Blocks of a row.
    fn blocks(&self) -> usize {
        self.depth.div_ceil(self.block)
    }

    /// The numbers, row by row.
    fn numbers(&self, call: &NodeCall<'_>) -> Result<Vec<f64>, EngineError> {
        let (codes, scales) = (call.need(1)?, call.need(2)?);
        let scales = scales.to_f64s().ok_or_else(|| call.no_type(scales.dtype()))?;
        let row = self.blocks() * self.block * self.bits / 8;
        let points = (self.blocks() * self.bits).div_ceil(8);
        let zeros = call.input(3).map(|zeros| bytes(call, zeros, points * self.columns)).transpose()?;
        let codes = bytes(call, codes, row * self.columns)?;
        if scales.len() != self.blocks() * self.columns {
            return Err(call.invalid(format_args!("there are {} scales", scales.len())));
        }
        let code = |bytes: &[u8], at: usize| match self.bits {
            4 => f64::from(bytes[at / 2] >> (at % 2 * 4) & 0xf),
            _ => f64::from(bytes[at]),
        };
        let middle = f64::from(1u32 << (self.bits - 1));
        let number = |at: usize| {
            let (column, k) = (at / self.depth, at % self.depth);
            let block = k / self.block;
            let zero = zeros.map_or(middle, |zeros| code(&zeros[column * points..], block));
            (code(&codes[column * row..], k) - zero) * scales[column * self.blocks() + block]
        };
        Ok((0..self.columns * self.depth).map(number).collect())
    }
}

/// The bytes of a tensor of codes, as many as there must be.
fn bytes<'t>(call: &NodeCall<'_>, tensor: &'t TensorData, count: usize) -> Result<&'t [u8], EngineError> {
    let found = tensor.bytes().filter(|b| tensor.dtype() == DType::Uint8 && b.len() == count);
    let wrong = || call.invalid(format_args!("{tensor:?} does not hold {count} bytes of codes"));
    found.map(|b| &b[..]).ok_or_else(wrong)
}

fn matmul_nbits(call: &NodeCall<'_>) -> Outputs {
    if call.input(4).is_some() {
        return Err(call.unsupported("a g_idx"));
    }
    let (x, matrix) = (call.need(0)?, Matrix::of(call)?);
    let dims = x.dims();
    if dims.last() != Some(&(matrix.depth as u64)) || !x.dtype().has_f64s() {
        return Err(call.invalid(format_args!("{x:?} does not suit K = {}", matrix.depth)));
    }
    let mut dims = dims.to_vec();
    dims.pop();
    dims.push(matrix.columns as u64);
    call.sized(x.dtype(), &dims)?;
    call.sized(DType::Double, &[matrix.columns as u64, matrix.depth as u64])?;
    let weights = matrix.numbers(call)?;
    let bias = match call.input(5) {
        Some(bias) => bias.to_f64s().filter(|b| b.len() == matrix.columns),
        None => Some(vec![0.0; matrix.columns]),
    };
    let bias = bias.ok_or_else(|| call.invalid("its bias does not fit N"))?;
    let items = x.to_f64s().ok_or_else(|| call.no_type(x.dtype()))?;
    let product = |row: &[f64], column: usize| {
        let weights = &weights[column * matrix.depth..][..matrix.depth];
        row.iter().zip(weights).map(|(a, b)| a * b).sum::<f64>() + bias[column]
    };
    let rows = items.chunks_exact(matrix.depth);
    let made: Vec<f64> = rows
        .flat_map(|row| (0..matrix.columns).map(move |c| (row, c)))
        .map(|(row, c)| product(row, c))
        .collect();
    let made = TensorData::from_f64s(x.dtype(), &dims, &made).ok_or_else(|| call.no_type(x.dtype()))?;
    Ok(vec![made])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::{Attrs, OpName};

    fn run(attrs: &[(&str, i64)], inputs: &[Option<&TensorData>]) -> Outputs {
        let attrs = attrs.iter().fold(Attrs::new(), |attrs, &(name, value)| attrs.with(name, value));
        let op = OpName::new("com.microsoft", "MatMulNBits");
        let call = NodeCall { op: &op, attrs: &attrs, inputs, outputs: &[true], limit: 1 << 20 };
        crate::engine::kernels::eval(&call)
    }

    const SIZES: [(&str, i64); 4] = [("K", 18), ("N", 2), ("bits", 4), ("block_size", 16)];

    #[test]
    fn the_lower_bits_come_first_and_each_block_has_its_zero() {
        // Two rows of two blocks, the second of two elements that count.
        let x: Vec<f32> = (0..18u8).map(f32::from).collect();
        let x = TensorData::from_slice(&[1, 18], &x).unwrap();
        let mut codes = [0x88u8; 32];
        (codes[0], codes[8], codes[16], codes[24]) = (0x9a, 0x5c, 0x98, 0xe1);
        let codes = TensorData::new(DType::Uint8, &[2, 2, 8], codes.to_vec()).unwrap();
        let scales = TensorData::vector(&[0.5f32, 2.0, 1.0, 4.0]);
        let found = run(&SIZES, &[Some(&x), Some(&codes), Some(&scales)]).unwrap();
        // 0·2·0.5 + 1·1·0.5 + 16·4·2 − 17·3·2; 1·1 − 16·7·4 + 17·6·4
        assert_eq!(found[0].to_vec::<f32>().unwrap(), [26.5, -39.0]);
        let zeros = TensorData::vector(&[0x98u8, 0x78]);
        let bias = TensorData::vector(&[100f32, 0.0]);
        let found = run(&SIZES, &[Some(&x), Some(&codes), Some(&scales), Some(&zeros), None, Some(&bias)]);
        // The second blocks lie one lower, and one higher.
        assert_eq!(found.unwrap()[0].to_vec::<f32>().unwrap(), [60.5, 93.0]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let x = TensorData::from_slice(&[1, 18], &[1f32; 18]).unwrap();
        let codes = TensorData::new(DType::Uint8, &[2, 2, 8], vec![0; 32]).unwrap();
        let scales = TensorData::vector(&[1f32; 4]);
        let all = [Some(&x), Some(&codes), Some(&scales)];
        assert!(run(&SIZES, &all).is_ok());
        for (name, value) in [("K", 17), ("K", 33), ("N", 3), ("bits", 2), ("block_size", 32), ("N", 0)] {
            let sizes = SIZES.map(|(n, v)| (n, if n == name { value } else { v }));
            assert!(run(&sizes, &all).is_err(), "{name} {value}");
        }
        assert!(run(&SIZES, &[Some(&x), Some(&codes), Some(&TensorData::vector(&[1f32; 3]))]).is_err());
        assert!(run(&SIZES, &[Some(&x), Some(&scales), Some(&scales)]).is_err());
    }
}
