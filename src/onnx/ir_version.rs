//! Which IR version a model needs, and giving it one.

use crate::ir::{AttrValue, DType, Graph, ListedConstants, Model, ValueType};

/// Makes a model be written with an IR version.
///
/// # Errors
/// What the model has and that version lacks, with the lowest version that has it.
pub(crate) fn set_ir_version(model: &mut Model, version: i64) -> Result<(), String> {
    if let Some((lowest, what)) = needs(model).into_iter().max().filter(|&(lowest, _)| lowest > version) {
        return Err(format!(
            "IR version {version} has no {what}; the lowest IR version that would do is {lowest}"
        ));
    }
    if version < 4 && model.meta.ir_version >= 4 {
        model.graph.listed = ListedConstants::All;
    }
    model.meta.ir_version = version;
    Ok(())
}

/// What a model has that came with an IR version, and that version.
fn needs(model: &Model) -> Vec<(i64, &'static str)> {
    let graph = &model.graph;
    let overridable = graph.inputs().iter().any(|&v| graph.value(v).data.is_some());
    let functions = &model.functions;
    let whole = [
        (4, "initializers that a caller may override", overridable),
        (7, "training info", !model.meta.training.is_empty()),
        (8, "model-local functions", !functions.is_empty()),
        (9, "defaults of function attributes", functions.iter().any(|f| !f.defaults.is_empty())),
        (10, "overloads of functions", functions.iter().any(|f| !f.overload.is_empty())),
        (11, "device configurations", !model.meta.configuration.is_empty()),
    ];
    let mut found: Vec<_> =
        whole.into_iter().filter(|w| w.2).map(|(version, what, _)| (version, what)).collect();
    graph_needs(graph, &mut found);
    functions.iter().for_each(|f| graph_needs(&f.graph, &mut found));
    found
}

fn graph_needs(graph: &Graph, found: &mut Vec<(i64, &'static str)>) {
    if !graph.annotations.is_empty() {
        found.push((5, "quantization annotations"));
    }
    for value in graph.values().map(|v| graph.value(v)) {
        found.extend(value.sparse.as_ref().map(|_| (6, "sparse initializers")));
        found.extend(type_needs(&value.ty));
        found.extend(value.data.as_ref().and_then(|data| element_needs(data.dtype())));
    }
    for attr in graph.nodes().flat_map(|n| graph.node(n).attrs.iter()) {
        if let AttrValue::Tensor(data) = &attr.value {
            found.extend(element_needs(data.dtype()));
        }
        attr.value.graphs().iter().for_each(|body| graph_needs(body, found));
    }
}

fn type_needs(ty: &ValueType) -> Option<(i64, &'static str)> {
    match ty {
        ValueType::Tensor { dtype, .. } => element_needs((*dtype)?),
        ValueType::SparseTensor { .. } => Some((8, "type of sparse tensors")),
        ValueType::Optional(item) => type_needs(item).max(Some((8, "type of optional values"))),
        ValueType::Sequence(item) | ValueType::Map { value: item, .. } => type_needs(item),
        _ => None,
    }
}

fn element_needs(dtype: DType) -> Option<(i64, &'static str)> {
    use DType::{
        Bfloat16, Float4e2m1, Float6e2m3, Float6e3m2, Float8e4m3fn, Float8e4m3fnuz, Float8e5m2,
        Float8e5m2fnuz, Float8e8m0, Int2, Int4, Uint2, Uint4,
    };
    let version = match dtype {
        Bfloat16 => 4,
        Float8e4m3fn | Float8e4m3fnuz | Float8e5m2 | Float8e5m2fnuz => 9,
        Int4 | Uint4 => 10,
        Float4e2m1 => 11,
        Float8e8m0 => 12,
        Int2 | Uint2 => 13,
        Float6e2m3 | Float6e3m2 => 14,
        _ => return None,
    };
    Some((version, dtype.name()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::from_text;

    fn refusal(text: &str, version: i64) -> Option<String> {
        set_ir_version(&mut from_text(text).unwrap().model, version).err()
    }

    #[test]
    fn what_a_version_lacks_is_named_with_the_one_that_has_it() {
        let halves = "<ir_version: 9, opset_import: [\"\": 19]> g (bfloat16[2] x) => (float8e4m3fn[2] y) \
                      { y = Cast <to = 17> (x) }";
        let said = refusal(halves, 8).unwrap();
        assert_eq!(said, "IR version 8 has no float8e4m3fn; the lowest IR version that would do is 9");
        assert_eq!(refusal(halves, 9), None);
        let function = "<ir_version: 8, opset_import: [\"\": 17, \"f\": 1]> g (float[2] x) => (float[2] y) \
                        { y = f.F(x) } <opset_import: [\"\": 17], domain: \"f\"> F (a) => (b) { b = Relu(a) }";
        assert!(refusal(function, 7).unwrap().contains("model-local functions"));
    }

    #[test]
    fn version_3_lists_every_initializer_as_an_input() {
        let text = "<ir_version: 8, opset_import: [\"\": 9]> g (float[2] x) => (float[2] y) \
                    <float[2] w = {1, 2}> { y = Add(x, w) }";
        let mut model = from_text(text).unwrap().model;
        set_ir_version(&mut model, 3).unwrap();
        let proto = crate::onnx::write::write(model.check().unwrap()).unwrap().proto;
        let inputs: Vec<_> = proto.graph.unwrap().input.into_iter().filter_map(|i| i.name).collect();
        assert_eq!((inputs, proto.ir_version), (vec!["x".to_owned(), "w".to_owned()], Some(3)));
    }
}
