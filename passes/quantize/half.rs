//! Weights in float16, for operators that compute in float32.

use crate::prelude::*;

use super::sites::Site;

/// The opset whose `Cast` names types by number.
pub(super) const OPSET: i64 = 6;

/// A weight in float16; the reason where it is not smaller so, or not finite.
pub(super) fn halved(data: &TensorData) -> Result<TensorData, Skip> {
    Skip::unless(data.dtype() == DType::Float, "its weight is not float32")?;
    let items = data.to_f64s().ok_or_else(Skip::no_concern)?;
    let half = TensorData::from_f64s(DType::Float16, data.dims(), &items).ok_or_else(Skip::no_concern)?;
    let finite = half.to_f64s().is_some_and(|items| items.iter().all(|x| x.is_finite()));
    Skip::unless(finite, "its weight is too large for float16")?;
    Ok(half)
}

/// Lets a `Cast` make a weight from its float16 form.
pub(super) fn place(
    pass: &'static str,
    scope: &mut Scope<'_>,
    site: &Site,
    half: TensorData,
) -> Result<(), IrError> {
    let name = format!("{}_float16", scope.graph.value(site.value).name);
    let stands_for: Vec<NodeId> = site.nodes().collect();
    let half = scope.add_constant(&name, half)?;
    let attrs = Attrs::new().with("to", i64::from(DType::Float.code()));
    let op = OpName::onnx("Cast");
    scope.clear_constant(site.value);
    scope.produce(NewOp { pass, stands_for: &stands_for, op, attrs, inputs: &[Some(half)] }, site.value)?;
    Ok(())
}
