//! Running passes together, to a fixed point.

use std::collections::BTreeMap;

use anyhow::bail;

use super::{AssignmentReport, LayerReport, Pass, PassContext, WidthReport, each_graph};
use crate::ir::Model;
use crate::rewrite::{CompiledRule, Scope, Select, SetReport, Skip, run_rules};

/// What one pass did in a step.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Summary {
    /// Sites changed.
    pub applied: usize,
    /// Sites left alone though they nearly matched, by reason, counted on the final graph.
    pub skipped: BTreeMap<String, usize>,
    /// What became of single layers, for passes that decide layer by layer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerReport>,
    /// The assignments of forms to layers that were considered, the cheapest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub assignments: Vec<AssignmentReport>,
    /// How many channels are left, for passes that remove some.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub widths: Vec<WidthReport>,
    /// What the pass would do, where it was only asked for a plan: nothing is to be written then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plan: Option<String>,
}

impl Summary {
    /// Counts a site that was left alone.
    pub fn skip(&mut self, why: impl Into<String>) {
        *self.skipped.entry(why.into()).or_default() += 1;
    }

    /// Counts a site that was looked at and left alone; not one that is of no concern.
    pub fn leave(&mut self, skip: Skip) {
        if skip != Skip::no_concern() {
            self.skip(skip.0);
        }
    }
}

/// A pass in a set, and what it may change.
#[derive(Clone, Copy)]
pub struct Member<'a> {
    /// The pass.
    pub pass: &'a dyn Pass,
    /// What it may change.
    pub select: &'a Select,
}

impl Member<'_> {
    fn rule(&self) -> Option<CompiledRule> {
        Some(CompiledRule { select: self.select.clone(), ..self.pass.rule()? })
    }
}

/// A set that has not come to rest after this many rounds never will.
const ROUNDS: usize = 10;

/// Runs a set of passes to a fixed point: all rules together until none applies, then each whole-graph pass once; again
/// while something changed. A pass over whole graphs that is lossy, or finds something to do whenever it runs, runs in
/// the first round only.
///
/// # Errors
/// Where a pass fails, and where the set still changes the model in the tenth round: the message names the passes that
/// undo each other's work.
pub fn run_set(
    model: &mut Model,
    passes: &[&dyn Pass],
    cx: &mut PassContext<'_>,
) -> anyhow::Result<BTreeMap<&'static str, Summary>> {
    let select = cx.select.clone();
    let members: Vec<_> = passes.iter().map(|&pass| Member { pass, select: &select }).collect();
    run_members(model, &members, cx)
}

/// [`run_set`], with selectors for each member of the set.
///
/// # Errors
/// As [`run_set`].
pub fn run_members(
    model: &mut Model,
    members: &[Member<'_>],
    cx: &mut PassContext<'_>,
) -> anyhow::Result<BTreeMap<&'static str, Summary>> {
    let rules: Vec<CompiledRule> = members.iter().filter_map(Member::rule).collect();
    let whole: Vec<&Member<'_>> = members.iter().filter(|m| m.pass.rule().is_none()).collect();
    let mut total: BTreeMap<&'static str, Summary> =
        members.iter().map(|m| (m.pass.meta().id, Summary::default())).collect();
    let mut last = Vec::new();
    for round in 0..ROUNDS {
        last.clear();
        for summary in total.iter_mut().filter(|(id, _)| !runs_once(&whole, id)).map(|(_, summary)| summary) {
            summary.skipped.clear();
        }
        if !rules.is_empty() {
            let mut report = SetReport::new();
            each_graph(model, cx, &mut |scope, cx| {
                let before = cx.limits.growth;
                let target = scope.target.clone().without(&cx.profile.lacks);
                let Scope { graph, facts, names, .. } = scope;
                let scope = &mut Scope { graph, target: &target, facts, names };
                merge(&mut report, run_rules(scope, &rules, &mut cx.limits.growth)?);
                cx.limits.grown += before - cx.limits.growth;
                Ok(())
            })?;
            for (id, rule) in report {
                let summary = total.entry(id).or_default();
                summary.applied += rule.applied;
                summary.skipped.extend(rule.skipped);
                last.extend((rule.applied > 0).then_some(id));
            }
        }
        for Member { pass, select } in whole.iter().filter(|m| round == 0 || !once(m)) {
            let outer = std::mem::replace(&mut cx.select, (*select).clone());
            let done = pass.run(model, cx);
            cx.select = outer;
            let done = done?;
            let summary = total.entry(pass.meta().id).or_default();
            summary.applied += done.applied;
            summary.skipped.extend(done.skipped);
            summary.layers.extend(done.layers);
            summary.assignments.extend(done.assignments);
            summary.widths.extend(done.widths);
            summary.plan = done.plan.or(summary.plan.take());
            last.extend((done.applied > 0).then_some(pass.meta().id));
        }
        if last.is_empty() || (whole.is_empty() && rules.len() == 1) {
            return Ok(total);
        }
    }
    bail!(
        "no fixed point after {ROUNDS} rounds: {} keep changing the model; run them in separate steps",
        last.join(", ")
    )
}

/// What a lossy pass made is not for it to look at again: it would lose more, or take it for somebody else's.
fn runs_once(whole: &[&Member<'_>], id: &str) -> bool {
    whole.iter().any(|m| m.pass.meta().id == id && once(m))
}

fn once(member: &Member<'_>) -> bool {
    let meta = member.pass.meta();
    meta.lossy || !meta.idempotent
}

fn merge(into: &mut SetReport, from: SetReport) {
    for (id, report) in from {
        let to = into.entry(id).or_default();
        to.applied += report.applied;
        for (why, count) in report.skipped {
            *to.skipped.entry(why).or_default() += count;
        }
    }
}
