//! What the readers of weights multiply them with, and giving back to biases what rounding takes from its mean.

use std::collections::BTreeMap;

use crate::prelude::*;

use super::adjust::shifts;
use super::blocks::{Gridded, Layout};
use super::codes::Rows;
use super::layer::{Layer, Weight};
use super::moments::Inputs;
use super::place::float;
use super::sites::{Kind, Site, View};

/// What the readers of weights multiply them with: one for each reader, none where that is not known.
pub(super) type Known = BTreeMap<NodeId, Inputs>;

/// What the readers of weights multiply them with, on the samples.
pub(super) fn observe(model: &Model, sites: &[Site], samples: &Samples<'_>) -> anyhow::Result<Known> {
    let graph = &model.graph;
    let (mut nodes, mut values, mut observers) = (Vec::new(), Vec::new(), Vec::new());
    let batches = samples.count(Part::Calibration);
    for site in sites {
        for reader in &site.readers {
            let plain = reader.plain || site.view.kind == Kind::Conv;
            let rows = graph.constant(site.value).and_then(|d| Rows::of(d, site.view.axis));
            let Some(rows) = rows.filter(|_| plain) else { continue };
            let (layer, weight) = as_layer(site, reader.node, reader.result);
            if let Some(inputs) = Inputs::of(graph, &layer, weight, &rows, batches) {
                nodes.push(reader.node);
                values.push(reader.input);
                observers.push(inputs);
            }
        }
    }
    let see = |inputs: &mut Inputs, seen: &TensorData| inputs.see(seen);
    samples.observe(Tap::of(model, &values), &mut observers, see)?;
    Ok(nodes.into_iter().zip(observers).filter(|(_, inputs)| !inputs.is_empty()).collect())
}

/// A reader of a weight, for measuring what it multiplies the weight with.
fn as_layer(site: &Site, node: NodeId, result: ValueId) -> (Layer, Weight) {
    let View { kind, axis, summed, group } = site.view;
    let layer = Layer::bare(node, result);
    let weight = Weight {
        slot: 1,
        value: site.value,
        axis,
        inputs: Some(summed),
        group,
        conv: kind == Kind::Conv,
        stack: false,
    };
    (layer, weight)
}

/// What all readers of a weight multiply it with; `None` where that is not known of one.
pub(super) fn joined(site: &Site, known: &Known) -> Option<Inputs> {
    let mut readers = site.readers.iter();
    let mut joined = known.get(&readers.next()?.node)?.clone();
    readers.try_for_each(|reader| {
        joined.join(known.get(&reader.node)?);
        Some(())
    })?;
    Some(joined)
}

/// Adds what rounding takes from the mean of the results to the biases.
pub(super) fn give_back(
    scope: &mut Scope<'_>,
    site: &Site,
    known: &Known,
    (rows, layout, made): (&Rows, &Layout, &Gridded),
) -> Result<(), IrError> {
    for reader in &site.readers {
        let Some((inputs, (node, slot))) = known.get(&reader.node).zip(reader.bias) else { continue };
        let Some(bias) = scope.graph.constant_input(node, slot).cloned() else { continue };
        let shifts = shifts(rows, made, layout, inputs);
        if let Some(bias) = bias.map_f64(|at, x| x + shifts.get(at).copied().unwrap_or(0.0)) {
            float(scope, (node, slot), bias)?;
        }
    }
    Ok(())
}
