//! Visiting every graph of a model, each with what is known around it.

use crate::analysis::{Facts, InferContext};
use crate::ir::{Graph, IrError, Model, NodeId, Origin};

/// Calls a function on the main graph, on every body, and on the bodies of functions: outer graphs before inner ones.
/// In a body, a captured constant has its data, so that it counts as a constant there.
pub(crate) fn each_graph<E: From<IrError>>(
    model: &mut Model,
    f: &mut dyn FnMut(&mut Graph, &mut Facts) -> Result<(), E>,
) -> Result<(), E> {
    visit(&mut model.graph, &InferContext::default(), f)?;
    for function in &mut model.functions {
        visit(&mut function.graph, &InferContext::default(), f)?;
    }
    Ok(())
}

fn visit<E: From<IrError>>(
    graph: &mut Graph,
    context: &InferContext<'_>,
    f: &mut dyn FnMut(&mut Graph, &mut Facts) -> Result<(), E>,
) -> Result<(), E> {
    let mut facts = Facts::of(graph, context);
    f(graph, &mut facts)?;
    let holders: Vec<NodeId> =
        graph.nodes().filter(|&n| graph.node(n).attrs.graphs().next().is_some()).collect();
    for id in holders {
        let mut attrs = std::mem::take(&mut graph.node_mut(id).attrs);
        let result = (attrs.iter_mut().flat_map(|a| a.value.graphs_mut())).try_for_each(|body| {
            inform(body, graph, &facts);
            visit(body, &InferContext::default().inside(graph, &facts), f)
        });
        graph.node_mut(id).attrs = attrs;
        graph.refresh_captures(id)?;
        result?;
    }
    Ok(())
}

/// Copies what the graph outside knows onto the values that a body captures.
fn inform(body: &mut Graph, outer: &Graph, facts: &Facts) {
    let captured: Vec<_> = body.captured_values().collect();
    for value in captured {
        let Some(source) = outer.find(&body.value(value).name) else { continue };
        let (ty, data) = (facts.ty(source), outer.constant(source).cloned());
        debug_assert_eq!(body.value(value).origin, Origin::Captured);
        body.edit_value(value, |v| (v.ty, v.data) = (ty, data));
    }
}
