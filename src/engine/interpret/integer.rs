//! Running a group on integers.

use super::frame::{Machine, Step};
use super::fused::{Added, Group, Work};
use super::grid::Grid;
use super::value::Runtime;
use crate::engine::EngineError;
use crate::engine::kernels::integer::MICROSOFT;
use crate::ir::{Attrs, NodeId, OpName, TensorData};

/// What a group makes: its result, and the `Add` that it takes the place of.
pub(super) type Made = Option<(TensorData, Option<(NodeId, usize)>)>;

impl Machine<'_> {
    /// Computes on codes; `None` where it is computed in floats after all.
    pub(super) fn on_codes(&self, work: &Work, step: &Step<'_>) -> Result<Made, EngineError> {
        match work {
            Work::Products(group) => self.group(group, step),
            Work::Between(op, grids, y) => Ok(self.between(op, (grids, y), step)?.map(|made| (made, None))),
        }
    }

    fn between(
        &self,
        op: &str,
        (grids, y): (&[Grid], &Grid),
        step: &Step<'_>,
    ) -> Result<Option<TensorData>, EngineError> {
        let mut tensors = Vec::new();
        for (slot, grid) in grids.iter().enumerate() {
            let Some(codes) = grid.codes(step.need(slot)?.tensor()?) else { return Ok(None) };
            tensors.extend([codes, grid.scale_tensor(), grid.zero_tensor()?]);
        }
        tensors.extend([y.scale_tensor(), y.zero_tensor()?]);
        let inputs: Vec<_> = tensors.iter().map(Some).collect();
        let codes = self.call(&OpName::new(MICROSOFT, op), step.attrs, &inputs)?;
        Ok(codes.and_then(|codes| y.values(&codes)))
    }

    fn group(&self, group: &Group, step: &Step<'_>) -> Result<Made, EngineError> {
        let tensor = |slot| step.input(slot).map(Runtime::tensor).transpose();
        let (Some(x), Some(w)) = (tensor(0)?, tensor(1)?) else { return Ok(None) };
        let (Some(x), Some(w)) = (group.x.codes(x), group.w.codes(w)) else { return Ok(None) };
        if step.node.is("Conv") {
            return Ok(self.conv(group, (&x, &w), step.attrs)?.map(|y| (y, None)));
        }
        if step.node.is("Gemm") {
            return Ok(self.gemm(group, (&x, &w), step.attrs)?.map(|y| (y, None)));
        }
        match &group.added {
            Some(added) if x.rank() == 2 || added.is_static => self.matmul_add(group, added, (&x, &w)),
            _ => Ok(self.matmul(group, (&x, &w))?.map(|y| (y, None))),
        }
    }

    fn call(
        &self,
        op: &OpName,
        attrs: &Attrs,
        inputs: &[Option<&TensorData>],
    ) -> Result<Option<TensorData>, EngineError> {
        Ok(self.kernel(op, attrs, inputs, &[true])?.into_iter().next())
    }

    fn conv(
        &self,
        group: &Group,
        (x, w): (&TensorData, &TensorData),
        attrs: &Attrs,
    ) -> Result<Option<TensorData>, EngineError> {
        let Some(y) = &group.y else { return Ok(None) };
        let (xs, ws, ys) = (group.x.scale_tensor(), group.w.scale_tensor(), y.scale_tensor());
        let (xz, wz, yz) = (group.x.zero_tensor()?, group.w.zero_tensor()?, y.zero_tensor()?);
        let bias = group.bias.as_deref().map(TensorData::vector);
        let inputs = [x, &xs, &xz, w, &ws, &wz, &ys, &yz].map(Some);
        let inputs: Vec<_> = inputs.into_iter().chain([bias.as_ref()]).collect();
        let codes = self.call(&OpName::onnx("QLinearConv"), attrs, &inputs)?;
        Ok(codes.and_then(|codes| y.values(&codes)))
    }

    fn gemm(
        &self,
        group: &Group,
        (x, w): (&TensorData, &TensorData),
        attrs: &Attrs,
    ) -> Result<Option<TensorData>, EngineError> {
        let (xs, ws) = (group.x.scale_tensor(), group.w.scale_tensor());
        let (xz, wz) = (group.x.zero_tensor()?, group.w.zero_tensor()?);
        let bias = group.bias.as_deref().map(TensorData::vector);
        let ys = group.y.as_ref().map(|y| Ok((y.scale_tensor(), y.zero_tensor()?))).transpose()?;
        let inputs = [x, &xs, &xz, w, &ws, &wz].map(Some);
        let ends = [bias.as_ref(), ys.as_ref().map(|y| &y.0), ys.as_ref().map(|y| &y.1)];
        let inputs: Vec<_> = inputs.into_iter().chain(ends).collect();
        let made = self.call(&OpName::new(MICROSOFT, "QGemm"), attrs, &inputs)?;
        Ok(match &group.y {
            Some(y) => made.and_then(|codes| y.values(&codes)),
            None => made,
        })
    }

    fn matmul(
        &self,
        group: &Group,
        (x, w): (&TensorData, &TensorData),
    ) -> Result<Option<TensorData>, EngineError> {
        let (xs, ws) = (group.x.scale_tensor(), group.w.scale_tensor());
        let (xz, wz) = (group.x.zero_tensor()?, group.w.zero_tensor()?);
        let Some(y) = &group.y else {
            let inputs = [x, w, &xs, &ws, &xz, &wz].map(Some);
            return self.call(&OpName::new(MICROSOFT, "MatMulIntegerToFloat"), &Attrs::new(), &inputs);
        };
        let (ys, yz) = (y.scale_tensor(), y.zero_tensor()?);
        let inputs = [x, &xs, &xz, w, &ws, &wz, &ys, &yz].map(Some);
        let codes = self.call(&OpName::onnx("QLinearMatMul"), &Attrs::new(), &inputs)?;
        Ok(codes.and_then(|codes| y.values(&codes)))
    }

    /// A `MatMul` and the `Add` of a bias, as one `Gemm` of all rows.
    fn matmul_add(
        &self,
        group: &Group,
        added: &Added,
        (x, w): (&TensorData, &TensorData),
    ) -> Result<Made, EngineError> {
        let Some((bias, y)) = added.gemm.as_ref().filter(|_| x.rank() == 2 || !added.clipped) else {
            return Ok(None);
        };
        let Some((&depth, rows)) = x.dims().split_last() else { return Ok(None) };
        let Some(flat) = x.with_dims(&[rows.iter().product(), depth]) else { return Ok(None) };
        let gemm = Group { bias: Some(bias.clone()), y: y.clone(), ..group.clone() };
        let Some(made) = self.gemm(&gemm, (&flat, w), &Attrs::new())? else { return Ok(None) };
        let dims: Vec<u64> = rows.iter().copied().chain(made.dims().last().copied()).collect();
        Ok(made.with_dims(&dims).map(|made| (made, Some((added.node, added.slot)))))
    }
}
