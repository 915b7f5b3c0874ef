//! Models that are quantized already.

use anyhow::bail;

use crate::prelude::*;

/// Takes what quantizes out of a model, or refuses a model that has it.
///
/// `DequantizeLinear` of what `QuantizeLinear` made gives way to what that read, one of constants to their floats; the
/// integer operators of the standard have no such way back.
pub(super) fn undo_or_refuse(
    pass: &'static str,
    model: &mut Model,
    cx: &mut PassContext<'_>,
    undo: bool,
) -> anyhow::Result<()> {
    let quantized = |node: &Node| ["DequantizeLinear", "QuantizeLinear"].iter().any(|op| node.is(op));
    let integer = |node: &Node| {
        let name = &*node.op.name;
        ["DynamicQuantize", "QGemm", "QLinear"].iter().any(|start| name.starts_with(start))
            || name.contains("Integer")
            || name == "MatMulNBits"
    };
    let count =
        |test: &dyn Fn(&Node) -> bool| model.graph.nodes().filter(|&n| test(model.graph.node(n))).count();
    let (pairs, integers) = (count(&quantized), count(&integer));
    if pairs + integers == 0 {
        return Ok(());
    }
    if !undo {
        bail!(
            "the model is quantized already ({} operators such as QuantizeLinear), and quantizing it again loses more: \
            `import-qat` keeps its scales; `requantize: true` takes them out and measures anew",
            pairs + integers
        );
    }
    if integers > 0 {
        bail!(
            "the model has {integers} operators on integers, such as QLinearConv, which cannot be taken out: quantize the float model"
        );
    }
    main_graph(model, cx, &mut |scope, cx| {
        for node in scope.graph.order()? {
            if scope.graph.node(node).is("DequantizeLinear") {
                dissolve(pass, scope, cx, node)?;
            }
        }
        Ok(())
    })
}

/// Takes a `DequantizeLinear` out, and the `QuantizeLinear` before it.
fn dissolve(
    pass: &'static str,
    scope: &mut Scope<'_>,
    cx: &PassContext<'_>,
    node: NodeId,
) -> anyhow::Result<()> {
    let (Some(codes), Some(output)) = (scope.graph.node_input(node, 0), scope.graph.node_output(node, 0))
    else {
        return Ok(());
    };
    let maker =
        scope.graph.producer(codes).map(|(n, _)| n).filter(|&n| scope.graph.node(n).is("QuantizeLinear"));
    if let Some(source) = maker.and_then(|n| scope.graph.node_input(n, 0)) {
        scope.remove_node(node);
        if scope.replace(output, source)?.is_err() {
            let identity = NewOp {
                pass,
                stands_for: maker.as_slice(),
                op: OpName::onnx("Identity"),
                attrs: Attrs::new(),
                inputs: &[Some(source)],
            };
            scope.produce(identity, output)?;
        }
        if scope.graph.use_count(codes) == 0 && !scope.graph.is_pinned(codes) {
            maker.into_iter().for_each(|n| scope.remove_node(n));
            scope.remove_if_dead(codes);
        }
        return Ok(());
    }
    let held: Vec<ValueId> = scope.graph.node_inputs(node).into_iter().flatten().collect();
    let inputs: Vec<Option<&TensorData>> = held.iter().map(|&v| scope.graph.constant(v)).collect();
    if inputs.iter().any(Option::is_none) {
        return Ok(());
    }
    let (op, attrs, limit) = (&scope.graph.node(node).op, &scope.graph.node(node).attrs, cx.limits.tensor);
    let made = cx.evaluate(&NodeCall { op, attrs, inputs: &inputs, outputs: &[true], limit })?;
    scope.remove_node(node);
    if let Some(made) = made.into_iter().next() {
        scope.set_constant(output, made);
    }
    held.into_iter().for_each(|v| {
        scope.remove_if_dead(v);
    });
    Ok(())
}
