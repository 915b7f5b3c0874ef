//! The forms that a layer can have as two or three smaller ones, and what each costs and loses.

use ndarray::Array2;

use crate::prelude::*;

use super::layers::Layer;
use super::price::Open;
use super::splits::{Seen, Split, composed, error};

/// How a layer is made of smaller ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// A matrix as two.
    Product,
    /// A kernel that makes fewer channels, then 1×1.
    Answers,
    /// 1×1, then a kernel that reads fewer channels.
    Inputs,
    /// 1×1, a kernel from few channels to few, 1×1.
    Tucker,
    /// A kernel along the first axis, then one along the second.
    Spatial,
}

impl Form {
    /// As the report calls it.
    fn name(self) -> &'static str {
        match self {
            Self::Product => "two matrices",
            Self::Answers => "kernel and 1×1",
            Self::Inputs => "1×1 and kernel",
            Self::Tucker => "Tucker-2",
            Self::Spatial => "k×1 and 1×k",
        }
    }

    /// For each factor, along which axes of the kernel it looks.
    pub fn looks(self, axes: usize) -> Vec<Vec<bool>> {
        let (none, all) = (vec![false; axes], vec![true; axes]);
        match self {
            Self::Product | Self::Answers => vec![all, none],
            Self::Inputs => vec![none, all],
            Self::Tucker => vec![none.clone(), all, none],
            Self::Spatial => vec![vec![true, false], vec![false, true]],
        }
    }
}

/// What a layer takes to run.
#[derive(Debug, Clone)]
pub(super) struct Geometry {
    pub inputs: usize,
    pub outputs: usize,
    /// Empty for a matrix.
    pub kernel: Vec<usize>,
    /// Places of the input, or of the output, along each axis of the kernel.
    places: Vec<(f64, f64)>,
    /// Everything else that is counted once for each.
    times: f64,
}

/// Multiply-accumulates and elements of weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Cost {
    pub macs: f64,
    pub params: f64,
}

impl Geometry {
    pub fn of(graph: &Graph, facts: &Facts, open: &Open, layer: &Layer) -> Option<Self> {
        let data = graph.constant(layer.weight)?;
        let outputs = *data.dims().get(layer.makes.0)? as usize;
        let inputs = *data.dims().get(layer.sums)? as usize;
        let kernel: Vec<usize> = layer.kernel(data).iter().map(|&k| k as usize).collect();
        let size = |value, axis| open.size(facts, Axis { value, axis });
        let rank = facts.rank(layer.output).unwrap_or(2);
        if layer.is_conv() {
            let places =
                (2..kernel.len() + 2).map(|axis| (size(layer.input, axis), size(layer.output, axis)));
            return Some(Self {
                inputs,
                outputs,
                places: places.collect(),
                kernel,
                times: size(layer.output, 0),
            });
        }
        let times = (0..rank.saturating_sub(1)).map(|axis| size(layer.output, axis)).product();
        Some(Self { inputs, outputs, kernel, places: Vec::new(), times })
    }

    /// Of factors that look along these axes, with so many channels between them.
    pub fn cost(&self, looks: &[Vec<bool>], between: &[usize]) -> Cost {
        let mut places: Vec<f64> = self.places.iter().map(|place| place.0).collect();
        let mut cost = Cost { macs: 0.0, params: 0.0 };
        let reads = std::iter::once(&self.inputs).chain(between);
        let makes = between.iter().chain(std::iter::once(&self.outputs));
        for ((looks, read), make) in looks.iter().zip(reads).zip(makes) {
            let mut params = (read * make) as f64;
            for (axis, _) in looks.iter().enumerate().filter(|(_, looks)| **looks) {
                params *= self.kernel[axis] as f64;
                places[axis] = self.places[axis].1;
            }
            cost.params += params;
            cost.macs += self.times * params * places.iter().product::<f64>();
        }
        cost
    }

    /// Of the layer as it is.
    pub fn whole(&self) -> Cost {
        self.cost(&[vec![true; self.kernel.len()]], &[])
    }
}

/// A form with ranks.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Choice {
    pub form: Form,
    /// The channels between the factors.
    pub ranks: Vec<usize>,
    pub cost: Cost,
    /// The share of the answers' power that it gets wrong.
    pub lost: f64,
}

impl Choice {
    /// As the report calls it.
    pub fn name(&self) -> String {
        let ranks: Vec<String> = self.ranks.iter().map(ToString::to_string).collect();
        format!("{}, rank {}", self.form.name(), ranks.join("×"))
    }
}

/// A matrix of a factor, and along which axes of the kernel it looks.
pub(super) struct Factor {
    pub matrix: Array2<f64>,
    pub looks: Vec<bool>,
}

/// A layer with all that is needed to take it apart.
pub(super) struct Parts {
    pub weights: Array2<f64>,
    pub seen: Option<Seen>,
    pub geometry: Geometry,
    splits: Vec<(Form, Split, Option<Split>)>,
}

/// Ranks that are tried of a form whose loss the spectrum does not say.
const TRIED: usize = 10;

impl Parts {
    /// In these forms. `None` where the numbers allow no decomposition.
    pub fn of(weights: Array2<f64>, seen: Option<Seen>, geometry: Geometry, forms: &[Form]) -> Option<Self> {
        let (cells, known) = (geometry.kernel.iter().product::<usize>(), seen.as_ref());
        let narrow = || {
            if weights.nrows() <= weights.ncols() {
                Split::of_answers(&weights, known)
            } else {
                Split::of_inputs(&weights, known, 1)
            }
        };
        let split = |&form: &Form| {
            let inputs = |trailing| Split::of_inputs(&weights, known, trailing);
            Some(match form {
                Form::Product | Form::Answers => (form, narrow()?, None),
                Form::Inputs => (form, inputs(cells)?, None),
                Form::Spatial => (form, inputs(*geometry.kernel.last()?)?, None),
                Form::Tucker => (form, inputs(cells)?, Some(Split::of_answers(&weights, known)?)),
            })
        };
        let splits = forms.iter().map(split).collect::<Option<_>>()?;
        Some(Self { weights, seen, geometry, splits })
    }

    /// What can be chosen, with ranks that are multiples of a step.
    pub fn choices(&self, step: usize) -> Vec<Choice> {
        let whole = self.geometry.whole();
        let saves = |cost: &Cost| cost.macs < whole.macs && cost.params < whole.params;
        let mut all = Vec::new();
        for (form, first, second) in &self.splits {
            let looks = form.looks(self.geometry.kernel.len());
            let cost = |ranks: &[usize]| self.geometry.cost(&looks, ranks);
            let mut paths: Vec<Vec<usize>> = match second {
                None => (1..=first.rank() / step).rev().map(|n| vec![n * step]).collect(),
                Some(second) => descent((first, second), step, &cost),
            };
            paths.retain(|ranks| saves(&cost(ranks)));
            let exact = matches!(form, Form::Product | Form::Answers);
            if !exact && paths.len() > TRIED {
                let last = paths.len() - 1;
                paths = (0..TRIED).map(|n| paths[n * last / (TRIED - 1)].clone()).collect();
            }
            for ranks in paths {
                let lost = if exact { first.lost(ranks[0]) } else { self.lost(*form, &ranks) };
                all.push(Choice { form: *form, cost: cost(&ranks), ranks, lost });
            }
        }
        all
    }

    /// The factors of a choice, in the order in which they are applied.
    pub fn factors(&self, form: Form, ranks: &[usize]) -> Vec<Factor> {
        let Some((_, split, second)) = self.splits.iter().find(|(known, ..)| *known == form) else {
            return Vec::new();
        };
        let (first, last) = split.parts(ranks[0]);
        let matrices = match second {
            None => vec![first, last],
            Some(second) => {
                let (_, out) = second.parts(ranks[1]);
                vec![first, out.t().dot(&last), out]
            }
        };
        let looks = form.looks(self.geometry.kernel.len());
        matrices.into_iter().zip(looks).map(|(matrix, looks)| Factor { matrix, looks }).collect()
    }

    /// The highest ranks of a form.
    #[cfg(test)]
    pub fn full(&self, form: Form) -> Vec<usize> {
        let (_, first, second) = self.splits.iter().find(|(known, ..)| *known == form).expect("it is given");
        std::iter::once(first.rank()).chain(second.as_ref().map(Split::rank)).collect()
    }

    /// The weights that factors come to.
    pub fn product(factors: &[Factor]) -> Option<Array2<f64>> {
        match factors {
            [first, last] => Some(composed(&first.matrix, &last.matrix)),
            [first, core, last] => Some(last.matrix.dot(&composed(&first.matrix, &core.matrix))),
            _ => None,
        }
    }

    fn lost(&self, form: Form, ranks: &[usize]) -> f64 {
        let product = Self::product(&self.factors(form, ranks));
        product.map_or(1.0, |product| error(&self.weights, &product, self.seen.as_ref()))
    }
}

/// Pairs of ranks, each of which lowers that one which loses less for what it saves.
fn descent(
    (first, second): (&Split, &Split),
    step: usize,
    cost: &dyn Fn(&[usize]) -> Cost,
) -> Vec<Vec<usize>> {
    let mut at = [first.rank() / step * step, second.rank() / step * step];
    let mut path = Vec::new();
    while at[0] > 0 && at[1] > 0 {
        path.push(at.to_vec());
        let now = cost(&at).macs;
        let price = |(split, side): (&Split, usize)| {
            let mut next = at;
            next[side] -= step;
            let saved = now - cost(&next).macs;
            (next[side] > 0).then(|| (split.lost(next[side]) - split.lost(at[side])) / saved)
        };
        match (price((first, 0)), price((second, 1))) {
            (Some(a), Some(b)) if a <= b => at[0] -= step,
            (_, Some(_)) => at[1] -= step,
            (Some(_), None) => at[0] -= step,
            (None, None) => break,
        }
    }
    path
}
