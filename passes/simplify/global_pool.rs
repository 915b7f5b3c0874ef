//! Use the operator that averages whole planes.

use super::axes::integers;
use crate::prelude::*;

/// Use `GlobalAveragePool` for a `ReduceMean`, and `GlobalMaxPool` for a `ReduceMax`, over all axes from the third on that
/// keeps them, for tensors of four and more axes: runtimes compute it in the layout of convolutions, and it needs no list
/// of axes. Likewise for an `AveragePool` and a `MaxPool` whose window is the whole plane.
///
/// *Left alone:* a mean that is subtracted, and that of squares, as in normalizations; element types that the pools lack.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct UseGlobalPool {
    /// Also where the axes do not stay: with a `Flatten` after the pool. One operator more, for runtimes that compute the
    /// pool in integers and no reduction.
    pub flatten: bool,
}

impl Rule for UseGlobalPool {
    const META: PassMeta = PassMeta::exact("use-global-pool", Family::Simplify);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let with_flatten = self.flatten;
        let op = p.op_with_any_inputs(&["AveragePool", "MaxPool", "ReduceMax", "ReduceMean"]);
        rule_fn(move |m, rw| {
            let (node, x, output) = (m.node(op), m.input(op, 0)?, m.output(op, 0)?);
            let mut keeps = true;
            let rank = m.facts().rank(x).ok_or_else(Skip::no_concern)?;
            if node.is("AveragePool") || node.is("MaxPool") {
                if !takes_the_plane(m, node, x) {
                    return Err(Skip::no_concern());
                }
                Skip::unless(!m.output_is_used(op, 1), "the indices of the MaxPool are used")?;
            } else {
                let axes = integers(m, m.id(op), 1).and_then(|axes| axes_of(&axes, rank));
                let mut axes = axes.ok_or_else(Skip::no_concern)?;
                axes.sort_unstable();
                keeps = node.attrs.int("keepdims").unwrap_or(1) != 0;
                if rank < 4 || !keeps && !with_flatten || !axes.into_iter().eq(2..rank) {
                    return Err(Skip::no_concern());
                }
                Skip::unless(!normalizes(m, x, output), "it belongs to a normalization")?;
            }
            let mean = node.is("ReduceMean") || node.is("AveragePool");
            let name = if mean { "GlobalAveragePool" } else { "GlobalMaxPool" };
            let allowed = m.dtype(x).is_some_and(|dtype| m.target().supports_type(name, dtype));
            Skip::unless(allowed, "the pool lacks the element type")?;
            if keeps {
                rw.emit(name, Attrs::new(), [x.into()], output);
            } else {
                let pooled = rw.add(name, Attrs::new(), [x.into()], format!("{}_pooled", m.name(output)));
                rw.emit("Flatten", Attrs::new().with("axis", 1i64), [pooled], output);
            }
            Ok(())
        })
    }
}

/// Whether a mean looks like one of a normalization: it is subtracted, or it is one of squares.
fn normalizes(m: &Match<'_>, x: ValueId, output: ValueId) -> bool {
    let graph = m.graph();
    let subtracted = graph.uses(output).iter().any(|&(user, _)| graph.node(user).is("Sub"));
    let squares = graph.producer(x).is_some_and(|(id, _)| {
        let inputs = graph.node_inputs(id);
        graph.node(id).is("Pow") || graph.node(id).is("Mul") && inputs.first() == inputs.get(1)
    });
    subtracted || squares
}

/// Whether the window of a pool, without padding, is all that there is behind the first two axes.
fn takes_the_plane(m: &Match<'_>, node: &Node, x: ValueId) -> bool {
    let window = node.attrs.ints("kernel_shape").unwrap_or_default();
    let all =
        |name: &str, value: i64| node.attrs.ints(name).is_none_or(|list| list.iter().all(|&n| n == value));
    let plain = matches!(node.attrs.str("auto_pad"), None | Some("NOTSET" | "VALID"));
    let dims = m.facts().shape(x).and_then(|dims| dims.get(2..)).unwrap_or_default();
    plain
        && all("pads", 0)
        && all("dilations", 1)
        && !dims.is_empty()
        && dims.len() == window.len()
        && dims.iter().zip(window).all(|(dim, &size)| dim.is(size))
}
