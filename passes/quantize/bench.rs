//! Makes ready to measure forms of layers.

use std::collections::{BTreeMap, BTreeSet};

use crate::prelude::*;

use super::forms::{LayerForm, Maker, sites_of_one};
use super::measure::Observed;
use super::multiplied::observe;
use super::sensitivity::Bench;
use super::sites::{LAYERS, Wanted};
use super::r#static::QuantizeStatic;
use super::stays::entry;
use super::weights::{QuantizeWeights, StoredType};

/// Makes ready for a pass to give layers of a model some forms; the ways are those of the forms in integers.
pub(super) fn bench<'b>(
    (pass, base): (&'static str, &'b Model),
    cx: &mut PassContext<'_>,
    (forms, ways, profile): (&[LayerForm], &'b [QuantizeStatic], &'b Profile),
    (samples, summary): (&Samples<'_>, &mut Summary),
) -> anyhow::Result<Bench<'b>> {
    let mut bench = Bench { pass, base, layers: Vec::new(), macs: Vec::new(), forms: Vec::new() };
    let mut choices = ways.iter().map(|way| way.choose(profile)).collect::<anyhow::Result<Vec<_>>>()?;
    main_graph(&mut base.clone(), cx, &mut |scope, cx| {
        let seen = match choices.first() {
            Some(first) => first.observe(base, scope, cx, samples)?,
            None => Observed::default(),
        };
        let mut choices = choices.drain(..);
        for &form in forms {
            bench.forms.extend(match form {
                // All ways look at the same numbers; only the ranges that they choose differ.
                LayerForm::Int8 | LayerForm::Int16 => choices.next().map(|choice| {
                    let seen = seen.chosen(&choice.ranges);
                    Maker::Integers(choice, seen)
                }),
                LayerForm::Int4 => {
                    let choice = in_codes().choose(pass, profile, true)?;
                    let sites = sites_of_one(&choice.wanted, scope, cx, &mut Summary::default())?;
                    let known = observe(base, &sites, samples)?;
                    Some(Maker::Codes(choice, known))
                }
                LayerForm::Float16 => {
                    let min_elements = in_codes().min_elements;
                    Some(Maker::Half(Wanted { ops: LAYERS.to_vec(), min_elements }))
                }
            });
        }
        bench.layers = layers(&bench.forms, scope, cx, summary)?;
        let sizes = Sizes::batch_of_one(scope.graph, scope.facts, BTreeMap::new());
        bench.macs = bench.layers.iter().map(|&n| node_macs(scope.graph, scope.facts, &sizes, n)).collect();
        Ok(())
    })?;
    Ok(bench)
}

/// How weights are stored in 4 bits.
fn in_codes() -> QuantizeWeights {
    QuantizeWeights { weights: StoredType::Int4, ..QuantizeWeights::default() }
}

/// The layers that may have one of some forms, in topological order. The summary says in the words of the first form why
/// others stay float.
fn layers(
    forms: &[Maker<'_>],
    scope: &Scope<'_>,
    cx: &PassContext<'_>,
    summary: &mut Summary,
) -> anyhow::Result<Vec<NodeId>> {
    let mut found: BTreeSet<NodeId> = BTreeSet::new();
    for (at, form) in forms.iter().enumerate() {
        let mut others = Summary::default();
        found.extend(form.layers(scope, cx, if at == 0 { &mut *summary } else { &mut others })?);
    }
    let layers: Vec<NodeId> = scope.graph.order()?.into_iter().filter(|node| found.contains(node)).collect();
    let taken: BTreeSet<String> = layers.iter().map(|&node| entry(scope.graph, node).layer).collect();
    // What the first form leaves, another may take.
    let (left, stay): (Vec<LayerReport>, _) =
        std::mem::take(&mut summary.layers).into_iter().partition(|line| taken.contains(&line.layer));
    summary.layers = stay;
    for why in left.into_iter().filter_map(|line| line.note) {
        if let Some(count) = summary.skipped.get_mut(&why) {
            *count = count.saturating_sub(1);
        }
    }
    summary.skipped.retain(|_, &mut count| count > 0);
    Ok(layers)
}

/// Leaves 16-bit activations out where the engine cannot run them.
pub(super) fn drop_what_does_not_run(
    bench: &mut Bench<'_>,
    cx: &mut PassContext<'_>,
    samples: &Samples<'_>,
) -> anyhow::Result<()> {
    let float = bench.forms.len();
    let mut assignment = vec![float; bench.layers.len()];
    let Some(first) = assignment.first_mut().filter(|_| float > 1) else { return Ok(()) };
    *first = float - 1;
    let (model, _) = bench.candidate(cx, &assignment)?;
    if let Err(error) = samples.answers(&model, 1) {
        bench.forms.truncate(1);
        cx.warnings.push(format!(
            "`{}` leaves 16-bit activations out, which the engine does not run ({error}); `--engine ort` may",
            bench.pass
        ));
    }
    Ok(())
}
