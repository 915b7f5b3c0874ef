//! What the layers of a model take on an engine, whole and taken apart.

use std::collections::BTreeMap;

use anyhow::Context;

use crate::prelude::*;

use super::divisible::leave;
use super::forms::Choice;
use super::target::Target;

/// Why a layer cannot be timed.
const OPEN: &str = "the dims of its input are open and no sample shows them, so that it cannot be measured";

/// Why a layer stays that was timed.
const SLOW: &str = "no rank is faster here";

/// Where at least this share of its time is left, a layer is not called faster.
const FASTER: f64 = 0.98;

/// Times layers, each alone in a model.
pub(super) struct Stopwatch<'e> {
    engine: &'e dyn Engine,
    alone: BTreeMap<NodeId, Model>,
    /// The share of the time of the whole layer that each choice takes which was timed, by its name.
    shares: BTreeMap<(NodeId, String), f64>,
}

impl<'e> Stopwatch<'e> {
    /// For layers whose inputs have known dims, of the first sample or of a batch of one. The others are no targets any
    /// more.
    pub fn of(
        engine: &'e dyn Engine,
        model: &Model,
        samples: Option<&Samples<'_>>,
        targets: &mut Vec<Target>,
        summary: &mut Summary,
    ) -> anyhow::Result<Self> {
        let graph = &model.graph;
        let read: Vec<ValueId> = targets.iter().flat_map(|target| target.reads(graph)).collect();
        let dims = dims(model, &read, samples)?;
        let mut alone = BTreeMap::new();
        for target in &*targets {
            let ty = |value: ValueId| {
                let dims = dims.get(&value)?.iter().map(|&d| Dim::Known(d));
                Some(ValueType::tensor(target.dtype(graph)?, dims))
            };
            let input = |value: ValueId| Some((value, ty(value)?));
            let inputs: Option<Vec<_>> = target.reads(graph).into_iter().map(input).collect();
            let Some(inputs) = inputs else {
                leave(summary, graph, target.node(), OPEN);
                continue;
            };
            let (nodes, output) = target.nodes(graph);
            alone.insert(target.node(), excerpt(model, &nodes.into_iter().collect(), &inputs, &[output])?);
        }
        targets.retain(|target| alone.contains_key(&target.node()));
        Ok(Self { engine, alone, shares: BTreeMap::new() })
    }

    /// Whether every layer is faster at its rung. Where one is not, what is not faster is taken off its ladder, and it is no
    /// target any more where nothing is left.
    pub fn holds(
        &mut self,
        model: &Model,
        targets: &mut Vec<Target>,
        rungs: &[usize],
        summary: &mut Summary,
    ) -> anyhow::Result<bool> {
        let mut all = true;
        for (target, &rung) in targets.iter_mut().zip(rungs) {
            let chosen = target.choice(rung).cloned();
            if let Some(chosen) = chosen
                && !self.is_faster(target, &chosen)?
            {
                self.strike(target, &chosen)?;
                all = false;
            }
        }
        targets.retain(|target| {
            let stays = target.ladder.choices.is_empty();
            if stays {
                leave(summary, &model.graph, target.node(), SLOW);
            }
            !stays
        });
        Ok(all)
    }

    /// The share of its time that a layer takes at a rung which was timed.
    pub fn share(&self, target: &Target, rung: usize) -> Option<f64> {
        self.shares.get(&(target.node(), target.choice(rung)?.name())).copied()
    }

    /// Takes a choice that is not faster off the ladder, and all of its form that cost more than the dearest one which is:
    /// time goes with cost, more or less, so that halving finds that one.
    fn strike(&mut self, target: &mut Target, slow: &Choice) -> anyhow::Result<()> {
        let mut cheaper: Vec<Choice> = (target.ladder.all())
            .filter(|choice| choice.form == slow.form && choice.cost.macs < slow.cost.macs)
            .cloned()
            .collect();
        cheaper.sort_by(|a, b| a.cost.macs.total_cmp(&b.cost.macs));
        let (mut fast, mut end) = (0, cheaper.len());
        while fast < end {
            let middle = usize::midpoint(fast, end);
            if self.is_faster(target, &cheaper[middle])? {
                fast = middle + 1;
            } else {
                end = middle;
            }
        }
        let most = fast.checked_sub(1).map_or(0.0, |last| cheaper[last].cost.macs);
        target.strike(|choice| choice.form == slow.form && choice.cost.macs > most);
        Ok(())
    }

    fn is_faster(&mut self, target: &Target, choice: &Choice) -> anyhow::Result<bool> {
        let key = (target.node(), choice.name());
        if let Some(share) = self.shares.get(&key) {
            return Ok(*share < FASTER);
        }
        let Some(whole) = self.alone.get(&target.node()) else { return Ok(false) };
        let mut apart = whole.clone();
        let mut cx = PassContext::with_kernels(whole);
        main_graph(&mut apart, &mut cx, &mut |scope, _| target.put(scope, choice))?;
        let times = times(self.engine, &[whole, &apart])
            .with_context(|| format!("timing {} alone", whole.graph.node_label(target.node())))?;
        let share = times[1] / times[0];
        self.shares.insert(key, share);
        Ok(share < FASTER)
    }
}

/// The dims of values, as far as they are known: as the first sample shows them, or of a batch of one.
fn dims(
    model: &Model,
    values: &[ValueId],
    samples: Option<&Samples<'_>>,
) -> anyhow::Result<BTreeMap<ValueId, Vec<u64>>> {
    if let Some(samples) = samples {
        let mut seen: Vec<Vec<u64>> = vec![Vec::new(); values.len()];
        samples.few(1).observe(Tap::of(model, values), &mut seen, |dims, tensor| {
            *dims = tensor.dims().to_vec();
            Ok(())
        })?;
        return Ok(values.iter().copied().zip(seen).collect());
    }
    let facts = Facts::of(&model.graph, &InferContext::default());
    let sizes = Sizes::batch_of_one(&model.graph, &facts, BTreeMap::new());
    let known = |&value: &ValueId| {
        let dims = facts.shape(value)?.iter().map(|dim| sizes.eval(dim));
        Some((value, dims.collect::<Option<_>>()?))
    };
    Ok(values.iter().filter_map(known).collect())
}
