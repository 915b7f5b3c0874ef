//! Weights that are quantized when the model runs, stored as the integers that they become.

use crate::prelude::*;

use super::pairs::{Editor, New, Params, Spread, made_by};

/// Operators that only arrange elements.
pub(super) const LAYOUT: &[&str] = &["Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"];

/// The longest chain of operators that is followed from a constant.
const DEPTH: usize = 4;

impl Editor<'_, '_, '_> {
    /// Quantizes constants now: a weight, also behind operators that arrange it; and carries out what is done to the
    /// codes of constants.
    pub fn store_codes(&mut self) -> anyhow::Result<()> {
        for node in self.order()? {
            if !self.scope.graph.contains_node(node) {
                continue;
            }
            let outcome = if self.scope.graph.node(node).is("QuantizeLinear") {
                self.store(node)
            } else if self.scope.graph.node(node).is("DequantizeLinear") {
                self.settle(node)?
            } else if LAYOUT.iter().any(|op| self.scope.graph.node(node).is(op)) {
                self.arrange(node)?
            } else {
                continue;
            };
            self.count(outcome);
        }
        Ok(())
    }

    /// Replaces a `QuantizeLinear` of a constant by its codes.
    fn store(&mut self, node: NodeId) -> Result<(), Skip> {
        let graph = &*self.scope.graph;
        let (Some(from), Some(to)) = (graph.node_input(node, 0), graph.node_output(node, 0)) else {
            return Err(Skip::no_concern());
        };
        if graph.value(from).data.is_some() && graph.is_input(from) {
            return Err(Skip::because("its weight is an input, which a caller may override"));
        }
        let weight = self.behind(from, LAYOUT, DEPTH).filter(|w| w.dtype().is_float());
        let weight = weight.ok_or_else(Skip::no_concern)?;
        Skip::unless(!graph.is_pinned(to), "its codes are an output of the graph")?;
        self.may(&[node]).then_some(()).ok_or_else(Skip::no_concern)?;
        let constant = |slot: usize| graph.node_input(node, slot).is_none_or(|v| graph.constant(v).is_some());
        Skip::unless(constant(1) && constant(2), "the scale of its weight is not constant")?;
        let codes = self.evaluate_on(node, &weight);
        let codes = codes.ok_or_else(|| Skip::because("its weight cannot be quantized: it is no number"))?;
        self.scope.remove_node(node);
        self.scope.set_constant(to, codes);
        self.bury(from);
        Ok(())
    }

    /// What a constant becomes on the way to a value through these operators.
    pub fn behind(&self, value: ValueId, through: &[&str], depth: usize) -> Option<TensorData> {
        let graph = &*self.scope.graph;
        if let Some(data) = graph.constant(value) {
            return Some(data.clone());
        }
        let (node, _) = graph.producer(value).filter(|_| depth > 0)?;
        through.iter().any(|op| graph.node(node).is(op)).then_some(())?;
        let first = self.behind(graph.node_input(node, 0)?, through, depth - 1)?;
        self.evaluate_on(node, &first)
    }

    /// Lets a `DequantizeLinear` read constant codes as they come out of the operators before it, such as the `Clip` of
    /// a narrower range.
    fn settle(&mut self, node: NodeId) -> anyhow::Result<Result<(), Skip>> {
        let graph = &*self.scope.graph;
        let from = graph.node_input(node, 0).filter(|&v| graph.constant(v).is_none());
        let on_codes: Vec<&str> = LAYOUT.iter().copied().chain(["Clip"]).collect();
        let found = from.and_then(|v| Some((v, self.behind(v, &on_codes, DEPTH)?)));
        let Some((from, codes)) = found.filter(|_| self.may(&[node])) else {
            return Ok(Err(Skip::no_concern()));
        };
        let alone = graph.use_count(from) == 1 && !graph.is_pinned(from);
        if let Some((by, _)) = graph.producer(from).filter(|_| alone) {
            let read = graph.node_inputs(by);
            self.scope.remove_node(by);
            self.scope.set_constant(from, codes);
            read.into_iter().flatten().for_each(|value| self.bury(value));
            return Ok(Ok(()));
        }
        let name = graph.value(from).name.clone();
        let stored = self.scope.add_constant(&name, codes)?;
        self.scope.feed(node, 0, stored)?;
        self.bury(from);
        Ok(Ok(()))
    }

    /// Arranges the codes of a constant instead of what they become.
    fn arrange(&mut self, node: NodeId) -> anyhow::Result<Result<(), Skip>> {
        let (back, codes, attrs) = match self.arranged(node) {
            Ok(found) => found,
            Err(skip) => return Ok(Err(skip)),
        };
        let graph = &*self.scope.graph;
        let [old, scale, zero] = [0, 1, 2].map(|slot| graph.node_input(back, slot));
        let read = graph.node_inputs(node);
        let Some(to) = graph.node_output(node, 0) else { return Ok(Err(Skip::no_concern())) };
        let name = format!("{}_quantized", graph.value(to).name);
        let codes = self.renew(old, &name, codes)?;
        let inputs = [Some(codes), scale, zero];
        let new = New { op: "DequantizeLinear", attrs, inputs: &inputs, from: &[back, node] };
        self.exchange(node, new, to)?;
        read.into_iter().flatten().for_each(|value| self.bury(value));
        Ok(Ok(()))
    }

    /// The `DequantizeLinear` of a constant before an operator that arranges elements, its codes arranged so, and its
    /// attributes then.
    fn arranged(&self, node: NodeId) -> Result<(NodeId, TensorData, Attrs), Skip> {
        let graph = &*self.scope.graph;
        let found = graph.node_input(node, 0).and_then(|v| {
            let back = made_by(graph, v, "DequantizeLinear")?;
            let codes = graph.constant_input(back, 0)?;
            let sole = graph.use_count(v) == 1 && !graph.is_pinned(v);
            let own = graph.node_input(back, 0).is_some_and(|c| graph.use_count(c) == 1);
            (sole && own && self.may(&[back, node])).then_some((back, codes, Params::of(graph, back)?))
        });
        let (back, codes, params) = found.ok_or_else(Skip::no_concern)?;
        let attrs = graph.node(back).attrs.clone();
        let attrs = match params.spread {
            Spread::Tensor => attrs,
            Spread::Axis(_) | Spread::Blocks { .. } if graph.node(node).is("Identity") => attrs,
            Spread::Axis(axis) if graph.node(node).is("Transpose") => {
                let rank = codes.rank() as i64;
                let axis = axis.rem_euclid(rank.max(1));
                let reversed = (0..rank).rev().collect();
                let perm = graph.node(node).attrs.ints("perm").map_or(reversed, <[i64]>::to_vec);
                let to = perm.iter().position(|&from| from == axis).ok_or_else(Skip::no_concern)?;
                attrs.with("axis", to as i64)
            }
            _ => return Err(Skip::no_concern()),
        };
        let codes = self.evaluate_on(node, codes).ok_or_else(Skip::no_concern)?;
        Ok((back, codes, attrs))
    }
}
