//! Storing a weight as integers, for operators that compute in floats.

use crate::prelude::*;

use super::blocks::{Codes, Gridded, Layout, Scales, nibble};
use super::codes::scatter;
use super::place::Stored;
use super::sites::{Reader, Site};

/// The domain of onnxruntime's own operators.
pub(super) const MICROSOFT: &str = "com.microsoft";

/// Lets a model ask for onnxruntime's own operators, where it has some.
pub(super) fn import_microsoft(model: &mut Model, cx: &mut PassContext<'_>) {
    let asks = |id| &*model.graph.node(id).op.domain == MICROSOFT;
    if model.opset(MICROSOFT).is_none() && model.graph.nodes().any(asks) {
        model.opsets.push(OpsetId { domain: MICROSOFT.to_owned(), version: 1 });
        cx.target = Target::of(model);
    }
}

/// Puts stored weights into a graph.
pub(super) struct Packer<'p> {
    /// The pass.
    pub pass: &'static str,
    /// The integers.
    pub codes: &'p Codes,
    /// What `MatMulNBits` says of the precision that it needs.
    pub accuracy_level: Option<u8>,
}

impl Packer<'_> {
    /// A weight as the inputs of a `DequantizeLinear`.
    pub fn dequantize(&self, layout: &Layout, made: &Gridded) -> Option<Stored> {
        let zeros: Vec<Vec<f64>> = made.grids.iter().map(|grid| self.zeros(grid)).collect();
        let width = made.codes.first().map_or(0, Vec::len);
        let blocks = layout.blocks(width);
        let row = |(codes, zeros): (&Vec<f64>, &Vec<f64>)| -> Vec<f64> {
            codes.iter().zip(&blocks).map(|(q, &block)| q + zeros[block]).collect()
        };
        let codes: Vec<Vec<f64>> = made.codes.iter().zip(&zeros).map(row).collect();
        let steps: Vec<Vec<f64>> = made.grids.iter().map(|grid| grid.steps.clone()).collect();
        let dims = layout.scale_dims();
        // Without zero points they are zero.
        let given = zeros.iter().flatten().any(|&zero| zero != 0.0) || !self.codes.dtype.is_signed_int();
        let zero = || self.codes.tensor(&dims, &layout.spread(&zeros));
        Some(Stored {
            codes: self.codes.tensor(&layout.dims, &scatter(&layout.dims, layout.axis, &codes))?,
            scale: TensorData::from_f64s(self.codes.scales, &dims, &layout.spread(&steps))?,
            zero: if given { Some(zero()?) } else { None },
            attrs: layout.attrs(),
        })
    }

    /// The zero points of a row.
    fn zeros(&self, grid: &descent::RowGrid) -> Vec<f64> {
        grid.bounds.iter().map(|bounds| self.codes.bounds.0 - bounds.0).collect()
    }

    /// Lets a `DequantizeLinear` make a weight.
    pub fn place(
        &self,
        scope: &mut Scope<'_>,
        site: &Site,
        layout: &Layout,
        stored: Stored,
    ) -> Result<(), IrError> {
        let name = scope.graph.value(site.value).name.clone();
        let stands_for: Vec<NodeId> = site.readers.iter().map(|r| r.node).collect();
        let Stored { codes, scale, zero, attrs } = stored;
        let codes = scope.add_constant(&format!("{name}_quantized"), codes)?;
        let scale = scope.add_constant(&format!("{name}_scale"), scale)?;
        let zero = zero.map(|zero| scope.add_constant(&format!("{name}_zero_point"), zero)).transpose()?;
        let inputs = [Some(codes), Some(scale), zero];
        let op = OpName::onnx("DequantizeLinear");
        let back = NewOp { pass: self.pass, stands_for: &stands_for, op, attrs, inputs: &inputs };
        if layout.transposed {
            let back = scope.append(back, &format!("{name}_dequantized"))?;
            for reader in &site.readers {
                turn(self.pass, scope, reader, back)?;
            }
            scope.remove_if_dead(site.value);
            return Ok(());
        }
        scope.clear_constant(site.value);
        let Some(dims) = &layout.reshape else { return scope.produce(back, site.value).map(|_| ()) };
        let flat = scope.append(back, &format!("{name}_dequantized"))?;
        let dims: Vec<i64> = dims.iter().map(|&d| d as i64).collect();
        let dims = scope.add_constant(&format!("{name}_dims"), TensorData::vector(&dims))?;
        let inputs = [Some(flat), Some(dims)];
        let op = OpName::onnx("Reshape");
        let unfold =
            NewOp { pass: self.pass, stands_for: &stands_for, op, attrs: Attrs::new(), inputs: &inputs };
        scope.produce(unfold, site.value).map(|_| ())
    }

    /// Lets `MatMulNBits` stand for the products with a weight, whose blocks run along its rows. Returns the bytes of
    /// the weight; `None` where it cannot be stored so.
    pub fn n_bits(
        &self,
        scope: &mut Scope<'_>,
        site: &Site,
        layout: &Layout,
        made: &Gridded,
    ) -> Result<Option<u64>, IrError> {
        let name = scope.graph.value(site.value).name.clone();
        let Some(Packed { tensors, attrs }) = self.pack(layout, made) else { return Ok(None) };
        let bytes = tensors.iter().flatten().map(TensorData::byte_len).sum();
        let mut stored = Vec::new();
        for (tensor, what) in tensors.into_iter().zip(["quantized", "scale", "zero_point"]) {
            stored.push(tensor.map(|t| scope.add_constant(&format!("{name}_{what}"), t)).transpose()?);
        }
        for reader in &site.readers {
            let mut inputs = vec![Some(reader.input)];
            inputs.extend(stored.iter().copied().take_while(Option::is_some));
            let stands_for = [reader.node];
            let op = OpName::new(MICROSOFT, "MatMulNBits");
            let new =
                NewOp { pass: self.pass, stands_for: &stands_for, op, attrs: attrs.clone(), inputs: &inputs };
            let Some(output) = scope.graph.node_output(reader.node, 0) else { continue };
            let Some(bias) = scope.graph.node_input(reader.node, 2) else {
                scope.exchange(reader.node, new, output)?;
                continue;
            };
            let wish = format!("{}_product", scope.graph.value(output).name);
            let product = scope.append(new, &wish)?;
            let inputs = [Some(product), Some(bias)];
            let op = OpName::onnx("Add");
            let add =
                NewOp { pass: self.pass, stands_for: &stands_for, op, attrs: Attrs::new(), inputs: &inputs };
            scope.exchange(reader.node, add, output)?;
        }
        scope.remove_if_dead(site.value);
        Ok(Some(bytes))
    }

    /// The constants and attributes of a `MatMulNBits`.
    fn pack(&self, layout: &Layout, made: &Gridded) -> Option<Packed> {
        let bits = self.codes.dtype.bits();
        let size = match layout.scales {
            Scales::Block { size, .. } if size >= 16 && size.is_power_of_two() => size,
            _ => return None,
        };
        let (rows, width) = (made.codes.len(), made.codes.first()?.len());
        let count = width.div_ceil(size);
        // Codes are unsigned here.
        let middle = if self.codes.dtype.is_signed_int() { (1u32 << (bits - 1)).into() } else { 0.0 };
        let zeros: Vec<Vec<f64>> =
            made.grids.iter().map(|g| self.zeros(g).iter().map(|z| z + middle).collect()).collect();
        let mut bytes = Vec::new();
        for (codes, zeros) in made.codes.iter().zip(&zeros) {
            for (part, zero) in codes.chunks(size).zip(zeros) {
                // What is beyond the end of a row is multiplied with nothing.
                let full = part.iter().map(|q| q + zero).chain(std::iter::repeat(*zero)).take(size);
                bytes.extend(pack_bits(&full.collect::<Vec<_>>(), bits));
            }
        }
        let blob = size as u64 * bits / 8;
        let dims = [rows as u64, count as u64];
        let codes = TensorData::new(DType::Uint8, &[dims[0], dims[1], blob], bytes).ok()?;
        let steps: Vec<f64> = made.grids.iter().flat_map(|g| g.steps.iter().copied()).collect();
        let scale = TensorData::from_f64s(self.codes.scales, &[dims[0] * dims[1]], &steps)?;
        let points: Vec<u8> = zeros.iter().flat_map(|row| pack_bits(row, bits)).collect();
        let default = f64::from(1u32 << (bits - 1));
        let given = zeros.iter().flatten().any(|zero| (zero - default).abs() > 0.0);
        let attrs =
            [("K", width as i64), ("N", rows as i64), ("bits", bits as i64), ("block_size", size as i64)];
        let attrs = attrs.iter().fold(Attrs::new(), |attrs, &(name, value)| attrs.with(name, value));
        let attrs = match self.accuracy_level {
            Some(level) => attrs.with("accuracy_level", i64::from(level)),
            None => attrs,
        };
        let tensors = vec![Some(codes), Some(scale), given.then(|| TensorData::vector(&points))];
        Some(Packed { tensors, attrs })
    }
}

/// The constants of a `MatMulNBits` and its attributes.
struct Packed {
    tensors: Vec<Option<TensorData>>,
    attrs: Attrs,
}

/// Unsigned codes of this width, the first in the lowest bits.
fn pack_bits(codes: &[f64], bits: u64) -> Vec<u8> {
    if bits == 4 {
        codes.chunks(2).map(|pair| pair.iter().rev().fold(0, |byte, &c| byte << 4 | nibble(c))).collect()
    } else {
        codes.iter().map(|&c| c as u8).collect()
    }
}

/// Lets a `Gemm` read the transpose of its weight.
fn turn(pass: &'static str, scope: &mut Scope<'_>, reader: &Reader, weight: ValueId) -> Result<(), IrError> {
    let Some(output) = scope.graph.node_output(reader.node, 0) else { return Ok(()) };
    let mut inputs = scope.graph.node_inputs(reader.node).to_vec();
    inputs[reader.slot] = Some(weight);
    let mut attrs = scope.graph.node(reader.node).attrs.clone();
    attrs.remove("transB");
    let op = OpName::onnx("Gemm");
    let new = NewOp { pass, stands_for: &[reader.node], op, attrs, inputs: &inputs };
    scope.exchange(reader.node, new, output)
}
