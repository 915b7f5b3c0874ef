//! What is left takes over what is gone: weights are fitted anew, layer by layer, so that each layer answers the pruned
//! model's inputs as it answered the original's (channel pruning by reconstruction, He 2017).

use ndarray::{ArrayView2, s};

use crate::prelude::windows::{Window, floats, spread};
use crate::prelude::*;

use super::cut::Cut;
use super::layers::{Bias, Layer, layers, turns};
use super::sensitivity::{macs_of, needs};

/// The widest row that is fitted: beyond it the sums take too much memory and time.
const WIDEST: usize = 4608;

/// Rows that are taken for every number of a row, over all samples.
const ROWS_EACH: usize = 5;

/// Rows that are taken even where a row has few numbers.
const LEAST_ROWS: usize = 8192;

/// Batches that are looked at where the rows of fewer would do, in a model that takes long.
const LEAST_BATCHES: usize = 64;

/// Multiply-accumulates of all samples up to which a model does not take long.
const SHORT: u64 = 100_000_000_000;

/// How many times the rows that are taken a batch has to have, for the places of one image say much the same.
const ROOM: usize = 4;

/// Layers are fitted one after the other, but in so many turns at most, so that the time does not grow with their square.
const TURNS: usize = 24;

/// Numbers of sums that are held at once, but for one layer, which always is.
const HELD: usize = 16 << 20;

/// Numbers of one model that are kept of all samples, so that what comes before is not run again.
const KEPT: usize = 60 << 20;

/// How strongly weights are held where they were, as a share of the mean power of an input.
const RIDGE: f64 = 1e-3;

/// The same for layers that see few rows for each number.
const RIDGE_FEW: f64 = 1e-2;

/// A layer of both models, and the sums that decide its weights.
struct Fitted {
    layer: Layer,
    window: Window,
    /// The output channels that are left.
    kept: Vec<usize>,
    sums: Vec<Regression>,
    wanted: usize,
    batches: usize,
}

impl Fitted {
    /// A layer of the pruned model; `None` where there is nothing to fit, or too much.
    fn of(pruned: &Graph, before: &Graph, facts: &Facts, layer: Layer, cut: &Cut) -> Option<Self> {
        let window = layer.window(pruned)?;
        let (width, groups) = (window.width(), window.groups());
        // What a factor hands on to the next one, the original does not have.
        if width == 0
            || width > WIDEST
            || pruned.use_count(layer.weight) != 1
            || !before.contains_value(layer.output)
        {
            return None;
        }
        let axis = layer.output_axis(facts)?;
        let weights = [before, pruned].into_iter().find(|graph| graph.contains_value(layer.weight))?;
        let outputs = weights.constant(layer.weight)?.dims()[layer.makes.0];
        let kept: Vec<usize> = cut.kept(axis, outputs).into_iter().map(|i| i as usize).collect();
        let sums = vec![Regression::new(width, kept.len() / groups); groups];
        Some(Self { layer, window, kept, sums, wanted: 0, batches: 0 })
    }

    /// The rows that are to be taken of all batches.
    fn rows(&self) -> usize {
        (self.window.width() * ROWS_EACH).max(LEAST_ROWS)
    }

    /// How many batches have so many rows, as far as its dims are known.
    fn batches(&self, facts: &Facts) -> usize {
        let channels = self.layer.output_axis(facts).map(|axis| axis.axis);
        let shape = facts.shape(self.layer.output).unwrap_or_default().iter().enumerate();
        let known = shape.filter(|(axis, _)| Some(*axis) != channels).filter_map(|(_, dim)| dim.known());
        let places = usize::try_from(known.product::<i64>()).unwrap_or(0);
        (self.rows() * ROOM).div_ceil(places.max(1))
    }

    /// Looks at the original's answer, and at the input of the pruned layer.
    fn see(&mut self, answer: &TensorData, input: &TensorData) -> Result<(), String> {
        let none = "neither float32 nor float16";
        let (x, y) = (floats(input).ok_or(none)?, floats(answer).ok_or(none)?);
        if let Some(bad) = x.iter().chain(&y).find(|x| !x.is_finite()) {
            return Err(format!("a number is {bad}"));
        }
        let places = self.window.places(input.dims())?;
        let taken = spread(places, self.wanted, self.batches);
        self.batches += 1;
        let rows = self.layer.answers((&y, answer.dims()), taken.clone());
        let count = taken.clone().count();
        let outputs = rows.len() / count.max(1);
        let each = self.kept.len() / self.sums.len();
        for (group, sums) in self.sums.iter_mut().enumerate() {
            let x = self.window.rows((&x, input.dims()), group, taken.clone());
            let kept = &self.kept[group * each..(group + 1) * each];
            let y: Vec<f32> =
                rows.chunks_exact(outputs.max(1)).flat_map(|row| kept.iter().map(|&at| row[at])).collect();
            let shaped = (
                ArrayView2::from_shape((count, self.window.width()), &x),
                ArrayView2::from_shape((count, each), &y),
            );
            if let (Ok(x), Ok(y)) = shaped {
                sums.add(&x, &y);
            }
        }
        Ok(())
    }

    /// Puts the fitted weights into the pruned model. Whether there were any.
    fn store(&mut self, scope: &mut Scope<'_>) -> anyhow::Result<bool> {
        let Some(data) = scope.graph.constant(self.layer.weight).cloned() else { return Ok(false) };
        let Some(mut matrix) = self.layer.matrix(&data) else { return Ok(false) };
        let biased = self.layer.bias != Bias::None;
        let each = self.kept.len() / self.sums.len();
        let mut bias = Vec::new();
        for (group, sums) in self.sums.iter_mut().enumerate() {
            let mut part = matrix.slice_mut(s![group * each..(group + 1) * each, ..]);
            let few = sums.rows() < 20 * self.window.width() as u64;
            let ridge = if few { RIDGE_FEW } else { RIDGE };
            let Some(fit) = sums.solve(&part.to_owned(), ridge, biased) else { return Ok(false) };
            part.assign(&fit.weights);
            bias.extend(fit.bias);
        }
        let Some(fitted) = self.layer.tensor(&matrix, &data) else { return Ok(false) };
        scope.set_constant_and_type(self.layer.weight, fitted);
        self.store_bias(scope, &data, &bias)?;
        Ok(true)
    }

    fn store_bias(&self, scope: &mut Scope<'_>, weight: &TensorData, bias: &[f64]) -> anyhow::Result<()> {
        let lost = || anyhow::anyhow!("a bias is no float tensor");
        match self.layer.bias {
            Bias::None => {}
            Bias::Slot(None) => {
                let name = format!("{}_bias", scope.graph.value(self.layer.weight).name);
                let data =
                    TensorData::from_f64s(weight.dtype(), &[bias.len() as u64], bias).ok_or_else(lost)?;
                let value = scope.add_constant(&name, data)?;
                scope.feed(self.layer.node, 2, value)?;
            }
            Bias::Slot(Some(value)) | Bias::After(.., value) => {
                let Some(old) = scope.graph.constant(value).cloned() else { return Ok(()) };
                let before = old.to_f64s().ok_or_else(lost)?;
                // The answers hold the bias of a slot already.
                let after = matches!(self.layer.bias, Bias::After(..));
                let sum = |(old, new): (&f64, &f64)| if after { old + new } else { *new };
                let items: Vec<f64> = before.iter().zip(bias).map(sum).collect();
                let data = TensorData::from_f64s(old.dtype(), old.dims(), &items).ok_or_else(lost)?;
                scope.set_constant_and_type(value, data);
            }
        }
        Ok(())
    }
}

/// Fits every layer of a pruned model to what it answered in the original. The warnings name layers that could not be.
pub(super) fn refit(
    before: &Model,
    pruned: &mut Model,
    cut: &Cut,
    cx: &mut PassContext<'_>,
    samples: &Samples<'_>,
) -> anyhow::Result<usize> {
    let batches = samples.count(Part::Calibration);
    let least = if macs_of(before) <= SHORT / batches.max(1) as u64 { batches } else { LEAST_BATCHES };
    let mut all: Vec<Layer> = Vec::new();
    main_graph(pruned, cx, &mut |scope, _| {
        all = layers(scope.graph)?;
        Ok(())
    })?;
    let mut done = 0;
    let most = all.len().div_ceil(TURNS).max(1);
    let numbers = |layer: &Layer| {
        let width = layer.window(&pruned.graph).map_or(0, |window| window.width());
        if width > WIDEST { 0 } else { width * width / 2 }
    };
    let mut starts = [samples.start(Part::Calibration), samples.start(Part::Calibration)];
    let mut left = &all[..];
    for part in turns(&all, (most, HELD), numbers) {
        let (mut fitted, mut count): (Vec<Fitted>, usize) = (Vec::new(), 0);
        main_graph(&mut before.clone(), cx, &mut |scope, _| {
            let of = |layer: &Layer| Fitted::of(&pruned.graph, scope.graph, scope.facts, layer.clone(), cut);
            fitted = part.iter().filter_map(of).collect();
            count = fitted
                .iter()
                .map(|layer| layer.batches(scope.facts))
                .max()
                .unwrap_or(0)
                .max(least)
                .min(batches);
            Ok(())
        })?;
        fitted.iter_mut().for_each(|layer| layer.wanted = layer.rows().div_ceil(count.max(1)).max(1));
        for (start, model) in starts.iter_mut().zip([before, &*pruned]) {
            move_on(start, model, left, samples)?;
        }
        left = &left[part.len()..];
        let answers: Vec<ValueId> = fitted.iter().map(|f| f.layer.output).collect();
        let inputs: Vec<ValueId> = fitted.iter().map(|f| f.layer.input).collect();
        let taps = [
            Tap { start: Some(&starts[0]), ..Tap::of(before, &answers) },
            Tap { start: Some(&starts[1]), ..Tap::of(pruned, &inputs) },
        ];
        samples.few(count).observe_all(&taps, &mut fitted, |fitted, seen| fitted.see(seen[0], seen[1]))?;
        main_graph(pruned, cx, &mut |scope, cx| {
            for layer in &mut fitted {
                if layer.store(scope)? {
                    done += 1;
                } else {
                    let name = scope.graph.node_label(layer.layer.node);
                    cx.warnings.push(format!("{name} keeps its weights: what it sees leaves them open"));
                }
            }
            Ok(())
        })?;
    }
    Ok(done)
}

/// Lets the runs of a model start at the first of some layers, where what is there of all samples can be held: what comes
/// before stays as it is from now on.
fn move_on(start: &mut Start, model: &Model, layers: &[Layer], samples: &Samples<'_>) -> anyhow::Result<()> {
    let graph = &model.graph;
    let course = Course::of(graph)?;
    let made = layers.iter().map(|layer| layer.output).filter(|&value| graph.contains_value(value));
    let place = made.filter_map(|value| course.place(graph.producer(value)?.0)).min();
    let facts = Facts::of(graph, &InferContext::default());
    if let Some(needs) = place.and_then(|place| needs(&course, graph, &facts, place)) {
        samples.advance(start, (model, &needs), KEPT)?;
    }
    Ok(())
}
