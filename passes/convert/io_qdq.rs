//! Integers at the border of a quantized model.

use crate::prelude::*;

use super::border::{Side, parts};

/// Drop `QuantizeLinear` behind inputs and `DequantizeLinear` before outputs: callers give and get integers.
///
/// Scale and zero point of each are told, for callers have to compute with them.
///
/// *Left alone:* inputs and outputs that something else reads too, scales that are not one constant for the whole tensor,
/// and what is not computed.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct DropIoQdq {
    /// Outputs stay floats.
    pub keep_outputs: bool,
    /// Inputs stay floats.
    pub keep_inputs: bool,
}

impl Pass for DropIoQdq {
    fn meta(&self) -> &'static PassMeta {
        const { &PassMeta::lossy("drop-io-qdq", Family::Convert) }
    }

    fn run(&self, model: &mut Model, cx: &mut PassContext<'_>) -> anyhow::Result<Summary> {
        let mut summary = Summary::default();
        main_graph(model, cx, &mut |scope, cx| {
            let inputs = scope.graph.inputs().iter().filter(|_| !self.keep_inputs).map(|&v| (Side::Input, v));
            let outputs = scope.graph.outputs().iter().filter(|_| !self.keep_outputs);
            for (side, value) in inputs.chain(outputs.map(|&v| (Side::Output, v))).collect::<Vec<_>>() {
                match Quantized::at(scope, side, value) {
                    Ok(found) => {
                        cx.warnings.push(found.told(scope.graph, side, value));
                        found.drop(scope, side, value)?;
                        summary.applied += 1;
                    }
                    Err(skip) => summary.leave(skip),
                }
            }
            Ok(())
        })?;
        Ok(summary)
    }
}

/// How a value of the border is quantized.
struct Quantized {
    node: NodeId,
    codes: ValueId,
    dtype: DType,
    scale: f64,
    zero: i64,
}

impl Quantized {
    fn at(scope: &Scope<'_>, side: Side, value: ValueId) -> Result<Self, Skip> {
        let graph = &*scope.graph;
        let (node, codes) = match side {
            Side::Input => {
                let uses = graph.uses(value);
                let quantizes =
                    |&(n, slot): &(NodeId, _)| slot == Some(0) && graph.node(n).is("QuantizeLinear");
                let node = uses.iter().find(|u| quantizes(u)).map(|u| u.0).ok_or_else(Skip::no_concern)?;
                Skip::unless(uses.len() == 1, "something else reads it too")?;
                (node, graph.node_output(node, 0))
            }
            Side::Output => {
                let (node, _) = graph.producer(value).ok_or_else(Skip::no_concern)?;
                graph.node(node).is("DequantizeLinear").then_some(()).ok_or_else(Skip::no_concern)?;
                Skip::unless(graph.use_count(value) == 0, "something else reads it too")?;
                (node, graph.node_input(node, 0))
            }
        };
        let codes = codes.ok_or_else(Skip::no_concern)?;
        parts(graph, side, value)?;
        let fixed = graph.is_pinned(codes) || (side == Side::Output && graph.producer(codes).is_none());
        Skip::unless(!fixed, "its integers are an input or another output")?;
        let one = |slot| graph.constant_input(node, slot).filter(|data| data.len() == 1);
        let scale = one(1).and_then(TensorData::to_f64);
        let zero = graph.node_input(node, 2).map_or(Some(0), |_| one(2).and_then(TensorData::to_i64));
        let plain = scale.zip(zero).zip(scope.facts.dtype(codes));
        let Some(((scale, zero), dtype)) = plain else {
            return Err(Skip::because("its scale is not one constant"));
        };
        Ok(Self { node, codes, dtype, scale, zero })
    }

    fn told(&self, graph: &Graph, side: Side, value: ValueId) -> String {
        let (name, dtype) = (&graph.value(value).name, self.dtype.name());
        let what = if side == Side::Input { "input" } else { "output" };
        format!("{what} `{name}` is {dtype} now: scale {}, zero point {}", self.scale, self.zero)
    }

    fn drop(self, scope: &mut Scope<'_>, side: Side, value: ValueId) -> anyhow::Result<()> {
        let shape = scope.graph.value(value).ty.shape().map(<[Dim]>::to_vec);
        let parameters: Vec<_> = scope.graph.node_inputs(self.node).into_iter().skip(1).flatten().collect();
        scope.remove_node(self.node);
        let done = match side {
            Side::Input => scope.replace(self.codes, value)?,
            Side::Output => scope.replace(value, self.codes)?,
        };
        if let Err(skip) = done {
            anyhow::bail!("`{}` stays: {}", scope.graph.value(value).name, skip.0);
        }
        scope.declare(value, ValueType::Tensor { dtype: Some(self.dtype), shape });
        parameters.into_iter().for_each(|v| {
            scope.remove_if_dead(v);
        });
        Ok(())
    }
}
