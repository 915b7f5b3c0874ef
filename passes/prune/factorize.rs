//! Layers of low rank.

use anyhow::{bail, ensure};

use crate::prelude::*;

use super::channels::{Repair, Sharing};
use super::cut::Cut;
use super::price::{OPEN, Unit};
use super::refit::refit;
use super::stopwatch::Stopwatch;
use super::target::{Target, Wish, targets};
use super::{divisible, ranks};

/// Put two or three smaller layers in the place of one whose weights are nearly of low rank.
///
/// A `Gemm` or `MatMul` becomes two: `W ≈ last · first`. A `Conv` becomes a kernel that makes fewer channels and a 1×1, or a
/// 1×1 and a kernel that reads fewer, or both (Tucker-2), or a k×1 and a 1×k: whichever of these gets the answers least wrong
/// for the same cost. Strides, pads and dilations go with the axis that they are for.
///
/// A rank keeps the directions in which the answers have most power. That is the spectrum of the weights alone, or, with
/// **samples** (`--data`, no labels), of `W·H·Wᵀ` with the second moments `H` of the inputs, which is what the layer does
/// with what it sees. With samples ranks are also shared by how much the answers of the whole model change when one layer
/// alone is taken apart (`scope: sensitivity`, on held-out samples), and in the end every layer is fitted by least squares
/// to what it answered in the original (`repair: refit`).
///
/// How far it goes is said by one of `macs`, `params` and `bytes`: the fraction to keep of what the layers that can be taken
/// apart take together (not of the whole model); or by `energy`: the share of the power of its answers that each layer
/// keeps. A layer is taken apart only where that saves multiply-accumulates and weights.
///
/// *Left alone:* convolutions in groups, depthwise ones too; `ConvTranspose`; weights that are quantized, shared, not
/// constant, not finite or no matrix; a `Gemm` with `transA`, `alpha` or `beta`; layers so small that no rank saves anything;
/// bodies of control flow. The report says of every layer what it became, or why it stays. Rows of more than 4608 numbers are
/// not weighted and not fitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Factorize {
    /// The fraction to keep of the multiply-accumulates of layers that can be taken apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub macs: Option<f64>,
    /// The fraction to keep of the elements of their weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub params: Option<f64>,
    /// The fraction to keep of the bytes of their weights.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<f64>,
    /// The share of the power of its answers that every layer keeps.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub energy: Option<f64>,
    /// How the loss is shared among layers; by default `sensitivity` where samples are given, else `global`. Not with
    /// `energy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<Sharing>,
    /// The forms of convolutions.
    pub conv: ConvForm,
    /// Ranks are a multiple of this; by default as the profile has it for channels, else 8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub round_to: Option<u32>,
    /// How layers make up for what is lost; by default `refit` where samples are given, else `none`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repair: Option<Repair>,
    /// The batches on which `scope: sensitivity` measures, at most.
    pub batches: u32,
    /// Take a layer apart only where that is faster on the engine of the run (`--engine ort` or `--engine tract`): every layer
    /// is timed alone, whole and taken apart, with the dims that the first sample shows of its input, or those of a batch of
    /// one. Ranks that are not faster are out of the question, so that a layer may stay. What is measured differs between
    /// machines, and a little between runs: **the same recipe need not give the same file any more**.
    pub measure: bool,
    /// Accept a model in which nothing can be taken apart.
    pub allow_noop: bool,
}

/// The forms of convolutions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ConvForm {
    /// Of all forms the one that loses least.
    Auto,
    /// A 1×1 before the kernel, after it, or both.
    Tucker,
    /// A k×1 and a 1×k; two 1×1 for a 1×1.
    Spatial,
    /// Convolutions stay as they are.
    None,
}

impl Default for Factorize {
    fn default() -> Self {
        Self {
            macs: None,
            params: None,
            bytes: None,
            energy: None,
            scope: None,
            conv: ConvForm::Auto,
            round_to: None,
            repair: None,
            batches: 256,
            measure: false,
            allow_noop: false,
        }
    }
}

pub(super) const ID: &str = "factorize";

/// How far above its target a step may end without a word.
const TOLERANCE: f64 = 0.02;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Goal {
    /// A fraction of what all layers cost.
    Keep(Unit, f64),
    /// A share of the power of the answers of each.
    Energy(f64),
}

impl Pass for Factorize {
    fn meta(&self) -> &'static PassMeta {
        const { &PassMeta { idempotent: false, ..PassMeta::lossy(ID, Family::Prune) } }
    }

    fn heeds_selectors(&self) -> bool {
        true
    }

    fn uses_samples(&self) -> bool {
        true
    }

    fn keeps(&self) -> Option<(&'static str, f64)> {
        let all =
            [("macs", self.macs), ("params", self.params), ("bytes", self.bytes), ("energy", self.energy)];
        all.into_iter().find_map(|(name, share)| Some((name, share?)))
    }

    fn run(&self, model: &mut Model, cx: &mut PassContext<'_>) -> anyhow::Result<Summary> {
        let goal = self.goal()?;
        let samples = self.samples(cx)?;
        let engine = self.measure.then(|| cx.runtime()).transpose()?;
        let mut summary = Summary::default();
        let original = model.clone();
        let mut targets = self.targets(model, goal, cx, samples, &mut summary)?;
        let mut stopwatch = match engine {
            Some(engine) => Some(Stopwatch::of(engine, &original, samples, &mut targets, &mut summary)?),
            None => None,
        };
        let answers = self.answers(goal, &original, samples)?;
        let rungs = loop {
            if let Some((answers, samples)) = &answers {
                targets.iter_mut().try_for_each(|target| target.judge(answers, &original, cx, samples))?;
            }
            let rungs = self.rungs(&targets, goal);
            let Some(stopwatch) = &mut stopwatch else { break rungs };
            if stopwatch.holds(&original, &mut targets, &rungs, &mut summary)? {
                break rungs;
            }
        };
        if rungs.iter().all(|&rung| rung == 0) {
            ensure!(self.allow_noop, "{}", nothing(&summary, targets.len()));
        }
        let chosen: Vec<(&Target, usize)> = targets.iter().zip(rungs.iter().copied()).collect();
        let kept = chosen.iter().map(|(target, rung)| target.ladder.costs[*rung]).sum::<f64>();
        let whole = targets.iter().map(|target| target.ladder.costs[0]).sum::<f64>();
        main_graph(model, cx, &mut |scope, _| {
            for &(target, rung) in &chosen {
                let share = stopwatch.as_ref().and_then(|stopwatch| stopwatch.share(target, rung));
                target.tell(scope.graph, (rung, share), samples.is_some(), &mut summary);
                target.place(scope, rung)?;
            }
            Ok(())
        })?;
        summary.applied = rungs.iter().filter(|&&rung| rung > 0).count();
        if let Some(samples) = samples.filter(|_| self.repair != Some(Repair::None) && summary.applied > 0) {
            refit(&original, model, &Cut::of(ID, []), cx, samples)?;
        }
        if let Goal::Keep(unit, keep) = goal
            && kept > (keep + TOLERANCE) * whole
        {
            cx.warnings.push(format!(
                "`{ID}` keeps {:.3} of the {} of the layers that can be taken apart, not {keep}: no smaller ranks are left",
                kept / whole,
                unit.name()
            ));
        }
        Ok(summary)
    }
}

/// Why nothing is taken apart.
fn nothing(summary: &Summary, targets: usize) -> String {
    let mut why: Vec<String> =
        summary.skipped.iter().map(|(why, count)| format!("{count} × {why}")).collect();
    if targets > 0 {
        why.push(format!("{targets} × what is asked for is met by the whole layer"));
    }
    let why = if why.is_empty() {
        "there is no Conv, Gemm or MatMul with a weight".to_owned()
    } else {
        why.join("; ")
    };
    format!("no layer can be taken apart ({why}); `allow-noop: true` accepts that")
}

impl Factorize {
    fn targets(
        &self,
        model: &mut Model,
        goal: Goal,
        cx: &mut PassContext<'_>,
        samples: Option<&Samples<'_>>,
        summary: &mut Summary,
    ) -> anyhow::Result<Vec<Target>> {
        let mut layers = Vec::new();
        main_graph(model, cx, &mut |scope, cx| {
            layers = divisible::divisible(scope, cx, summary)?;
            Ok(())
        })?;
        let multiple = cx.profile.channel_multiple;
        let step = self.round_to.unwrap_or(if multiple > 1 { multiple } else { 8 }) as usize;
        let unit = if let Goal::Keep(unit, _) = goal { unit } else { Unit::Macs };
        let (found, assumed) =
            targets(model, &layers, Wish { unit, conv: self.conv, step }, samples, summary)?;
        if assumed && unit == Unit::Macs {
            cx.warnings.push(format!("open dims are counted as {OPEN}"));
        }
        Ok(found)
    }

    /// The answers of the original, where ranks are shared by what these lose.
    fn answers<'s>(
        &self,
        goal: Goal,
        original: &Model,
        samples: Option<&'s Samples<'s>>,
    ) -> anyhow::Result<Option<(Answers, &'s Samples<'s>)>> {
        let shared =
            matches!(goal, Goal::Keep(..)) && self.scope.is_none_or(|scope| scope == Sharing::Sensitivity);
        let Some(samples) = samples.filter(|_| shared) else { return Ok(None) };
        let part = if samples.count(Part::HeldOut) > 0 { Part::HeldOut } else { Part::Calibration };
        Ok(Some((samples.answers_on(part, original, self.batches as usize)?, samples)))
    }

    /// How far every layer goes down.
    fn rungs(&self, targets: &[Target], goal: Goal) -> Vec<usize> {
        let ladders: Vec<ranks::Ladder> = targets.iter().map(|target| target.ladder.clone()).collect();
        let keep = match goal {
            Goal::Energy(share) => return ladders.iter().map(|l| l.losing(1.0 - share)).collect(),
            Goal::Keep(_, keep) => keep,
        };
        let target = keep * ladders.iter().map(|ladder| ladder.costs[0]).sum::<f64>();
        match self.scope {
            Some(Sharing::Uniform) => ranks::uniform(&ladders, target),
            _ => ranks::greedy(&ladders, target, &|at, rung| targets[at].loss(rung)),
        }
    }

    /// The samples, where they are used.
    fn samples<'a>(&self, cx: &PassContext<'a>) -> anyhow::Result<Option<&'a Samples<'a>>> {
        let needed = self.repair == Some(Repair::Refit) || self.scope == Some(Sharing::Sensitivity);
        if needed { cx.samples().map(Some) } else { Ok(cx.samples().ok()) }
    }

    fn goal(&self) -> anyhow::Result<Goal> {
        let keep = |unit| move |keep| Goal::Keep(unit, keep);
        let all = [
            ("macs", self.macs, self.macs.map(keep(Unit::Macs))),
            ("params", self.params, self.params.map(keep(Unit::Params))),
            ("bytes", self.bytes, self.bytes.map(keep(Unit::Bytes))),
            ("energy", self.energy, self.energy.map(Goal::Energy)),
        ];
        let given: Vec<(&str, f64, Goal)> =
            all.into_iter().filter_map(|(name, share, goal)| Some((name, share?, goal?))).collect();
        let [(name, share, goal)] = given[..] else {
            bail!(
                "it takes one of `macs`, `params`, `bytes` and `energy`: the fraction to keep, such as 0.5"
            );
        };
        ensure!(
            share > 0.0 && share <= 1.0,
            "`{name}` is {share}; it is the fraction to keep, above 0 and at most 1"
        );
        ensure!(self.round_to != Some(0), "`round-to` is 0; it is at least 1");
        let both = self.scope.is_some() && self.energy.is_some();
        ensure!(!both, "`energy` says what each layer keeps, so that `scope` has nothing to share");
        Ok(goal)
    }
}
