//! Channels that say nothing.

use std::collections::BTreeMap;

use crate::prelude::*;

use super::clusters::makers;
use super::cut::Cut;
use super::layers::{Bias, Layer};
use super::steady::{Slices, Steady, WEIGHTED};

/// Remove channels that hold one number for every input, and channels that every reader multiplies by zero.
///
/// A row of a weight that is zero, or a `BatchNormalization` with a scale of zero, makes a constant `c`; activations,
/// normalizations, pools and what arranges elements keep it one. Where a reader sums over the channel, `Σ w·c` goes into
/// its bias, and the channel goes from every tensor that holds it. Where all weights that read a channel are zero, nothing
/// has to be added. What hangs together is found as for `prune-channels`; the answers stay the same up to the rounding of
/// that sum.
///
/// With `fold: false`, as the recipe `simplify` has it, only those channels go that add zero to every sum: where all their
/// readers' weights are zero, or where they hold zero themselves. Nothing is rounded anew then, though a runtime may add up
/// the other terms in another order.
///
/// A product with zero is taken for zero. Where inputs that are not finite, or values that overflow on the way, make it
/// NaN in the model, it is a number afterwards.
///
/// *Left alone:* channels of inputs and outputs, and others that something freezes; constants other than zero that a `Conv`
/// with padding reads, or a layer without a place for a bias; the last channel of an axis. Bodies of control flow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RemoveDeadChannels {
    /// Whether what constants other than zero add to the sums of their readers goes into biases.
    pub fold: bool,
}

impl Default for RemoveDeadChannels {
    fn default() -> Self {
        Self { fold: true }
    }
}

const ID: &str = "remove-dead-channels";

/// Rounds of folding at most. Rounds of removing come to an end by themselves.
const FOLDS: usize = 64;

impl Pass for RemoveDeadChannels {
    fn meta(&self) -> &'static PassMeta {
        const { &PassMeta::exact(ID, Family::Prune) }
    }

    fn heeds_selectors(&self) -> bool {
        true
    }

    fn run(&self, model: &mut Model, cx: &mut PassContext<'_>) -> anyhow::Result<Summary> {
        let (mut applied, mut folded) = (0, 0);
        // What goes leaves weights that nobody reads any more.
        while folded < FOLDS {
            let mut summary = Summary::default();
            let mut more = false;
            main_graph(model, cx, &mut |scope, cx| {
                if !may_be_dead(scope.graph) {
                    return Ok(());
                }
                let channels = Channels::of(scope.graph, scope.facts, Heads::default());
                let Found { dead, folds } = self.find(scope, cx, &channels, &mut summary)?;
                more = !dead.is_empty();
                if folds.is_empty() {
                    applied += dead.len();
                    let chosen = dead.iter().map(|&(group, atom)| {
                        let group = &channels.groups[group];
                        (group, &group.atoms[atom])
                    });
                    return Cut::of(ID, chosen).apply(scope);
                }
                // What is folded leaves zeros, and goes in the next round.
                folded += 1;
                folds.iter().try_for_each(|fold| fold.run(scope))
            })?;
            if !more {
                return Ok(Summary { applied, ..summary });
            }
        }
        Ok(Summary { applied, ..Summary::default() })
    }
}

/// Whether a weight has a row or a column of zeros, or a factor is zero: a look at few numbers, where it is not.
fn may_be_dead(graph: &Graph) -> bool {
    graph.nodes().any(|id| {
        let node = graph.node(id);
        let weighted = WEIGHTED.iter().any(|op| node.is(op));
        let slots: &[usize] = if weighted || node.is("BatchNormalization") {
            &[1]
        } else if node.is("Mul") {
            &[0, 1]
        } else {
            &[]
        };
        slots.iter().filter_map(|&slot| graph.constant_input(id, slot)).any(has_zero_slice)
    })
}

/// Whether some slice along one of the first two axes of floats is zero. What is still to be computed has the zeros of what it
/// is computed from, along axes in another order.
fn has_zero_slice(data: &TensorData) -> bool {
    match data.source() {
        Some(source) => (0..source.rank()).any(|axis| has_zeros_along(source, axis)),
        None => (0..data.rank().min(2)).any(|axis| has_zeros_along(data, axis)),
    }
}

fn has_zeros_along(data: &TensorData, axis: usize) -> bool {
    let Some(bytes) = data.bytes().filter(|_| data.dtype().has_f64s()) else { return false };
    let width = (data.dtype().bits() / 8) as usize;
    // All bytes but the sign.
    let zero = |at: usize| {
        bytes.get(at * width..(at + 1) * width).is_some_and(|x| {
            x.split_last()
                .is_some_and(|(last, rest)| last.trailing_zeros() >= 7 && rest.iter().all(|&b| b == 0))
        })
    };
    let dims: Vec<usize> = data.dims().iter().map(|&d| d as usize).collect();
    let (size, inner) = (dims[axis], dims[axis + 1..].iter().product::<usize>());
    let outer = dims[..axis].iter().product::<usize>();
    let slice = |i: usize| (0..outer).flat_map(move |o| (0..inner).map(move |k| (o * size + i) * inner + k));
    !data.is_empty() && (0..size).any(|i| slice(i).all(zero))
}

/// A constant that a layer reads, and that goes into its bias.
struct Fold {
    layer: Layer,
    indices: Vec<u32>,
    number: f64,
}

/// What a round found.
#[derive(Default)]
struct Found {
    /// Atoms that go, by group.
    dead: Vec<(usize, usize)>,
    /// What has to be folded for them.
    folds: Vec<Fold>,
}

/// Whether some constant is zero where the atom is.
fn suspect(group: &Group, atom: &Atom, slices: &Slices) -> bool {
    group.axes.iter().zip(&atom.0).any(|(axis, indices)| slices.number(*axis, indices) == Some(0.0))
}

impl RemoveDeadChannels {
    /// The dead atoms of free groups, by group and atom, as far as they may go, and what has to be folded for them.
    fn find(
        &self,
        scope: &Scope<'_>,
        cx: &PassContext<'_>,
        channels: &Channels,
        summary: &mut Summary,
    ) -> anyhow::Result<Found> {
        let slices = Slices::of(scope.graph, &channels.groups);
        let order = scope.graph.order()?;
        let mut all = Found::default();
        let mut left: BTreeMap<Axis, usize> = BTreeMap::new();
        for (at, group) in channels.groups.iter().enumerate() {
            let near = |&node: &NodeId| {
                let outputs = scope.graph.node_outputs(node);
                group.axes.iter().any(|axis| outputs.contains(&Some(axis.value)))
            };
            let nodes: Vec<NodeId> = order.iter().copied().filter(near).collect();
            let selected = makers(scope.graph, channels, group);
            for (number, atom) in
                group.atoms.iter().enumerate().filter(|(_, atom)| suspect(group, atom, &slices))
            {
                let steady = Steady::of(scope, cx, (channels, &slices), (group, atom), &nodes);
                let Some(found) = self.judge(scope, &steady, channels, (group, atom), summary) else {
                    continue;
                };
                let parts = group.axes.iter().zip(&atom.0).filter(|(_, part)| !part.is_empty());
                let size = |axis: Axis| channels::elements(scope.facts, axis).unwrap_or(0) as usize;
                let fits =
                    parts.clone().all(|(axis, part)| *left.entry(*axis).or_insert(size(*axis)) > part.len());
                if let Some(reason) = &group.frozen {
                    summary.skip(reason.why);
                } else if !selected.iter().all(|&node| cx.may_change(scope.graph, &[node])) {
                    summary.skip("the step does not select it");
                } else if fits {
                    parts.for_each(|(axis, part)| *left.entry(*axis).or_default() -= part.len());
                    all.dead.push((at, number));
                    all.folds.extend(found);
                }
            }
        }
        Ok(all)
    }

    /// What has to be folded before an atom may go; `None` where it says something.
    fn judge(
        &self,
        scope: &Scope<'_>,
        steady: &Steady<'_>,
        channels: &Channels,
        (group, atom): (&Group, &Atom),
        summary: &mut Summary,
    ) -> Option<Vec<Fold>> {
        let graph = &*scope.graph;
        let mut folds = Vec::new();
        let mut read = false;
        for (axis, indices) in group.axes.iter().zip(&atom.0) {
            if graph.constant(axis.value).is_some() || indices.is_empty() {
                continue;
            }
            for &node in channels.sums.get(axis).map(Vec::as_slice).unwrap_or_default() {
                if !WEIGHTED.iter().any(|op| graph.node(node).is(op)) {
                    return None;
                }
                read = true;
                let number = steady.number(axis.value);
                let weight =
                    graph.node_inputs(node).into_iter().flatten().find(|&v| graph.constant(v).is_some());
                let unread = weight.is_some_and(|weight| {
                    steady.place(weight).is_some_and(|(axis, _)| steady.sums(node, axis))
                        && steady.number(weight) == Some(0.0)
                });
                if unread || number == Some(0.0) {
                    continue;
                }
                match self.fold_into(graph, node, axis.value, (indices, number?)) {
                    Ok(fold) => folds.push(fold),
                    Err(skip) => {
                        summary.skip(skip.0);
                        return None;
                    }
                }
            }
        }
        read.then_some(folds)
    }

    /// What puts a constant into the bias of a layer that reads it.
    fn fold_into(
        &self,
        graph: &Graph,
        id: NodeId,
        input: ValueId,
        (indices, number): (&[u32], f64),
    ) -> Result<Fold, Skip> {
        Skip::unless(self.fold, "its constant would have to go into a bias")?;
        let layer = Layer::of(graph, id).filter(|layer| layer.input == input);
        let layer = layer.ok_or_else(|| Skip::because("no bias can take its constant up"))?;
        let attrs = &graph.node(id).attrs;
        let alone = graph.use_count(layer.weight) == 1 && attrs.int("group").unwrap_or(1) == 1;
        Skip::unless(alone && layer.bias != Bias::None, "no bias can take its constant up")?;
        let same = attrs.str("auto_pad").is_some_and(|pad| pad.starts_with("SAME"));
        let pads = attrs.ints("pads").is_some_and(|pads| pads.iter().any(|&p| p != 0));
        Skip::unless(!same && !pads, "its constant ends where the padding of a reader begins")?;
        Ok(Fold { layer, indices: indices.to_vec(), number })
    }
}

impl Fold {
    /// Puts the constant into the bias, and zeros in the place of the weights that read it.
    fn run(&self, scope: &mut Scope<'_>) -> anyhow::Result<()> {
        let layer = &self.layer;
        let lost = || anyhow::anyhow!("a weight is no float tensor");
        let data = scope.graph.constant(layer.weight).cloned().ok_or_else(lost)?;
        let along = |axis: usize| {
            let (size, inner) =
                (data.dims()[axis] as usize, data.dims()[axis + 1..].iter().product::<u64>() as usize);
            move |at: usize| at / inner.max(1) % size.max(1)
        };
        let (from, to) = (along(layer.sums), along(layer.makes.0));
        let gone = |at: usize| self.indices.binary_search(&(from(at) as u32)).is_ok();
        let mut added = vec![0.0; data.dims()[layer.makes.0] as usize];
        data.each_f64(|at, w| {
            if gone(at) {
                added[to(at)] += w * self.number;
            }
        });
        let rest = data.map_f64(|at, w| if gone(at) { 0.0 } else { w }).ok_or_else(lost)?;
        scope.set_constant_and_type(layer.weight, rest);
        // A second constant for the same layer finds the bias that the first one made.
        let layer = Layer::of(scope.graph, layer.node).ok_or_else(lost)?;
        layer.add(scope, &added, data.dtype())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fold;
    use crate::passes::prune::tests::{answers, model};

    fn exact(model: &mut Model) -> usize {
        let mut cx = PassContext::with_kernels(model);
        RemoveDeadChannels { fold: false }.run(model, &mut cx).unwrap().applied
    }

    #[test]
    fn a_chain_of_dead_channels_goes_to_its_end() {
        let deep = 80;
        let zero = "float[2,2] w0 = {1, 0, 2, 0}".to_owned();
        let weights: Vec<String> = [zero]
            .into_iter()
            .chain((1..deep).map(|i| format!("float[2,2] w{i} = {{0.5, 0, 2, 1}}")))
            .collect();
        let layers: Vec<String> = (0..deep).map(|i| format!("m{} = MatMul (m{i}, w{i})", i + 1)).collect();
        let text = format!(
            "g (float[3,2] m0) => (float[3,4] y) <{}, float[2,4] last> {{ {} y = MatMul (m{deep}, last) }}",
            weights.join(", "),
            layers.join(" ")
        );
        let mut small = model(&text, 1);
        let before = answers(&small, 1);
        assert_eq!(exact(&mut small), deep);
        assert_eq!(exact(&mut small), 0);
        assert_eq!(answers(&small, 1), before);
    }

    #[test]
    fn a_row_that_a_scale_of_zero_makes_of_a_large_filter_is_found() {
        let numbers = |zero: &str| {
            (0..128)
                .map(|i| if i == 5 { zero.to_owned() } else { format!("{}", i + 1) })
                .collect::<Vec<_>>()
                .join(", ")
        };
        let text = format!(
            "g (float[1,128,1,1] x) => (float[1,2,1,1] y) <float[128,128,1,1] w, float[128] s = {{{}}}, \
             float[128] b = {{{}}}, float[128] m, float[128] var, float[2,128,1,1] v> \
             {{ c = Conv (x, w) n = BatchNormalization (c, s, b, m, var) r = Relu (n) y = Conv (r, v) }}",
            numbers("0"),
            numbers("-1")
        );
        let mut model = model(&text, 1);
        let mut cx = PassContext::with_kernels(&model);
        crate::pass::run_set(&mut model, &[&crate::passes::fuse::conv_bn::FuseConvBn::default()], &mut cx)
            .unwrap();
        assert_eq!(exact(&mut model), 1);
    }

    #[test]
    fn a_look_at_weights_that_are_still_to_be_computed_computes_none() {
        let text = "g (float[2,160] x) => (float[2,160] y) <float[160,160] a, float[160,160] b> \
                    { s = Transpose (a) t = Transpose (b) p = MatMul (x, s) q = Relu (p) y = MatMul (q, t) }";
        for dead in [false, true] {
            let mut model = model(text, 1);
            let named = |model: &Model, name: &str| {
                let mut all = model.graph.values();
                all.find(|&v| model.graph.value(v).name == name).unwrap()
            };
            let a = named(&model, "a");
            let row = |at: usize, x: f64| if dead && at / 160 == 7 { 0.0 } else { x };
            let data = model.graph.constant(a).and_then(|data| data.map_f64(row)).unwrap();
            let mut cx = PassContext::new(&model, &fold::evaluate, &fold::covers);
            main_graph(&mut model, &mut cx, &mut |scope, _| {
                scope.set_constant_and_type(a, data.clone());
                Ok(())
            })
            .unwrap();
            crate::pass::run_set(
                &mut model,
                &[&crate::passes::fold::constants::FoldConstants::default()],
                &mut cx,
            )
            .unwrap();
            assert_eq!(exact(&mut model), usize::from(dead));
            let weights = model.graph.values().filter_map(|v| model.graph.constant(v));
            assert_eq!(weights.filter(|data| data.is_deferred()).count(), if dead { 0 } else { 2 });
        }
    }
}
