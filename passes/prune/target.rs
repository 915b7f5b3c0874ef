//! A layer that is to be taken apart: what it can become, and what that does to the model.

use ndarray::Array2;

use crate::prelude::*;

use super::divisible::{entry, leave};
use super::factorize::{ConvForm, ID};
use super::factors::place;
use super::forms::{Choice, Form, Geometry, Parts};
use super::layers::{Bias, Layer, turns};
use super::price::{Open, Unit};
use super::ranks::Ladder;
use super::seen::{Reader, watch};
use super::sensitivity::Curve;
use super::splits::Seen;

/// Why a layer has no ranks to choose from.
const OPEN: &str = "its weights are not finite, or no spectrum of them is found";

/// What is wanted of all layers.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wish {
    /// What is counted.
    pub unit: Unit,
    /// The forms of convolutions.
    pub conv: ConvForm,
    /// Ranks are a multiple of this.
    pub step: usize,
}

/// A layer, and the rungs that it can go down.
pub(super) struct Target {
    layer: Layer,
    parts: Parts,
    pub ladder: Ladder,
    /// What the answers of the model lose by it alone, by rung, where that was measured.
    curve: Option<Curve>,
}

/// Numbers of second moments that are held at once.
const HELD: usize = 64 << 20;

/// Bytes that a node with its attributes and a weight without its elements take in a file, besides names.
const NODE: usize = 96;

/// Rungs whose effect on the answers of the model is measured.
const MEASURED: usize = 5;

/// The layers that some rank makes smaller, and whether sizes of open dims were made up. The summary has the others.
pub(super) fn targets(
    model: &Model,
    layers: &[Layer],
    wish: Wish,
    samples: Option<&Samples<'_>>,
    summary: &mut Summary,
) -> anyhow::Result<(Vec<Target>, bool)> {
    let graph = &model.graph;
    let facts = Facts::of(graph, &InferContext::default());
    let open = Open::of(graph, &facts);
    let mut found = Vec::new();
    let numbers = |layer: &Layer| {
        let width = layer.window(graph).map_or(0, |window| window.width());
        width.saturating_mul(width)
    };
    for turn in turns(layers, (usize::MAX, HELD), numbers) {
        let mut readers = match samples {
            Some(samples) => watch(model, turn.iter().cloned(), samples)?,
            None => Vec::new(),
        };
        for layer in turn {
            let reader = readers.iter().position(|reader| reader.layer.node == layer.node);
            let reader = reader.map(|at| readers.swap_remove(at));
            match Target::of(graph, (&facts, &open), layer, wish, reader) {
                Ok(target) => found.push(target),
                Err(skip) => leave(summary, graph, layer.node, &skip.0),
            }
        }
    }
    Ok((found, open.assumed))
}

impl Target {
    fn of(
        graph: &Graph,
        (facts, open): (&Facts, &Open),
        layer: &Layer,
        wish: Wish,
        reader: Option<Reader>,
    ) -> Result<Self, Skip> {
        let data = graph.constant(layer.weight).ok_or_else(Skip::no_concern)?;
        let weights = layer.matrix(data).ok_or_else(Skip::no_concern)?;
        Skip::unless(weights.iter().all(|w| w.is_finite()), OPEN)?;
        let geometry = Geometry::of(graph, facts, open, layer).ok_or_else(Skip::no_concern)?;
        let forms = forms(wish.conv, layer, &geometry.kernel)?;
        let each = data.dtype().bits() as f64 / 8.0;
        let whole = geometry.whole();
        let seen = reader.map(|reader| Seen { products: reader.products(0), mean: reader.mean(0) });
        let mut parts = Parts::of(weights, seen, geometry, &forms).ok_or_else(|| Skip::because(OPEN))?;
        let cost = |cost: super::forms::Cost| match wish.unit {
            Unit::Macs => cost.macs,
            Unit::Bytes => cost.params * each,
            Unit::Params | Unit::Channels => cost.params,
        };
        let mut choices = parts.choices(wish.step);
        let spent = Spent::of(graph, layer, parts.seen.is_some(), each);
        choices.retain(|choice| (whole.params - choice.cost.params) * each > spent.by(choice));
        let ladder = Ladder::of(choices, cost(whole), |choice| cost(choice.cost));
        // From here on only the mean is needed.
        parts.seen.iter_mut().for_each(|seen| seen.products = Array2::zeros((0, 0)));
        Skip::unless(!ladder.choices.is_empty(), "no smaller rank saves anything")?;
        Ok(Self { layer: layer.clone(), parts, ladder, curve: None })
    }

    /// What it is at a rung; `None` for the whole layer.
    pub fn choice(&self, rung: usize) -> Option<&Choice> {
        self.ladder.choices.get(rung.checked_sub(1)?)
    }

    pub fn node(&self) -> NodeId {
        self.layer.node
    }

    /// The element type of what it multiplies.
    pub fn dtype(&self, graph: &Graph) -> Option<DType> {
        Some(graph.constant(self.layer.weight)?.dtype())
    }

    /// What it reads that is no constant.
    pub fn reads(&self, graph: &Graph) -> Vec<ValueId> {
        let inputs = graph.node_inputs(self.layer.node).into_iter().flatten();
        inputs.filter(|&value| graph.constant(value).is_none()).collect()
    }

    /// Its nodes with that of its bias, and what they make.
    pub fn nodes(&self, graph: &Graph) -> (Vec<NodeId>, ValueId) {
        let Bias::After(add, ..) = self.layer.bias else {
            return (vec![self.layer.node], self.layer.output);
        };
        (vec![self.layer.node, add], graph.node_output(add, 0).unwrap_or(self.layer.output))
    }

    /// Takes choices off the ladder.
    pub fn strike(&mut self, struck: impl Fn(&Choice) -> bool) {
        self.ladder.strike(struck);
        self.curve = None;
    }

    /// Says in the report what becomes of it, and which share of its time it takes then, where that was timed. Its graph is
    /// that before.
    pub fn tell(
        &self,
        graph: &Graph,
        (rung, share): (usize, Option<f64>),
        measured: bool,
        summary: &mut Summary,
    ) {
        let Some(choice) = self.choice(rung) else {
            leave(summary, graph, self.layer.node, "what is asked for is met by the whole layer");
            return;
        };
        let known = entry(graph, self.layer.node);
        let each = graph.constant(self.layer.weight).map_or(32, |data| data.dtype().bits()) / 8;
        let sqnr_db = measured.then(|| -10.0 * choice.lost.max(f64::MIN_POSITIVE).log10());
        let bytes_after = (choice.cost.params * each as f64) as u64;
        let ranks = choice.ranks.iter().map(|&rank| rank as u64).collect();
        let note = share.map(|share| format!("it takes {share:.2} of its time"));
        summary.layers.push(LayerReport { form: choice.name(), ranks, bytes_after, sqnr_db, note, ..known });
    }

    /// Puts the factors of a rung in the place of the layer.
    pub fn place(&self, scope: &mut Scope<'_>, rung: usize) -> anyhow::Result<()> {
        self.choice(rung).map_or(Ok(()), |choice| self.put(scope, choice))
    }

    /// Puts the factors of a choice in the place of the layer.
    pub fn put(&self, scope: &mut Scope<'_>, choice: &Choice) -> anyhow::Result<()> {
        let factors = self.parts.factors(choice.form, &choice.ranks);
        // What the factors leave out of the mean, the bias gives back.
        let known = self.parts.seen.as_ref().filter(|_| self.layer.bias != Bias::None);
        let gap =
            Parts::product(&factors).filter(|_| known.is_some()).map(|made| &self.parts.weights - &made);
        if let Some((seen, gap)) = known.zip(gap) {
            let lost =
                |row: ndarray::ArrayView1<'_, f64>| row.iter().zip(&seen.mean).map(|(w, m)| w * m).sum();
            let shift: Vec<f64> = gap.outer_iter().map(lost).collect();
            return place(ID, scope, &self.layer, &factors, Some(&shift));
        }
        place(ID, scope, &self.layer, &factors, None)
    }

    /// Measures what the answers of a model lose by it alone, unless that is known.
    pub fn judge(
        &mut self,
        answers: &Answers,
        model: &Model,
        cx: &mut PassContext<'_>,
        samples: &Samples<'_>,
    ) -> anyhow::Result<()> {
        if self.curve.is_some() {
            return Ok(());
        }
        let rungs = self.ladder.choices.len();
        let count = rungs.min(MEASURED);
        let mut points = Vec::new();
        for rung in (1..=count).map(|n| (n * rungs).div_ceil(count)) {
            let mut changed = model.clone();
            // What is only tried takes no names.
            let names = cx.names.clone();
            let placed = main_graph(&mut changed, cx, &mut |scope, _| self.place(scope, rung));
            cx.names = names;
            placed?;
            points.push((rung, samples.divergence(answers, &changed)?));
        }
        self.curve = Some(Curve::through(points));
        Ok(())
    }

    /// What is lost at a rung: of the answers of the model where that was measured, else of its own.
    pub fn loss(&self, rung: usize) -> f64 {
        self.curve.as_ref().map_or(self.ladder.losses[rung], |curve| curve.at(rung))
    }
}

/// What a file spends on more nodes, in bytes.
struct Spent {
    node: f64,
    bias: f64,
}

impl Spent {
    fn of(graph: &Graph, layer: &Layer, centred: bool, each: f64) -> Self {
        let names = [layer.weight, layer.output].map(|value| graph.value(value).name.len());
        let biased = centred && layer.bias == Bias::Slot(None);
        let outputs = graph.constant(layer.weight).map_or(0, |data| data.dims()[layer.makes.0]);
        let bias = if biased { outputs as f64 * each + (NODE + names[0]) as f64 } else { 0.0 };
        Self { node: (NODE + 2 * names[0] + 3 * names[1]) as f64, bias }
    }

    fn by(&self, choice: &Choice) -> f64 {
        self.node * choice.ranks.len() as f64 + self.bias
    }
}

/// The forms that a layer may have.
fn forms(conv: ConvForm, layer: &Layer, kernel: &[usize]) -> Result<Vec<Form>, Skip> {
    if !layer.is_conv() {
        return Ok(vec![Form::Product]);
    }
    Skip::unless(conv != ConvForm::None, "the option conv leaves convolutions alone")?;
    if kernel.iter().all(|&k| k == 1) {
        return Ok(vec![Form::Product]);
    }
    let spatial = kernel.len() == 2 && kernel.iter().all(|&k| k > 1);
    let mut forms = Vec::new();
    if conv != ConvForm::Spatial {
        forms.extend([Form::Answers, Form::Inputs, Form::Tucker]);
    }
    if conv != ConvForm::Tucker {
        Skip::unless(spatial || conv == ConvForm::Auto, "its kernel is not of two long axes")?;
        forms.extend(spatial.then_some(Form::Spatial));
    }
    Ok(forms)
}
