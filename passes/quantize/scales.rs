//! Moving range from the channels of activations to the weights that read them.

use std::collections::BTreeMap;

use anyhow::ensure;

use crate::prelude::*;

use super::measure::Calibrator;
use super::seen::{SMALLEST, Seen};
use super::span::{Span, Weights, scale, weights};

/// Move range from the channels of activations to the rows of the weights that read them, before both are quantized.
///
/// Where one channel of an activation is far wider than the others, a scale for all of them leaves few codes to the
/// others. With `s_j = max|X_j|^alpha / max|W_j|^(1 − alpha)`, what makes channel `j` is divided by `s_j`, and the rows of
/// the weights that read it are multiplied: the product stays the same up to rounding (`SmoothQuant`, arXiv 2211.10438).
/// `max|X_j|` is measured on samples; a channel counts as at least 1/64 of the widest. `max|W_j|` is the largest of all
/// weights that read the channel.
///
/// What makes the channels and takes the factors for free: `LayerNormalization`, `RMSNormalization`,
/// `BatchNormalization` and `InstanceNormalization` with constant scale and bias; `Mul` with one constant a channel, and an
/// `Add` after it, as a decomposed normalization ends; `Conv`, `Gemm` and `MatMul` with a constant weight. Between them
/// and the layers that read the channels may be operators that scale with their input: `Relu`, `LeakyRelu`, `PRelu`, a
/// `Clip` at zero, pools, products with constants, and those that arrange elements and keep channels together. All that
/// reads the channels has to be a `Conv`, `Gemm` or `MatMul` with a weight of its own.
///
/// Values whose numbers change get other names. `quantize-static` with `channel-scales`, as the profiles of x86 have it,
/// scales channels by itself and needs none of this.
///
/// *Left alone:* channels that something else reads, and those that are zero on all samples.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct MigrateScales {
    /// How much of the range of activations moves to the weights, from 0 to 1.
    pub alpha: f64,
}

impl Default for MigrateScales {
    fn default() -> Self {
        Self { alpha: 0.5 }
    }
}

const ID: &str = "migrate-scales";

/// The share of the largest weight that the weights of a channel count as at least.
const LEAST: f64 = 1e-5;

impl Pass for MigrateScales {
    fn meta(&self) -> &'static PassMeta {
        const { &PassMeta { idempotent: false, ..PassMeta::exact(ID, Family::Quantize).growing() } }
    }

    fn needs_samples(&self) -> bool {
        true
    }

    fn heeds_selectors(&self) -> bool {
        true
    }

    fn run(&self, model: &mut Model, cx: &mut PassContext<'_>) -> anyhow::Result<Summary> {
        ensure!((0.0..=1.0).contains(&self.alpha), "`alpha` is {}; it is from 0 to 1", self.alpha);
        let samples = cx.samples()?;
        let before = model.clone();
        let mut summary = Summary::default();
        main_graph(model, cx, &mut |scope, cx| {
            let spans = spans(scope, cx, &mut summary)?;
            let seen = observe(&before, &spans, samples)?;
            let weights = weights(scope.graph, &spans);
            let mut scaled = Vec::new();
            for span in spans {
                match self.factors(&weights, &span, &seen) {
                    Some(factors) => scaled.push((span, factors)),
                    None => summary.skip("its channels, or the weights that read them, are zero"),
                }
            }
            match scale(scope, &scaled)? {
                Ok(()) => summary.applied = scaled.len(),
                Err(skip) => summary.skip(skip.0),
            }
            Ok(())
        })?;
        Ok(summary)
    }
}

/// What the samples show of the values that layers read.
type Known = BTreeMap<ValueId, Seen>;

impl MigrateScales {
    /// What every channel is divided by; `None` where all are zero.
    fn factors(&self, weights: &Weights, span: &Span, seen: &Known) -> Option<Vec<f64>> {
        let mut wide = vec![0f64; span.channels];
        for reading in &span.readers {
            for (at, x) in seen.get(&reading.way.value)?.magnitudes().enumerate() {
                if let Some(most) = wide.get_mut(at / reading.way.each) {
                    *most = most.max(x);
                }
            }
        }
        let weights = span.largest_read(weights);
        let most = |items: &[f64]| items.iter().copied().fold(0.0, f64::max);
        let (widest, largest) = (most(&wide), most(&weights));
        if widest == 0.0 || largest == 0.0 {
            return None;
        }
        let log = |(x, w): (&f64, &f64)| {
            let (x, w) = (x.max(widest * SMALLEST), w.max(largest * LEAST));
            self.alpha * x.ln() - (1.0 - self.alpha) * w.ln()
        };
        let logs: Vec<f64> = wide.iter().zip(&weights).map(log).collect();
        // A factor for all channels together would change nothing.
        let mean = logs.iter().sum::<f64>() / logs.len() as f64;
        Some(logs.iter().map(|log| (log - mean).exp()).collect())
    }
}

/// What makes channels that can be scaled, each channel once.
fn spans(scope: &Scope<'_>, cx: &PassContext<'_>, summary: &mut Summary) -> anyhow::Result<Vec<Span>> {
    let mut spans: Vec<Span> = Vec::new();
    for node in scope.graph.order()? {
        let output = scope.graph.node_output(node, 0);
        if spans.iter().any(|span| output.is_some_and(|v| span.values.contains(&v))) {
            continue;
        }
        let found = match Span::of_scaling(scope, node) {
            Err(skip) if skip == Skip::no_concern() => Span::of_layer(scope, node),
            found => found,
        };
        match found {
            Ok(span) if cx.may_change(scope.graph, &span.nodes) => spans.push(span),
            Err(skip) => summary.leave(skip),
            Ok(_) => {}
        }
    }
    Ok(spans)
}

/// Looks at what layers read, on samples.
fn observe(model: &Model, spans: &[Span], samples: &Samples<'_>) -> anyhow::Result<Known> {
    let ways = spans.iter().flat_map(|span| &span.readers).map(|reading| reading.way);
    let known: Known = ways.map(|way| (way.value, Seen::new(Some(way.axis), Calibrator::MinMax))).collect();
    let (values, mut seen): (Vec<ValueId>, Vec<Seen>) = known.into_iter().unzip();
    if !values.is_empty() {
        samples.observe(Tap::of(model, &values), &mut seen, Seen::see)?;
    }
    Ok(values.into_iter().zip(seen).collect())
}
