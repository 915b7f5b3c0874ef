//! Elements for constants that a text only declares.

use std::collections::HashSet;

use crate::ir::{DType, TensorData};
use crate::onnx::proto::tensor_shape_proto::dimension;
use crate::onnx::proto::{GraphProto, ValueInfoProto, type_proto};
use crate::onnx::write;

/// Makes the elements of a constant that a text declares without data: from its name, element type and dims.
/// `None` leaves the declaration as it is.
pub type Fill<'a> = dyn FnMut(&str, DType, &[u64]) -> Option<TensorData> + 'a;

/// Makes an initializer of everything that a graph declares, with known dims, but neither produces nor gives data.
pub(in crate::onnx) fn fill_graph(graph: &mut GraphProto, fill: &mut Fill<'_>) {
    let produced: HashSet<&str> = (graph.node.iter().flat_map(|n| &n.output).map(String::as_str))
        .chain(graph.initializer.iter().filter_map(|t| t.name.as_deref()))
        .chain(graph.input.iter().filter_map(|v| v.name.as_deref()))
        .collect();
    let mut made = Vec::new();
    for info in &graph.value_info {
        let name = info.name.as_deref().unwrap_or_default();
        let Some((dtype, dims)) = known_type(info).filter(|_| !produced.contains(name)) else { continue };
        if let Some(data) = fill(name, dtype, &dims) {
            let mut proto = write::tensor(&data);
            proto.name = Some(name.to_owned());
            made.push(proto);
        }
    }
    let is_made = |v: &ValueInfoProto| made.iter().any(|t| t.name == v.name);
    graph.value_info.retain(|v| !is_made(v));
    graph.initializer.extend(made);
    let attributes = graph.node.iter_mut().flat_map(|n| &mut n.attribute);
    attributes.flat_map(|a| a.g.iter_mut().chain(&mut a.graphs)).for_each(|body| fill_graph(body, fill));
}

fn known_type(info: &ValueInfoProto) -> Option<(DType, Vec<u64>)> {
    let type_proto::Value::TensorType(ty) = info.r#type.as_ref()?.value.as_ref()? else { return None };
    let dims = ty.shape.as_ref()?.dim.iter().map(|dim| match dim.value {
        Some(dimension::Value::DimValue(n)) => u64::try_from(n).ok(),
        _ => None,
    });
    Some((DType::from_code(ty.elem_type?)?, dims.collect::<Option<_>>()?))
}
