//! Fewer channels in every tensor.

use std::collections::BTreeMap;

use anyhow::{bail, ensure};

use crate::prelude::*;

use super::clusters::{Cluster, makers};
use super::cut::Cut;
use super::price::{Price, Unit};
use super::scores::{Criterion, scores};
use super::shared;
use super::widths::{Room, greedy, uniform};

/// Remove channels from every tensor that holds them: a smaller and faster model, not one with zeros.
///
/// What goes together is found by one index formula for each operator (`inspect --channels` shows it); nothing is matched
/// by architecture. Of all groups that nothing freezes, the least important channels go, until the model keeps the
/// fraction that was asked for, of what enters the step: `macs` (multiply-accumulates of a batch of one), `params`
/// (elements of weights), `bytes` (of weights) or `channels`. Weights lose the slices, attributes and shapes follow.
///
/// *Left alone:* channels of inputs and outputs, those over which something is normalized, and what operators without a
/// formula see; the report says of every group that keeps its channels who freezes it. Bodies of control flow.
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
    /// How the loss is shared among groups.
    pub scope: Sharing,
    /// How channels of a group are compared.
    pub criterion: Criterion,
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
}

impl Default for PruneChannels {
    fn default() -> Self {
        Self {
            macs: None,
            params: None,
            bytes: None,
            channels: None,
            scope: Sharing::Uniform,
            criterion: Criterion::L2,
            round_to: None,
            min_channels: 1,
            max_per_group: 0.9,
            groups: BTreeMap::new(),
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

    fn run(&self, model: &mut Model, cx: &mut PassContext<'_>) -> anyhow::Result<Summary> {
        let (unit, keep) = self.target()?;
        let mut summary = Summary::default();
        main_graph(model, cx, &mut |scope, _| shared::part(scope))?;
        main_graph(model, cx, &mut |scope, cx| {
            let channels = Channels::of(scope.graph, scope.facts, &[]);
            let groups = free(scope, cx, &channels, &mut summary);
            let score = |group| scores(scope.graph, &channels, group, self.criterion, self.seed);
            let scores: Vec<Vec<f64>> = groups.iter().map(score).collect();
            let clusters = Cluster::all(scope.graph, &channels, &groups, &scores);
            let fixed = self.fixed(scope.graph, &clusters)?;
            let room = |(cluster, keep)| self.room(cluster, keep, cx);
            let rooms: Vec<Room> = clusters.iter().zip(fixed).map(room).collect();
            if rooms.iter().all(|room| room.more(0).is_none() && room.down(0) == 0) {
                ensure!(self.allow_noop, "{}", nothing(&summary));
                return Ok(());
            }
            let price = Price::of(scope.graph, scope.facts, &groups, unit);
            let cost = |gone: &[usize]| price.with(&Cluster::by_group(&clusters, gone, groups.len()));
            let whole = cost(&vec![0; clusters.len()]);
            let gone = match self.scope {
                Sharing::Uniform => uniform(&rooms, &cost, keep * whole),
                Sharing::Global => greedy(&rooms, &cost, keep * whole, &|cluster, old, new| {
                    clusters[cluster].order[old..new].iter().map(|&(.., score)| score).sum()
                }),
            };
            let kept = cost(&gone) / whole;
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
            let chosen = clusters.iter().zip(&gone).flat_map(|(cluster, &gone)| &cluster.order[..gone]);
            let cut =
                Cut::of(ID, chosen.map(|&(group, atom, _)| (&groups[group], &groups[group].atoms[atom])));
            cut.apply(scope)?;
            summary.applied = gone.iter().filter(|&&gone| gone > 0).count();
            Ok(())
        })?;
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
