//! Zeros in the place of weights.

use anyhow::{bail, ensure};

use crate::prelude::*;

use super::candidates::{SPARSE, candidates};
use super::layers::Layer;
use super::seen::watch;
use super::shares::counts;
use super::sparse::IR_VERSION;
use super::thin::{Thin, Thinned};

/// Set weights to zero: a model that packs better, not a faster one.
///
/// Dense runtimes gain nothing: they multiply with zeros as with anything else, and the file is as large as before. What
/// gains are compressed files, runtimes with sparse kernels, and hardware that skips zeros in a fixed pattern. For a
/// smaller and faster model see `prune-channels`.
///
/// **Where.** `sparsity` is a share of zeros, in every layer or, with `scope: global`, of all layers together, of which each
/// keeps at least a quarter of what it would alone. `pattern: "2:4"` keeps 2 of 4 neighbours in every row of an output
/// channel; neighbours are input channels, of a `Conv` those at the same place of the window, as hardware for such zeros
/// wants them. Where the input channels are no multiple of 4, the last ones count as if zeros filled their group up: of 3
/// left over 2 stay, of 2 both.
///
/// **Samples** (`--data`, no labels) decide, where they are given, which weights go and how the others make up for them
/// (`criterion: obs`; `SparseGPT`, arXiv 2301.00774): with the mean products `H` of what the layer multiplies and
/// `UᵀU = H⁻¹`, a zero in column `j` costs `w² / U_jj²`, and the columns after it change by `−w / U_jj · U_j`. Layers go in
/// the order of the graph, and see what those before them make by then. A constant bias takes up the mean of what is lost.
/// Rows of more than 4608 numbers are judged by magnitude.
///
/// *Left alone:* `ConvTranspose`, depthwise `Conv`, `Gemm` with `alpha`, `beta` or `transA`, products of more than two
/// dims; weights that are quantized, not constant, not finite, or read by something else too; with a pattern, rows with
/// fewer input channels than its groups have. Bodies of control flow.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct PruneWeights {
    /// The share of the weights that become zero.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sparsity: Option<f64>,
    /// How many of how many neighbours stay, such as `2:4`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// Whether `sparsity` is that of every layer or of all together; by default `global` where samples are used, else
    /// `uniform`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scoping>,
    /// How weights are compared; by default `obs` where samples are given, else `magnitude`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub criterion: Option<Measure>,
    /// How weights are stored. A sparse initializer takes 8 bytes more for every number that is not zero, so that it pays
    /// above two thirds of zeros in float32; others stay dense. Runtimes make dense tensors of them when they load the
    /// file; passes after this one do not look inside.
    pub store: Store,
    /// Accept a model of which no weight can become zero.
    pub allow_noop: bool,
}

/// What a share is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scoping {
    /// Of every layer.
    Uniform,
    /// Of all layers together.
    Global,
}

/// How weights are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Measure {
    /// The smallest go, and the others stay as they are.
    Magnitude,
    /// Those go that the others make up for best on the samples, and they do.
    Obs,
}

/// How weights are stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Store {
    /// With all their zeros.
    #[default]
    Dense,
    /// As sparse initializers, where that takes fewer bytes.
    Sparse,
}

const ID: &str = "prune-weights";

/// Layers are measured one after the other, but in so many turns at most, so that the time does not grow with their square.
pub(super) const TURNS: usize = 24;

impl Pass for PruneWeights {
    fn meta(&self) -> &'static PassMeta {
        const { &PassMeta::lossy(ID, Family::Prune) }
    }

    fn heeds_selectors(&self) -> bool {
        true
    }

    fn needs_samples(&self) -> bool {
        self.criterion == Some(Measure::Obs)
    }

    fn uses_samples(&self) -> bool {
        self.criterion != Some(Measure::Magnitude)
    }

    fn run(&self, model: &mut Model, cx: &mut PassContext<'_>) -> anyhow::Result<Summary> {
        let aim = self.aim()?;
        let samples = match self.criterion {
            Some(Measure::Magnitude) => None,
            Some(Measure::Obs) => Some(cx.samples()?),
            None => cx.samples().ok(),
        };
        let mut summary = Summary::default();
        let mut layers = Vec::new();
        let least = if let Aim::Pattern { of, .. } = aim { of } else { 0 };
        main_graph(model, cx, &mut |scope, cx| {
            layers = candidates(scope, cx, least, &mut summary)?;
            Ok(())
        })?;
        let done = !layers.is_empty() || summary.skipped.contains_key(SPARSE);
        ensure!(done || self.allow_noop, "{}", nothing(&summary));
        let counts = match aim {
            Aim::Share(share) => counts(model, &layers, share, self.scoping(samples.is_some()), samples)?,
            Aim::Pattern { .. } => vec![0; layers.len()],
        };
        let work = layers.into_iter().zip(counts);
        let work: Vec<Thin> = work
            .map(|(layer, count)| Thin { zeros: aim.zeros(&model.graph, &layer, count), layer })
            .collect();
        let made = thin(model, cx, &work, samples)?;
        self.finish(model, cx, (&work, &made), samples.is_some(), &mut summary)?;
        Ok(summary)
    }
}

/// Puts zeros in, turn by turn: each sees what those before it made of the model.
fn thin(
    model: &mut Model,
    cx: &mut PassContext<'_>,
    work: &[Thin],
    samples: Option<&Samples<'_>>,
) -> anyhow::Result<Vec<Thinned>> {
    let mut made = Vec::new();
    let turn = if samples.is_some() { work.len().div_ceil(TURNS) } else { work.len() };
    for part in work.chunks(turn.max(1)) {
        let readers = match samples {
            Some(samples) => watch(model, part.iter().map(|thin| thin.layer.clone()), samples)?,
            None => Vec::new(),
        };
        main_graph(model, cx, &mut |scope, _| {
            for thin in part {
                let seen = readers.iter().find(|reader| reader.layer.weight == thin.layer.weight);
                made.push(thin.run(scope, seen)?);
            }
            Ok(())
        })?;
    }
    Ok(made)
}

/// What is wanted.
#[derive(Debug, Clone, Copy)]
enum Aim {
    Share(f64),
    Pattern { keep: usize, of: usize },
}

impl Aim {
    /// Where zeros go in a layer that gets so many.
    fn zeros(self, graph: &Graph, layer: &Layer, count: usize) -> Zeros {
        match self {
            Self::Share(_) => Zeros::Count(count),
            Self::Pattern { keep, of } => {
                let run = graph.constant(layer.weight).map_or(1, |data| data.dims()[layer.sums] as usize);
                Zeros::Pattern { keep, of, run }
            }
        }
    }
}

impl PruneWeights {
    fn scoping(&self, measured: bool) -> Scoping {
        self.scope.unwrap_or(if measured { Scoping::Global } else { Scoping::Uniform })
    }

    /// Stores weights as asked for, and tells what became of them.
    fn finish(
        &self,
        model: &mut Model,
        cx: &mut PassContext<'_>,
        (work, made): (&[Thin], &[Thinned]),
        measured: bool,
        summary: &mut Summary,
    ) -> anyhow::Result<()> {
        let version = model.meta.ir_version;
        let sparse = self.store == Store::Sparse && version >= IR_VERSION;
        if self.store == Store::Sparse && !sparse {
            cx.warnings.push(format!(
                "weights stay dense: files of IR version {version} have no sparse initializers, only those from {IR_VERSION} on"
            ));
        }
        main_graph(model, cx, &mut |scope, _| {
            for (thin, made) in work.iter().zip(made) {
                let mut notes: Vec<String> = Vec::new();
                notes.extend(made.lost.map(|lost| format!("{lost:.4} of the power of its answers is lost")));
                if measured && made.lost.is_none() {
                    notes.push(format!(
                        "by magnitude: what its rows of {} numbers see is not measured",
                        made.row
                    ));
                }
                let mut line = thin.told(scope.graph, made);
                let bytes = if sparse { thin.store(scope) } else { None };
                line.bytes_after = bytes.unwrap_or(line.bytes_after);
                if sparse {
                    notes.push(
                        if bytes.is_some() {
                            "stored sparsely"
                        } else {
                            "dense: sparse takes no fewer bytes"
                        }
                        .to_owned(),
                    );
                }
                if made.changed || bytes.is_some() {
                    summary.applied += 1;
                } else {
                    summary.skip("it has these zeros already");
                }
                line.note = (!notes.is_empty()).then(|| notes.join("; "));
                summary.layers.push(line);
            }
            Ok(())
        })?;
        let (zeros, weights) = made.iter().fold((0, 0), |(z, w), made| (z + made.zeros, w + made.weights));
        if summary.applied > 0 {
            cx.warnings.push(format!(
                "`{ID}`: {:.3} of the weights of {} layers are zero now. Dense runtimes are no faster for it; what gains are \
                compressed files and sparse kernels",
                zeros as f64 / weights.max(1) as f64,
                made.len()
            ));
        }
        Ok(())
    }

    fn aim(&self) -> anyhow::Result<Aim> {
        match (self.sparsity, &self.pattern) {
            (Some(share), None) => {
                ensure!(
                    share > 0.0 && share < 1.0,
                    "`sparsity` is {share}; it is a share of zeros, above 0 and below 1"
                );
                Ok(Aim::Share(share))
            }
            (None, Some(text)) => {
                ensure!(
                    self.scope.is_none(),
                    "`scope` is about `sparsity`; a pattern is the same everywhere"
                );
                let parts = text.split_once(':').map(|(keep, of)| (keep.trim().parse(), of.trim().parse()));
                let Some((Ok(keep), Ok(of))) = parts else {
                    bail!("`pattern` is \"{text}\"; it is like \"2:4\"")
                };
                ensure!(
                    0 < keep && keep < of && of <= 64,
                    "`pattern` is \"{text}\"; fewer neighbours stay than there are, one at least, of 64 at most"
                );
                Ok(Aim::Pattern { keep, of })
            }
            _ => bail!("it takes one of `sparsity`, such as 0.5, and `pattern`, such as \"2:4\""),
        }
    }
}

/// Why nothing can become zero.
fn nothing(summary: &Summary) -> String {
    let reasons: Vec<String> =
        summary.skipped.iter().map(|(why, count)| format!("{count} × {why}")).collect();
    let why = if reasons.is_empty() { "there is no layer".to_owned() } else { reasons.join("; ") };
    format!("no weight can become zero ({why}); `allow-noop: true` accepts that")
}
