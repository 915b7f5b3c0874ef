//! Fewer channels in every tensor.

use std::collections::BTreeMap;

use anyhow::{bail, ensure};

use crate::prelude::*;

use super::clusters::{Cluster, makers};
use super::price::{Price, Unit};
use super::refit::refit;
use super::scores::{Criterion, scores};
use super::seen::{Reader, observe};
use super::sensitivity::Bench;
use super::widths::{Room, greedy, uniform};
use super::{shared, surgeon};

/// Remove channels from every tensor that holds them: a smaller and faster model, not one with zeros.
///
/// What goes together is found by one index formula for each operator (`inspect --channels` shows it); nothing is matched
/// by architecture. Of all groups that nothing freezes, the least important channels go, until the model keeps the
/// fraction that was asked for, of what enters the step: `macs` (multiply-accumulates of a batch of one), `params`
/// (elements of weights), `bytes` (of weights) or `channels`. Weights lose the slices, attributes and shapes follow.
///
/// **Samples** (`--data`, no labels) make the difference between a model that still works and one that does not. With them,
/// channels go by what their loss costs the layers that read them when the others make up for it (`criterion: obs`); how
/// many of each group, by how much the answers of the whole model change when that group alone is cut (`scope:
/// sensitivity`, on held-out samples); and in the end the weights of every layer are fitted by least squares, in the order
/// of the graph, so that it answers the pruned model's inputs as it answered the original's (`repair: refit`).
///
/// *Left alone:* channels of inputs and outputs, those over which something is normalized, and what operators without a
/// formula see; the report says of every group that keeps its channels who freezes it. Bodies of control flow. `refit`
/// leaves `ConvTranspose`, weights that several layers share, and rows of more than 4608 numbers as they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct PruneChannels {
    /// The fraction of the multiply-accumulates to keep.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub macs: Option<f64>,
    /// The fraction of the elements of weights to keep.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub params: Option<f64>,
    /// The fraction of the bytes of weights to keep.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<f64>,
    /// The fraction of the channels to keep.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<f64>,
    /// How the loss is shared among groups; by default `sensitivity` where samples are given, else `uniform`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<Sharing>,
    /// How channels of a group are compared; by default `obs` where samples are given, else `l2`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub criterion: Option<Criterion>,
    /// Channels that are left in a group are a multiple of this, or all; by default as the profile has it, else 8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round_to: Option<u32>,
    /// The fewest channels that are left in a group.
    pub min_channels: u32,
    /// The largest share of a group that may go.
    pub max_per_group: f64,
    /// Fractions to keep of the channels of single groups, by selector of a node whose weights make them.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, f64>,
    /// How what is left makes up for what is gone; by default `refit` where samples are given, else `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repair: Option<Repair>,
    /// The batches on which `scope: sensitivity` measures, at most.
    pub batches: u32,
    /// The seed of `criterion: random`.
    pub seed: u64,
    /// Accept a model of which nothing can be removed.
    pub allow_noop: bool,
}

/// How the loss is shared among groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Sharing {
    /// Every group loses the same share.
    Uniform,
    /// The channels with the least scores go, wherever they are.
    Global,
    /// Channels go where the answers of the model change least for what is saved, measured on samples group by group.
    Sensitivity,
}

/// How what is left makes up for what is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Repair {
    /// Weights stay as they are.
    None,
    /// Weights are fitted by least squares, layer by layer, so that each layer answers as it did in the original.
    Refit,
}

impl Default for PruneChannels {
    fn default() -> Self {
        Self {
            macs: None,
            params: None,
            bytes: None,
            channels: None,
            scope: None,
            criterion: None,
            round_to: None,
            min_channels: 1,
            max_per_group: 0.9,
            groups: BTreeMap::new(),
            repair: None,
            batches: 256,
            seed: 0,
            allow_noop: false,
        }
    }
}

const ID: &str = "prune-channels";

/// How far from its target a step may end.
const TOLERANCE: f64 = 0.02;

impl Pass for PruneChannels {
    fn meta(&self) -> &'static PassMeta {
        const { &PassMeta { idempotent: false, ..PassMeta::lossy(ID, Family::Prune) } }
    }

    fn heeds_selectors(&self) -> bool {
        true
    }

    fn uses_samples(&self) -> bool {
        self.repair != Some(Repair::None)
    }

    fn run(&self, model: &mut Model, cx: &mut PassContext<'_>) -> anyhow::Result<Summary> {
        let (unit, keep) = self.target()?;
        let samples = self.samples(cx)?;
        let mut summary = Summary::default();
        main_graph(model, cx, &mut |scope, _| shared::part(scope))?;
        let before = model.clone();
        let (mut channels, mut groups) = (Channels::default(), Vec::new());
        main_graph(model, cx, &mut |scope, cx| {
            channels = Channels::of(scope.graph, scope.facts, &[]);
            groups = free(scope, cx, &channels, &mut summary);
            Ok(())
        })?;
        let readers = match samples {
            Some(samples) => observe(&before, &channels, &groups, samples)?,
            None => BTreeMap::new(),
        };
        let scores = groups.iter().map(|group| self.score(&before.graph, &channels, group, &readers));
        let clusters = Cluster::all(&before.graph, &channels, &groups, &scores.collect::<Vec<_>>());
        let fixed = self.fixed(&before.graph, &clusters)?;
        let rooms: Vec<Room> =
            clusters.iter().zip(fixed).map(|(cluster, keep)| self.room(cluster, keep, cx)).collect();
        if rooms.iter().all(|room| room.more(0).is_none() && room.down(0) == 0) {
            ensure!(self.allow_noop, "{}", nothing(&summary));
            return Ok(summary);
        }
        let bench = Bench { pass: ID, before: &before, groups: &groups, readers: &readers };
        let curves = match samples {
            Some(samples) if self.sharing(true) == Sharing::Sensitivity => {
                bench.curves(&clusters, &rooms, cx, (samples, self.batches as usize))?
            }
            _ => Vec::new(),
        };
        let facts = Facts::of(&before.graph, &InferContext::default());
        let price = Price::of(&before.graph, &facts, &groups, unit);
        let cost = |gone: &[usize]| price.with(&Cluster::by_group(&clusters, gone, groups.len()));
        let whole = cost(&vec![0; clusters.len()]);
        let gone = match self.sharing(samples.is_some()) {
            Sharing::Uniform => uniform(&rooms, &cost, keep * whole),
            Sharing::Global => greedy(&rooms, &cost, keep * whole, &|at, old, new| {
                clusters[at].order[old..new].iter().map(|&(.., score)| score).sum()
            }),
            Sharing::Sensitivity => {
                greedy(&rooms, &cost, keep * whole, &|at, old, new| curves[at].at(new) - curves[at].at(old))
            }
        };
        self.tell(unit, keep, cost(&gone) / whole, &price, cx);
        let chosen: Vec<(&Cluster, usize)> = clusters.iter().zip(gone.iter().copied()).collect();
        let cut = bench.cut(&chosen);
        *model = bench.without(&cut, cx)?;
        summary.applied = gone.iter().filter(|&&gone| gone > 0).count();
        if let Some(samples) = samples.filter(|_| summary.applied > 0) {
            refit(&before, model, &cut, cx, samples)?;
        }
        Ok(summary)
    }
}

/// The groups whose channels may go. The summary says who keeps the others.
fn free(scope: &Scope<'_>, cx: &PassContext<'_>, channels: &Channels, summary: &mut Summary) -> Vec<Group> {
    let mut free = Vec::new();
    for group in &channels.groups {
        let makers = makers(scope.graph, channels, group);
        if let Some(reason) = &group.frozen {
            summary.skip(reason.why);
        } else if makers.is_empty() {
            summary.skip("no weight makes its channels");
        } else if !makers.iter().all(|&node| cx.may_change(scope.graph, &[node])) {
            summary.skip("the step does not select it");
        } else {
            free.push(group.clone());
        }
    }
    free
}

/// Why nothing can be removed.
fn nothing(summary: &Summary) -> String {
    let reasons: Vec<String> =
        summary.skipped.iter().map(|(why, count)| format!("{count} × {why}")).collect();
    let why =
        if reasons.is_empty() { "there is no group of channels".to_owned() } else { reasons.join("; ") };
    format!("no channel can be removed ({why}); `allow-noop: true` accepts that")
}

impl PruneChannels {
    /// The samples, where they are used.
    fn samples<'a>(&self, cx: &PassContext<'a>) -> anyhow::Result<Option<&'a Samples<'a>>> {
        let needed = self.repair == Some(Repair::Refit)
            || self.scope == Some(Sharing::Sensitivity)
            || matches!(self.criterion, Some(Criterion::Obs | Criterion::Activation));
        match self.repair {
            _ if needed => cx.samples().map(Some),
            Some(Repair::None) => Ok(None),
            _ => Ok(cx.samples().ok()),
        }
    }

    fn sharing(&self, has_samples: bool) -> Sharing {
        self.scope.unwrap_or(if has_samples { Sharing::Sensitivity } else { Sharing::Uniform })
    }

    /// The scores of the atoms of a group.
    fn score(
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

    /// Says where the target was missed, and what was assumed.
    fn tell(&self, unit: Unit, keep: f64, kept: f64, price: &Price, cx: &mut PassContext<'_>) {
        if (kept - keep).abs() > TOLERANCE {
            cx.warnings.push(format!(
                "`{ID}` keeps {kept:.3} of the {}, not {keep}: {}",
                unit.name(),
                "groups that are frozen, rounded or as small as they may get allow no better"
            ));
        }
        if price.assumed {
            cx.warnings.push(format!("`{ID}` counts open dims as {}", super::price::OPEN));
        }
    }

    /// What is counted, and the fraction of it to keep.
    fn target(&self) -> anyhow::Result<(Unit, f64)> {
        let all = [
            (Unit::Macs, self.macs),
            (Unit::Params, self.params),
            (Unit::Bytes, self.bytes),
            (Unit::Channels, self.channels),
        ];
        let given: Vec<(Unit, f64)> =
            all.into_iter().filter_map(|(unit, keep)| Some((unit, keep?))).collect();
        let [(unit, keep)] = given[..] else {
            bail!(
                "it takes one of `macs`, `params`, `bytes` and `channels`: the fraction to keep, such as 0.7"
            );
        };
        let name = unit.name();
        ensure!(
            keep > 0.0 && keep <= 1.0,
            "`{name}` is {keep}; it is the fraction to keep, above 0 and at most 1"
        );
        ensure!(
            (0.0..1.0).contains(&self.max_per_group),
            "`max-per-group` is {}; it is a share, at least 0 and below 1",
            self.max_per_group
        );
        ensure!(self.round_to != Some(0), "`round-to` is 0; it is at least 1");
        ensure!(self.min_channels > 0, "`min-channels` is 0: a group without channels is no group");
        Ok((unit, keep))
    }

    /// The fractions to keep that are given for single clusters.
    fn fixed(&self, graph: &Graph, clusters: &[Cluster]) -> anyhow::Result<Vec<Option<f64>>> {
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
    fn room(&self, cluster: &Cluster, keep: Option<f64>, cx: &PassContext<'_>) -> Room {
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
