//! Recurrent layers: what GRU, LSTM and RNN share.

use super::activation::{clamp01, softplus};
use super::unary::sigmoid;
use crate::engine::{EngineError, NodeCall};
use crate::ir::{AttrValue, TensorData};

/// An activation function with its parameters.
#[derive(Clone, Copy)]
pub(super) struct Activation {
    f: fn(f64, f64, f64) -> f64,
    alpha: f64,
    beta: f64,
    clip: f64,
}

impl Activation {
    /// The activation of a number, cut to the clip of the layer first.
    pub(super) fn of(&self, x: f64) -> f64 {
        (self.f)(x.clamp(-self.clip, self.clip), self.alpha, self.beta)
    }
}

/// A function by its name, with the defaults of its parameters, `None` where it does not have it.
type Named = (fn(f64, f64, f64) -> f64, Option<f64>, Option<f64>);

fn named(call: &NodeCall<'_>, name: &str) -> Result<Named, EngineError> {
    Ok(match name.to_ascii_lowercase().as_str() {
        "relu" => (|x, _, _| x.max(0.0), None, None),
        "tanh" => (|x, _, _| libm::tanh(x), None, None),
        "sigmoid" => (|x, _, _| sigmoid(x), None, None),
        "affine" => (|x, a, b| a * x + b, Some(1.0), Some(0.0)),
        "leakyrelu" => (|x, a, _| if x >= 0.0 { x } else { a * x }, Some(f64::from(0.01f32)), None),
        "thresholdedrelu" => (|x, a, _| if x >= a { x } else { 0.0 }, Some(1.0), None),
        "scaledtanh" => (|x, a, b| a * libm::tanh(b * x), Some(1.0), Some(1.0)),
        "hardsigmoid" => (|x, a, b| clamp01(a * x + b), Some(f64::from(0.2f32)), Some(0.5)),
        "elu" => (|x, a, _| if x >= 0.0 { x } else { a * libm::expm1(x) }, Some(1.0), None),
        "softsign" => (|x, _, _| x / (1.0 + x.abs()), None, None),
        "softplus" => (|x, _, _| softplus(x), None, None),
        other => return Err(call.invalid(format_args!("activation `{other}` is unknown"))),
    })
}

/// One direction of a layer.
pub(super) struct Direction {
    /// Weights of the input, `[gates * hidden, input]`, and of the state, `[gates * hidden, hidden]`.
    w: Vec<f64>,
    r: Vec<f64>,
    /// Biases of either, and the peepholes of an LSTM.
    pub(super) wb: Vec<f64>,
    pub(super) rb: Vec<f64>,
    pub(super) p: Vec<f64>,
    pub(super) activations: Vec<Activation>,
    pub(super) hidden: usize,
    reverse: bool,
}

impl Direction {
    /// The input times its weights, plus their bias, for all gates.
    pub(super) fn of_input(&self, x: &[f64]) -> Vec<f64> {
        affine(&self.w, x, &self.wb)
    }

    /// The state times its weights, plus their bias, for all gates.
    pub(super) fn of_state(&self, h: &[f64]) -> Vec<f64> {
        affine(&self.r, h, &self.rb)
    }

    /// As [`Self::of_state`], for one gate.
    pub(super) fn gate_of_state(&self, gate: usize, h: &[f64]) -> Vec<f64> {
        let n = self.hidden;
        affine(&self.r[gate * n * n..(gate + 1) * n * n], h, &self.rb[gate * n..(gate + 1) * n])
    }
}

fn affine(matrix: &[f64], v: &[f64], bias: &[f64]) -> Vec<f64> {
    let row = |(i, b): (usize, &f64)| {
        let row = &matrix[i * v.len()..(i + 1) * v.len()];
        row.iter().zip(v).map(|(m, x)| m * x).sum::<f64>() + b
    };
    bias.iter().enumerate().map(row).collect()
}

/// The state of one sequence: hidden, and the cells of an LSTM.
pub(super) struct State {
    pub(super) h: Vec<f64>,
    pub(super) c: Vec<f64>,
}

/// What kind of layer it is.
pub(super) struct Kind {
    /// Gates in the weights.
    pub(super) gates: usize,
    /// Activations of a direction, by default.
    pub(super) activations: &'static [&'static str],
    /// Whether it has cells and peepholes.
    pub(super) cells: bool,
    /// One step of a sequence.
    pub(super) step: fn(&Direction, Options, &[f64], &mut State),
}

/// Attributes that change a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Options {
    pub(super) linear_before_reset: bool,
    pub(super) input_forget: bool,
}

/// The sizes of a layer.
struct Sizes {
    steps: usize,
    batch: usize,
    input: usize,
    hidden: usize,
    directions: usize,
    /// Whether the batch comes first.
    batch_first: bool,
}

/// Runs a layer over its sequences.
pub(super) fn run(call: &NodeCall<'_>, kind: &Kind) -> Result<Vec<TensorData>, EngineError> {
    let x = call.need(0)?;
    let sizes = Sizes::new(call, kind)?;
    let n = |v: usize| v as u64;
    let y_dims = if sizes.batch_first {
        [n(sizes.batch), n(sizes.steps), n(sizes.directions), n(sizes.hidden)]
    } else {
        [n(sizes.steps), n(sizes.directions), n(sizes.batch), n(sizes.hidden)]
    };
    let mut y = vec![0.0; call.sized(x.dtype(), &y_dims)?];
    let state_dims = sizes.state_dims();
    let options = Options {
        linear_before_reset: call.flag("linear_before_reset", false)?,
        input_forget: call.flag("input_forget", false)?,
    };
    let mut h = sizes.states(call, 5)?;
    let mut c = if kind.cells { sizes.states(call, 6)? } else { h.clone() };
    let (items, lens) = (call.reals(x)?, sizes.lens(call)?);
    let directions = sizes.read(call, kind)?;
    for (d, direction) in directions.iter().enumerate() {
        for (b, &len) in lens.iter().enumerate() {
            let place = sizes.state_place(d, b);
            let mut state = State { h: h[place.clone()].to_vec(), c: c[place.clone()].to_vec() };
            for t in 0..len {
                let t = if direction.reverse { len - 1 - t } else { t };
                let at = if sizes.batch_first { b * sizes.steps + t } else { t * sizes.batch + b };
                (kind.step)(direction, options, &items[at * sizes.input..(at + 1) * sizes.input], &mut state);
                let at = if sizes.batch_first {
                    (b * sizes.steps + t) * sizes.directions + d
                } else {
                    (t * sizes.directions + d) * sizes.batch + b
                };
                y[at * sizes.hidden..(at + 1) * sizes.hidden].copy_from_slice(&state.h);
            }
            h[place.clone()].copy_from_slice(&state.h);
            c[place].copy_from_slice(&state.c);
        }
    }
    let mut outputs =
        vec![call.real_tensor(x.dtype(), &y_dims, &y)?, call.real_tensor(x.dtype(), &state_dims, &h)?];
    if kind.cells {
        outputs.push(call.real_tensor(x.dtype(), &state_dims, &c)?);
    }
    Ok(outputs)
}

impl Sizes {
    fn new(call: &NodeCall<'_>, kind: &Kind) -> Result<Self, EngineError> {
        let (x, w, r) = (call.need(0)?, call.need(1)?, call.need(2)?);
        let wrong = || {
            call.invalid(format_args!(
                "input {:?}, weights {:?} and {:?} do not fit",
                x.dims(),
                w.dims(),
                r.dims()
            ))
        };
        let (&[a, b, input], &[directions, rows, columns], &[rd, r_rows, hidden]) =
            (x.dims(), w.dims(), r.dims())
        else {
            return Err(wrong());
        };
        let batch_first = call.flag("layout", false)?;
        let (steps, batch) = if batch_first { (b, a) } else { (a, b) };
        let expected = hidden.checked_mul(kind.gates as u64).filter(|_| hidden > 0 && input > 0);
        let declared = call.int_attr("hidden_size")?.is_none_or(|h| u64::try_from(h) == Ok(hidden));
        if columns != input || rd != directions || Some(rows) != expected || r_rows != rows || !declared {
            return Err(wrong());
        }
        call.same_type(x, w)?;
        call.same_type(x, r)?;
        let n = |d: u64| usize::try_from(d).map_err(|_| wrong());
        Ok(Self {
            steps: n(steps)?,
            batch: n(batch)?,
            input: n(input)?,
            hidden: n(hidden)?,
            directions: n(directions)?,
            batch_first,
        })
    }

    fn state_dims(&self) -> [u64; 3] {
        let (d, b, h) = (self.directions as u64, self.batch as u64, self.hidden as u64);
        if self.batch_first { [b, d, h] } else { [d, b, h] }
    }

    fn state_place(&self, direction: usize, b: usize) -> std::ops::Range<usize> {
        let at = if self.batch_first { b * self.directions + direction } else { direction * self.batch + b };
        at * self.hidden..(at + 1) * self.hidden
    }

    /// An initial state; zeros where it is absent.
    fn states(&self, call: &NodeCall<'_>, slot: usize) -> Result<Vec<f64>, EngineError> {
        let dims = self.state_dims();
        let len = call.sized(call.need(0)?.dtype(), &dims)?;
        match call.input(slot) {
            None => Ok(vec![0.0; len]),
            Some(tensor) if tensor.dims() == dims => call.reals(tensor),
            Some(tensor) => Err(call.invalid(format_args!("a state {:?}, not {dims:?}", tensor.dims()))),
        }
    }

    /// The length of every sequence.
    fn lens(&self, call: &NodeCall<'_>) -> Result<Vec<usize>, EngineError> {
        let Some(lens) = call.ints(4)? else { return Ok(vec![self.steps; self.batch]) };
        let known = |&n: &i64| usize::try_from(n).ok().filter(|&n| n <= self.steps);
        let lens = lens.iter().map(known).collect::<Option<Vec<_>>>().filter(|l| l.len() == self.batch);
        lens.ok_or_else(|| call.invalid("its sequence_lens do not fit"))
    }

    /// Weights, biases and activations of every direction.
    fn read(&self, call: &NodeCall<'_>, kind: &Kind) -> Result<Vec<Direction>, EngineError> {
        let direction = call.str_or("direction", "forward")?;
        let reverse: &[bool] = match direction.as_str() {
            "forward" => &[false],
            "reverse" => &[true],
            "bidirectional" => &[false, true],
            other => return Err(call.invalid(format_args!("direction `{other}` is unknown"))),
        };
        if reverse.len() != self.directions {
            return Err(
                call.invalid(format_args!("weights of {} directions for {direction}", self.directions))
            );
        }
        let rows = kind.gates * self.hidden;
        let part = |slot: usize, len: usize| -> Result<Vec<f64>, EngineError> {
            match call.real_option(slot)? {
                None => Ok(vec![0.0; len * self.directions]),
                Some(items) if items.len() == len * self.directions => Ok(items),
                Some(items) => Err(call.invalid(format_args!("input {slot} has {} numbers", items.len()))),
            }
        };
        let (w, r) = (part(1, rows * self.input)?, part(2, rows * self.hidden)?);
        let bias = part(3, rows * 2)?;
        let peepholes = if kind.cells { part(7, self.hidden * 3)? } else { Vec::new() };
        let activations = self.activations(call, kind)?;
        let take =
            |items: &[f64], d: usize, len: usize| items.iter().skip(d * len).take(len).copied().collect();
        let one = |(d, &reverse): (usize, &bool)| Direction {
            w: take(&w, d, rows * self.input),
            r: take(&r, d, rows * self.hidden),
            wb: take(&bias, 2 * d, rows),
            rb: take(&bias, 2 * d + 1, rows),
            p: take(&peepholes, d, self.hidden * 3),
            activations: activations[d * kind.activations.len()..][..kind.activations.len()].to_vec(),
            hidden: self.hidden,
            reverse,
        };
        Ok(reverse.iter().enumerate().map(one).collect())
    }

    fn activations(&self, call: &NodeCall<'_>, kind: &Kind) -> Result<Vec<Activation>, EngineError> {
        let clip = f64::from(call.float_or("clip", f32::INFINITY)?);
        let names: Vec<String> = match call.attrs.get("activations") {
            Some(AttrValue::Strings(names)) if names.len() == kind.activations.len() * self.directions => {
                names.iter().map(|n| String::from_utf8_lossy(n).into_owned()).collect()
            }
            Some(_) => return Err(call.invalid("its activations do not fit")),
            None => (0..self.directions).flat_map(|_| kind.activations).map(|&n| n.to_owned()).collect(),
        };
        if clip.is_nan() || clip < 0.0 {
            return Err(call.invalid(format_args!("clip is {clip}")));
        }
        let mut alphas = call.attrs.floats("activation_alpha").unwrap_or(&[]).iter();
        let mut betas = call.attrs.floats("activation_beta").unwrap_or(&[]).iter();
        let one = |name: &String| {
            let (f, alpha, beta) = named(call, name)?;
            // Only a function that has a parameter takes one of the list.
            let alpha = alpha.map(|default| alphas.next().map_or(default, |&a| f64::from(a)));
            let beta = beta.map(|default| betas.next().map_or(default, |&b| f64::from(b)));
            Ok(Activation { f, alpha: alpha.unwrap_or(0.0), beta: beta.unwrap_or(0.0), clip })
        };
        names.iter().map(one).collect()
    }
}
