//! Making the channels of neighbouring layers equally wide.

use crate::prelude::*;

use super::span::{Span, Weights, scale, weights};

/// Make the channels between two layers equally wide in both their weights, before these are quantized.
///
/// Where the rows of a weight differ much, one scale for all of them leaves few codes to the small ones. Between two layers
/// a channel may be divided by any `s` above zero: the first layer's row, and its bias, by `s`, the second layer's column
/// times `s`. With `s = sqrt(r1·r2) / r2`, for the largest magnitudes `r1` and `r2` of both, they become equal
/// (cross-layer equalization of Nagel et al. 2019, arXiv 1906.04721). Over chains of layers that is repeated until nothing
/// changes. Answers stay the same up to rounding.
///
/// Layers are `Conv`, depthwise ones too, `Gemm` and `MatMul` with constant weights that nothing else reads. Between them may
/// be operators that scale with their input: `Relu`, `LeakyRelu`, `PRelu`, a `Clip` at zero, pools, an `Add` of one
/// constant a channel, products with constants, and those that arrange elements and keep channels together.
///
/// It looks at weights alone: it helps weights with one scale for a whole tensor, and weights with a scale for every output
/// channel little; what it does to the ranges of activations is not asked. Values whose numbers change get other names.
///
/// *Left alone:* channels that something else reads, such as the sum of a residual connection; those that a `Clip` cuts
/// elsewhere than at zero; channels that are zero in either weight.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EqualizeLayers {}

const ID: &str = "equalize-layers";

/// Rounds over all layers, at most.
const ROUNDS: usize = 200;

/// A logarithm of a factor that changes nothing any more.
const SMALL: f64 = 1e-4;

/// A logarithm of a factor that is worth a change.
const WORTH: f64 = 0.01;

impl Pass for EqualizeLayers {
    fn meta(&self) -> &'static PassMeta {
        const { &PassMeta::exact(ID, Family::Quantize).growing() }
    }

    fn heeds_selectors(&self) -> bool {
        true
    }

    fn run(&self, model: &mut Model, cx: &mut PassContext<'_>) -> anyhow::Result<Summary> {
        let mut summary = Summary::default();
        main_graph(model, cx, &mut |scope, cx| {
            let spans = spans(scope, cx, &mut summary)?;
            let mut weights = weights(scope.graph, &spans);
            let factors = equalize(&spans, &mut weights);
            let worth = |(_, factors): &(Span, Vec<f64>)| factors.iter().any(|f| f.ln().abs() > WORTH);
            let scaled: Vec<_> = spans.into_iter().zip(factors).filter(worth).collect();
            match scale(scope, &scaled)? {
                Ok(()) => summary.applied = scaled.len(),
                Err(skip) => summary.skip(skip.0),
            }
            Ok(())
        })?;
        Ok(summary)
    }
}

/// The channels between layers.
fn spans(scope: &Scope<'_>, cx: &PassContext<'_>, summary: &mut Summary) -> anyhow::Result<Vec<Span>> {
    let mut spans = Vec::new();
    for node in scope.graph.order()? {
        match Span::of_layer(scope, node) {
            Ok(span) if cx.may_change(scope.graph, &span.nodes) => spans.push(span),
            Err(skip) => summary.leave(skip),
            Ok(_) => {}
        }
    }
    Ok(spans)
}

/// What every channel of every span is divided by; the weights are scaled on the way.
fn equalize(spans: &[Span], weights: &mut Weights) -> Vec<Vec<f64>> {
    let mut all: Vec<Vec<f64>> = spans.iter().map(|span| vec![1.0; span.channels]).collect();
    for _ in 0..ROUNDS {
        let mut most = 0f64;
        for (span, all) in spans.iter().zip(&mut all) {
            let factors = factors(span, weights);
            most = factors.iter().fold(most, |most, f| most.max(f.ln().abs()));
            apply(span, &factors, weights);
            all.iter_mut().zip(&factors).for_each(|(all, f)| *all *= f);
        }
        if most < SMALL {
            break;
        }
    }
    all
}

/// What makes the channels of a span equally wide in the weights on both sides.
fn factors(span: &Span, weights: &Weights) -> Vec<f64> {
    let rows = span.maker.and_then(|maker| weights.get(&maker.value));
    let made = rows.map(|rows| &rows.items[..]).unwrap_or_default();
    let made = made.iter().map(|row| row.iter().fold(0f64, |most, x| most.max(x.abs())));
    let factor = |(made, read): (f64, &f64)| {
        let factor = (made / read).sqrt();
        if factor.is_normal() { factor } else { 1.0 }
    };
    made.zip(&span.largest_read(weights)).map(factor).collect()
}

fn apply(span: &Span, factors: &[f64], weights: &mut Weights) {
    if let Some(rows) = span.maker.and_then(|maker| weights.get_mut(&maker.value)) {
        for (row, f) in rows.items.iter_mut().zip(factors) {
            row.iter_mut().for_each(|x| *x /= f);
        }
    }
    for reading in &span.readers {
        let Some(rows) = weights.get_mut(&reading.weight.value) else { continue };
        let inputs = reading.weight.inputs(rows);
        for (row, items) in rows.items.iter_mut().enumerate() {
            for (at, x) in items.iter_mut().enumerate() {
                *x *= factors.get(inputs.channel(row, at) / reading.way.each).copied().unwrap_or(1.0);
            }
        }
    }
}
