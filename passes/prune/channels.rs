//! Fewer channels in every tensor.

use std::collections::BTreeMap;

use anyhow::{bail, ensure};

use crate::prelude::*;

use super::cut::Cut;
use super::plan::Plan;
use super::price::{Price, Unit};
use super::refit::refit;
use super::scores::Criterion;
use super::shared;

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
/// of the graph, so that it answers the pruned model's inputs as it answered the original's (`repair: refit`). Without
/// samples, what the layers before say of their results (Gaussian inputs through the weights, with the means and deviations
/// that normalizations give) takes the place of what was measured, and only the channels that stay take over those that go.
///
/// *Left alone:* channels of inputs and outputs, those over which something is normalized, and what operators without a
/// formula see; layers whose weights are quantized, and what hangs together with them (prune first, then quantize); weights
/// that are not finite. The report says of every group that keeps its channels who freezes it. Bodies of control flow. `refit`
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
    /// What may go of the heads of an attention, of products of two activations in general.
    pub heads: Heads,
    /// How what is left makes up for what is gone.
    pub repair: Repair,
    /// The batches on which `scope: sensitivity` measures, at most: of models that take long, fewer.
    pub batches: u32,
    /// In how many rounds channels go; every round measures and fits anew. By default 2 where less than 0.6 is kept and
    /// samples are given, else 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iterations: Option<u32>,
    /// The seed of `criterion: random`.
    pub seed: u64,
    /// Accept a model of which nothing can be removed.
    pub allow_noop: bool,
    /// Only tell what would go; the model stays as it is, and nothing is written.
    pub dry_run: bool,
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
    /// What the channels that are gone were on average goes to the biases of the layers that read them.
    Bias,
    /// Weights are fitted by least squares, layer by layer, so that each layer answers as it did in the original. Without
    /// samples, what the channels that are gone are expected to have in common with others goes to these.
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
            heads: Heads::Whole,
            repair: Repair::Refit,
            batches: 256,
            iterations: None,
            seed: 0,
            allow_noop: false,
            dry_run: false,
        }
    }
}

pub(super) const ID: &str = "prune-channels";

/// Below this fraction what is measured once no longer holds at the end.
const DEEP: f64 = 0.6;

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
        self.repair != Repair::None
    }

    fn keeps(&self) -> Option<(&'static str, f64)> {
        let (unit, keep) = self.target().ok()?;
        Some((unit.name(), keep))
    }

    fn run(&self, model: &mut Model, cx: &mut PassContext<'_>) -> anyhow::Result<Summary> {
        let (unit, keep) = self.target()?;
        let samples = self.samples(cx)?;
        main_graph(model, cx, &mut |scope, _| shared::part(scope))?;
        let original = model.clone();
        let facts = Facts::of(&original.graph, &InferContext::default());
        let whole = cost_of(&original, unit, self.heads);
        if self.dry_run {
            // Without samples, how the others make up for what goes has no say in what goes.
            let repair = if samples.is_some() { self.repair } else { Repair::None };
            let pass = Self { repair, ..self.clone() };
            let plan = Plan { pass: &pass, original: &original, samples, unit, target: keep * whole };
            return self.plan(&plan, model.clone(), cx);
        }
        let mut summary = Summary::default();
        let mut gone = Cut::of(ID, []);
        let rounds = self.iterations.unwrap_or(if keep < DEEP && samples.is_some() { 2 } else { 1 });
        for round in 1..=rounds {
            let share = keep.powf(f64::from(round) / f64::from(rounds));
            let plan = Plan { pass: self, original: &original, samples, unit, target: share * whole };
            let mut found = Summary::default();
            let Some(cut) = plan.cut(model, cx, &mut found)? else {
                ensure!(round > 1 || self.allow_noop, "{}", nothing(&found));
                summary = if round > 1 { summary } else { found };
                break;
            };
            gone = gone.then(&cut, &original.graph, &facts);
            summary = Summary { applied: summary.applied.max(found.applied), ..found };
            if let Some(samples) = samples.filter(|_| self.repair == Repair::Refit) {
                refit(&original, model, &gone, cx, samples)?;
            }
        }
        tell(unit, keep, cost_of(model, unit, self.heads) / whole, cx);
        Ok(summary)
    }
}

/// What a model costs.
fn cost_of(model: &Model, unit: Unit, heads: Heads) -> f64 {
    let facts = Facts::of(&model.graph, &InferContext::default());
    let groups: Vec<Group> = match unit {
        Unit::Channels => {
            let all = Channels::of(&model.graph, &facts, heads).groups;
            all.into_iter().filter(|group| group.frozen.is_none()).collect()
        }
        _ => Vec::new(),
    };
    Price::of(&model.graph, &facts, &groups, unit).with(&vec![0; groups.len()])
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
    /// What would go in one round.
    fn plan(&self, plan: &Plan<'_>, mut trial: Model, cx: &mut PassContext<'_>) -> anyhow::Result<Summary> {
        let mut summary = Summary::default();
        let found = plan.cut(&mut trial, cx, &mut summary)?;
        ensure!(found.is_some() || self.allow_noop, "{}", nothing(&summary));
        let (before, after) =
            (cost_of(plan.original, plan.unit, self.heads), cost_of(&trial, plan.unit, self.heads));
        let share = after / before.max(f64::MIN_POSITIVE);
        summary.plan = Some(format!(
            "{ID} would keep {share:.3} of the {}: {after:.0} of {before:.0}",
            plan.unit.name()
        ));
        summary.applied = 0;
        Ok(summary)
    }

    /// The samples, where they are used.
    fn samples<'a>(&self, cx: &PassContext<'a>) -> anyhow::Result<Option<&'a Samples<'a>>> {
        let needed = self.scope == Some(Sharing::Sensitivity)
            || matches!(self.criterion, Some(Criterion::Obs | Criterion::Activation));
        match self.repair {
            _ if needed => cx.samples().map(Some),
            Repair::None => Ok(None),
            _ => Ok(cx.samples().ok()),
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
        ensure!(self.iterations != Some(0), "`iterations` is 0; it is at least 1");
        ensure!(self.min_channels > 0, "`min-channels` is 0: a group without channels is no group");
        Ok((unit, keep))
    }
}

/// Says where the target was missed.
fn tell(unit: Unit, keep: f64, kept: f64, cx: &mut PassContext<'_>) {
    if (kept - keep).abs() > TOLERANCE {
        cx.warnings.push(format!(
            "`{ID}` keeps {kept:.3} of the {}, not {keep}: {}",
            unit.name(),
            "groups that are frozen, rounded or as small as they may get allow no better"
        ));
    }
}
