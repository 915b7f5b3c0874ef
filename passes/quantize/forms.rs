//! The forms that a layer may have, and how it is given one.

use std::collections::BTreeSet;

use crate::prelude::*;

use super::half;
use super::measure::Observed;
use super::multiplied::Known;
use super::place::Placer;
use super::sites::{ELSEWHERE, Site, Wanted, leave};
use super::r#static::Choice;
use super::stays::entry;
use super::told::Line;
use super::weight_choice::{SMALLER, WeightChoice};

/// A form of a quantized layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum LayerForm {
    /// Activations and weights of 8 bits.
    Int8,
    /// Activations of 16 bits, weights of 8.
    Int16,
    /// Weights of 4 bits in blocks, activations in float.
    Int4,
    /// Weights stored in float16, activations in float.
    Float16,
}

impl LayerForm {
    /// Whether the layer computes in integers.
    pub(super) fn is_integer(self) -> bool {
        matches!(self, Self::Int8 | Self::Int16)
    }
}

/// How a layer is made in a form.
pub(super) enum Maker<'b> {
    /// Activations and weights in integers, as `quantize-static` has them, with what was seen of the activations.
    Integers(Choice<'b>, Observed),
    /// Weights in 4 bits and activations in floats, as `quantize-weights` has them, with what was seen of the inputs.
    Codes(WeightChoice, Known),
    /// Weights in float16, and activations in floats.
    Half(Wanted),
}

/// The activations of a layer that computes in floats.
pub(super) const FLOAT_BITS: u64 = 32;

impl Maker<'_> {
    /// What options call the form.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Integers(choice, _) if choice.ranges.dtype.bits() == 16 => "int16",
            Self::Integers(..) => "int8",
            Self::Codes(..) => "int4",
            Self::Half(_) => "float16",
        }
    }

    /// The bits of the activations.
    pub fn activation_bits(&self) -> u64 {
        match self {
            Self::Integers(choice, _) => choice.ranges.dtype.bits(),
            Self::Codes(..) | Self::Half(_) => FLOAT_BITS,
        }
    }

    /// The layers that may have the form. The summary says of the others why not.
    pub fn layers(
        &self,
        scope: &Scope<'_>,
        cx: &PassContext<'_>,
        summary: &mut Summary,
    ) -> anyhow::Result<Vec<NodeId>> {
        let (wanted, halves) = match self {
            Self::Integers(choice, _) => return choice.layers(scope, cx, summary),
            Self::Codes(choice, _) => (&choice.wanted, false),
            Self::Half(wanted) => (wanted, true),
        };
        let mut layers = Vec::new();
        for site in sites_of_one(wanted, scope, cx, summary)? {
            let data = scope.graph.constant(site.value).filter(|_| halves);
            match data.map(half::halved).transpose() {
                Ok(_) => layers.extend(site.nodes()),
                Err(skip) => leave(summary, scope.graph, site.nodes(), &skip),
            }
        }
        Ok(layers)
    }

    /// Gives the form to some layers of a model. Returns what became of them.
    pub fn make(
        &self,
        model: &mut Model,
        cx: &mut PassContext<'_>,
        (only, placer): (&BTreeSet<NodeId>, &mut Placer),
        summary: &mut Summary,
    ) -> anyhow::Result<Vec<Line>> {
        let mut lines = Vec::new();
        let mut opset = 0;
        if let Self::Integers(choice, _) = self {
            require_opset(model, choice.opset(), cx);
        }
        main_graph(model, cx, &mut |scope, cx| {
            let wanted = match self {
                Self::Integers(choice, seen) => {
                    let planned = choice.plan(scope, cx, (Some(only), seen), summary)?;
                    lines = choice.apply(scope, placer, &planned)?;
                    return Ok(());
                }
                Self::Codes(choice, _) => &choice.wanted,
                Self::Half(wanted) => wanted,
            };
            for site in sites_of_one(wanted, scope, cx, &mut Summary::default())? {
                if !site.nodes().all(|node| only.contains(&node)) {
                    continue;
                }
                let made = match self {
                    Self::Codes(choice, known) => coded(scope, &site, (choice, known))?,
                    _ => halved(scope, &site, placer.pass)?,
                };
                if let Some((line, needs)) = made {
                    opset = opset.max(needs);
                    lines.push(line);
                } else {
                    summary.skip(SMALLER);
                }
            }
            Ok(())
        })?;
        match self {
            Self::Codes(choice, _) => choice.declare(model, cx, opset)?,
            _ if opset > 0 => require_opset(model, opset, cx),
            _ => {}
        }
        Ok(lines)
    }
}

/// The weights that one layer alone reads, so that its form is its own matter.
pub(super) fn sites_of_one(
    wanted: &Wanted,
    scope: &Scope<'_>,
    cx: &PassContext<'_>,
    summary: &mut Summary,
) -> Result<Vec<Site>, IrError> {
    let mut sites = wanted.sites(scope, cx, summary)?;
    sites.retain(|site| {
        let alone = site.readers.len() == 1;
        if !alone {
            leave(summary, scope.graph, site.nodes(), &Skip::because(ELSEWHERE));
        }
        alone
    });
    Ok(sites)
}

/// A layer whose weight is stored as codes now, and the opset that it needs; `None` where that saves nothing.
fn coded(
    scope: &mut Scope<'_>,
    site: &Site,
    (choice, known): (&WeightChoice, &Known),
) -> Result<Option<(Line, i64)>, IrError> {
    let whole: Vec<u64> = site.nodes().map(|node| entry(scope.graph, node).bytes_before).collect();
    let Some(made) = choice.store(scope, site, known)? else { return Ok(None) };
    let mut lines = site.nodes().zip(whole).zip(made.lines);
    let line = lines.next().map(|((node, whole), (told, result))| {
        // The bias counts too, as it does in the other forms.
        let bias = whole.saturating_sub(told.bytes_before);
        let told = LayerReport { bytes_before: whole, bytes_after: told.bytes_after + bias, ..told };
        Line { node, result, told, ranges: Vec::new() }
    });
    Ok(line.map(|line| (line, made.opset)))
}

/// A layer whose weight is stored in float16 now, and the opset that it needs.
fn halved(scope: &mut Scope<'_>, site: &Site, pass: &'static str) -> Result<Option<(Line, i64)>, IrError> {
    let half = scope.graph.constant(site.value).and_then(|data| half::halved(data).ok());
    let (Some(half), Some(reader)) = (half, site.readers.first()) else { return Ok(None) };
    let told = entry(scope.graph, reader.node);
    let told = LayerReport {
        form: "float×f16".to_owned(),
        bytes_after: told.bytes_before.saturating_sub(half.byte_len()),
        ..told
    };
    half::place(pass, scope, site, half)?;
    Ok(Some((Line { node: reader.node, result: reader.result, told, ranges: Vec::new() }, half::OPSET)))
}
