//! Which channels go in one round.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::ensure;
use rayon::prelude::*;

use crate::prelude::*;

use super::channels::{ID, PruneChannels, Repair, Sharing};
use super::clusters::{Cluster, kept, makers, multiplies};
use super::coded::{CODED, IN_BODY, is_coded, layers_in_bodies};
use super::cut::Cut;
use super::merge::{Merge, expect};
use super::price::{OPEN, Price, Unit};
use super::scores::{Criterion, scores};
use super::seen::{Reader, observe};
use super::sensitivity::{Bench, Curve};
use super::surgeon;
use super::widths::{Room, greedy, uniform};

/// One round.
pub(super) struct Plan<'p> {
    /// The options.
    pub pass: &'p PruneChannels,
    /// The model before the first round.
    pub original: &'p Model,
    /// Samples, where they are used.
    pub samples: Option<&'p Samples<'p>>,
    /// What is counted.
    pub unit: Unit,
    /// What may be left of it.
    pub target: f64,
}

/// What is known of a model before channels are chosen.
struct Known {
    groups: Vec<Group>,
    readers: BTreeMap<ValueId, Reader>,
    merges: Vec<Merge>,
    clusters: Vec<Cluster>,
    rooms: Vec<Room>,
    /// Atoms that nothing freezes and that stay all the same.
    others: usize,
}

impl Plan<'_> {
    /// Takes the channels of this round out of a model, whose layers then make up for them as far as they saw. `None`
    /// where none can go.
    pub fn cut(
        &self,
        model: &mut Model,
        cx: &mut PassContext<'_>,
        summary: &mut Summary,
    ) -> anyhow::Result<Option<Cut>> {
        let before = model.clone();
        let known = self.known(model, cx, summary)?;
        let Known { groups, readers, clusters, rooms, .. } = &known;
        if rooms.iter().all(|room| room.more(0).is_none() && room.down(0) == 0) {
            clusters.iter().for_each(|_| summary.skip(NO_ROOM));
            return Ok(None);
        }
        let nobody = BTreeMap::new();
        let repair = self.pass.repair;
        let readers = if repair == Repair::None { &nobody } else { readers };
        let bench = Bench { pass: ID, before: &before, groups, readers, merges: &known.merges, repair };
        let sharing = self.pass.sharing(self.samples.is_some());
        let curves = match self.samples.filter(|_| sharing == Sharing::Sensitivity) {
            Some(samples) => {
                let on = (samples, self.pass.batches as usize);
                bench.curves(self.original, (clusters, rooms), cx, on)?
            }
            None => Vec::new(),
        };
        let facts = Facts::of(&before.graph, &InferContext::default());
        let others = if self.unit == Unit::Channels { known.others as f64 } else { 0.0 };
        let price = Price::of(&before.graph, &facts, groups, self.unit).and(others);
        if price.assumed {
            cx.warnings.push(format!("open dims are counted as {OPEN}"));
        }
        let gone = self.share(&price, &known, sharing, &curves);
        summary.applied = gone.iter().filter(|&&gone| gone > 0).count();
        let chosen: Vec<(&Cluster, usize)> = clusters.iter().zip(gone).collect();
        let told = chosen.iter().map(|(cluster, gone)| cluster.told(&before.graph, *gone));
        summary.widths.splice(..0, told);
        let cut = bench.cut(&chosen);
        *model = bench.without(&cut, cx)?;
        Ok(Some(cut))
    }

    fn known(
        &self,
        model: &mut Model,
        cx: &mut PassContext<'_>,
        summary: &mut Summary,
    ) -> anyhow::Result<Known> {
        let (mut channels, mut groups) = (Channels::default(), Vec::new());
        main_graph(model, cx, &mut |scope, cx| {
            channels = Channels::of(scope.graph, scope.facts, self.pass.heads);
            groups = free(scope, cx, &channels, summary);
            Ok(())
        })?;
        let readers = match self.samples {
            Some(samples) => observe(model, &channels, &groups, samples)?,
            None => BTreeMap::new(),
        };
        let merges = match self.pass.repair {
            repair @ (Repair::Bias | Repair::Refit) if self.samples.is_none() => {
                expect(model, &channels, &groups, repair, cx)?
            }
            _ => Vec::new(),
        };
        let graph = &model.graph;
        let scores = groups.par_iter().map(|group| self.pass.score(graph, &channels, group, &readers));
        let clusters = Cluster::all(graph, &channels, &groups, &scores.collect::<Vec<_>>());
        let fixed = self.pass.fixed(graph, &clusters)?;
        let room = |(cluster, keep)| self.pass.room(cluster, keep, cx);
        let rooms = clusters.iter().zip(fixed).map(room).collect();
        let atoms = |groups: &[Group]| -> usize { groups.iter().map(|group| group.atoms.len()).sum() };
        let open: Vec<Group> = channels.groups.iter().filter(|g| g.frozen.is_none()).cloned().collect();
        let others = atoms(&open) - atoms(&groups);
        Ok(Known { groups, readers, merges, clusters, rooms, others })
    }

    /// How many atoms of every cluster go.
    fn share(&self, price: &Price, known: &Known, sharing: Sharing, curves: &[Curve]) -> Vec<usize> {
        let Known { groups, clusters, rooms, .. } = known;
        let cost = |gone: &[usize]| price.with(&Cluster::by_group(clusters, gone, groups.len()));
        match sharing {
            Sharing::Uniform => uniform(rooms, &cost, self.target),
            Sharing::Global => greedy(rooms, &cost, self.target, &|at, old, new| {
                clusters[at].order[old..new].iter().map(|&(.., score)| score).sum()
            }),
            Sharing::Sensitivity => {
                greedy(rooms, &cost, self.target, &|at, old, new| curves[at].at(new) - curves[at].at(old))
            }
        }
    }
}

/// Why a group stays whose channels may go.
const NO_ROOM: &str = "`round-to`, `min-channels` or `max-per-group` allow no fewer channels";

/// The groups whose channels may go. The summary says who keeps the others.
fn free(scope: &Scope<'_>, cx: &PassContext<'_>, channels: &Channels, summary: &mut Summary) -> Vec<Group> {
    let graph = &*scope.graph;
    let coded: BTreeSet<NodeId> = graph.nodes().filter(|&id| is_coded(graph, id)).collect();
    coded.iter().for_each(|_| summary.skip(CODED));
    let in_bodies: usize = graph.nodes().map(|id| layers_in_bodies(graph.node(id))).sum();
    (0..in_bodies).for_each(|_| summary.skip(IN_BODY));
    let mut free = Vec::new();
    for group in &channels.groups {
        let makers = makers(graph, channels, group);
        let why = if touches(graph, group, &coded) {
            // The summary has them already, layer by layer.
            CODED
        } else if let Some(reason) = &group.frozen {
            reason.why
        } else if makers.is_empty() {
            "no weight makes its channels"
        } else if !group.axes.iter().all(|axis| is_finite(graph, axis.value)) {
            "its weight is not finite"
        } else if !makers.iter().all(|&node| cx.may_change(graph, &[node])) {
            "the step does not select it"
        } else {
            free.push(group.clone());
            continue;
        };
        if why != CODED {
            summary.skip(why);
        }
        if !makers.is_empty() {
            let reason = group.frozen.filter(|reason| reason.why == why);
            let told = reason.map_or_else(|| why.to_owned(), |reason| reason.label(graph));
            summary.widths.push(kept(graph, &makers, group, told));
        }
    }
    free
}

/// Whether some of these nodes reads or makes channels of a group.
fn touches(graph: &Graph, group: &Group, nodes: &BTreeSet<NodeId>) -> bool {
    group.axes.iter().any(|axis| {
        let readers = graph.uses(axis.value).into_iter().map(|(node, _)| node);
        graph
            .producer(axis.value)
            .map(|(node, _)| node)
            .into_iter()
            .chain(readers)
            .any(|n| nodes.contains(&n))
    })
}

/// Whether a value is nothing that a layer multiplies by, or has neither NaN nor infinity.
fn is_finite(graph: &Graph, value: ValueId) -> bool {
    let Some(data) = graph.constant(value).filter(|data| data.dtype().has_f64s()) else { return true };
    let mut finite = true;
    if graph.uses(value).iter().any(|&(node, _)| multiplies(graph.node(node))) {
        data.each_f64(|_, x| finite &= x.is_finite());
    }
    finite
}

impl PruneChannels {
    /// How the loss is shared.
    pub(super) fn sharing(&self, has_samples: bool) -> Sharing {
        self.scope.unwrap_or(if has_samples { Sharing::Sensitivity } else { Sharing::Uniform })
    }

    /// The scores of the atoms of a group.
    pub(super) fn score(
        &self,
        graph: &Graph,
        channels: &Channels,
        group: &Group,
        readers: &BTreeMap<ValueId, Reader>,
    ) -> Vec<f64> {
        let by_weights = |criterion| scores(graph, channels, group, criterion, self.seed);
        match self.criterion.unwrap_or(if readers.is_empty() { Criterion::L2 } else { Criterion::Obs }) {
            Criterion::Obs => surgeon::scores(group, readers).unwrap_or_else(|| by_weights(Criterion::L2)),
            Criterion::Activation => {
                surgeon::powers(group, readers).unwrap_or_else(|| by_weights(Criterion::L2))
            }
            criterion => by_weights(criterion),
        }
    }

    /// The fractions to keep that are given for single clusters.
    pub(super) fn fixed(&self, graph: &Graph, clusters: &[Cluster]) -> anyhow::Result<Vec<Option<f64>>> {
        let mut fixed = vec![None; clusters.len()];
        for (text, &keep) in &self.groups {
            ensure!(
                keep > 0.0 && keep <= 1.0,
                "`groups` keeps {keep} of `{text}`; it is above 0 and at most 1"
            );
            let selector = Selector::parse(text)?;
            let may_miss = selector.may_miss();
            let select = Select { only: vec![selector], ignore: Vec::new() };
            let mut hit = false;
            for (cluster, fixed) in clusters.iter().zip(&mut fixed) {
                if cluster.makers.iter().any(|&node| select.allows(graph, &[node])) {
                    (*fixed, hit) = (Some(keep), true);
                }
            }
            ensure!(hit || may_miss, "`groups`: `{text}` selects no node that makes channels which may go");
        }
        Ok(fixed)
    }

    /// How many atoms of a cluster may go.
    pub(super) fn room(&self, cluster: &Cluster, keep: Option<f64>, cx: &PassContext<'_>) -> Room {
        let multiple = cx.profile.channel_multiple;
        let round = self.round_to.unwrap_or(if multiple > 1 { multiple } else { 8 }) as usize;
        let width = cluster.order.len();
        // Where atoms take different parts of different weights, no number of them is a multiple everywhere.
        let step = cluster.each.map_or(1, |each| round / gcd(round, each));
        let least = (self.min_channels as usize).div_ceil(cluster.each.unwrap_or(1).max(1)).max(1);
        let most = ((width as f64 * self.max_per_group) as usize).min(width.saturating_sub(least));
        let room = Room { width, step, most, fixed: None };
        let fixed = keep.map(|keep| room.down((width as f64 * (1.0 - keep)).round() as usize));
        Room { fixed, ..room }
    }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}
