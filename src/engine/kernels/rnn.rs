//! One step of the recurrent layers GRU, LSTM and RNN.

use super::Kernel;
use super::recurrent::{Direction, Kind, Options, State, run};

pub(super) const TABLE: &[(&str, Kernel)] = &[
    ("GRU", |c| run(c, &Kind { gates: 3, activations: &["Sigmoid", "Tanh"], cells: false, step: gru })),
    ("LSTM", |c| {
        run(c, &Kind { gates: 4, activations: &["Sigmoid", "Tanh", "Tanh"], cells: true, step: lstm })
    }),
    ("RNN", |c| run(c, &Kind { gates: 1, activations: &["Tanh"], cells: false, step: rnn })),
];

fn rnn(d: &Direction, _: Options, x: &[f64], state: &mut State) {
    let (a, b) = (d.of_input(x), d.of_state(&state.h));
    state.h = a.iter().zip(&b).map(|(a, b)| d.activations[0].of(a + b)).collect();
}

/// Gates: update, reset, hidden.
fn gru(d: &Direction, options: Options, x: &[f64], state: &mut State) {
    let (n, [f, g]) = (d.hidden, [d.activations[0], d.activations[1]]);
    let (a, b) = (d.of_input(x), d.of_state(&state.h));
    let gate = |at: usize| f.of(a[at] + b[at]);
    let hidden = if options.linear_before_reset {
        (0..n).map(|i| gate(n + i) * b[2 * n + i]).collect()
    } else {
        let kept: Vec<f64> = (0..n).map(|i| gate(n + i) * state.h[i]).collect();
        d.gate_of_state(2, &kept)
    };
    let next = |i: usize| {
        let z = gate(i);
        (1.0 - z) * g.of(a[2 * n + i] + hidden[i]) + z * state.h[i]
    };
    state.h = (0..n).map(next).collect();
}

/// Gates: input, output, forget, cell; peepholes: input, output, forget.
fn lstm(d: &Direction, options: Options, x: &[f64], state: &mut State) {
    let (n, [f, g, h]) = (d.hidden, [d.activations[0], d.activations[1], d.activations[2]]);
    let (a, b) = (d.of_input(x), d.of_state(&state.h));
    for i in 0..n {
        let gate = |k: usize| a[k * n + i] + b[k * n + i];
        let old = state.c[i];
        let input = f.of(gate(0) + d.p[i] * old);
        let forget = if options.input_forget { 1.0 - input } else { f.of(gate(2) + d.p[2 * n + i] * old) };
        let cell = forget * old + input * g.of(gate(3));
        let output = f.of(gate(1) + d.p[n + i] * cell);
        state.c[i] = cell;
        state.h[i] = output * h.of(cell);
    }
}

#[cfg(test)]
mod tests {
    use super::super::case::{f32s, numbers, refused, run};
    use crate::ir::{AttrValue, TensorData};

    type Attributes<'a> = &'a [(&'static str, AttrValue)];

    fn x() -> Option<TensorData> {
        f32s(&[2, 1, 2], &[1.0, -1.0, 0.5, 2.0])
    }

    fn outputs(op: &str, attrs: Attributes<'_>, inputs: &[Option<TensorData>], want: &[&[f64]]) {
        let got = run(op, attrs, inputs, want.len()).unwrap();
        for (got, want) in got.iter().zip(want) {
            let got = numbers(got).1;
            assert_eq!(got.len(), want.len(), "{op} {attrs:?}");
            assert!(
                got.iter().zip(*want).all(|(g, w)| (g - w).abs() < 1e-6),
                "{op} {attrs:?}: {got:?}, not {want:?}"
            );
        }
    }

    #[test]
    fn rnn_in_every_direction() {
        let (w, r) = (f32s(&[1, 1, 2], &[0.5, -0.5]), f32s(&[1, 1, 1], &[0.25]));
        let bias = f32s(&[1, 2], &[0.1, 0.2]);
        let (forward, backward) = ([0.861_723_2, -0.230_359_6], [0.686_450_9, -0.635_149]);
        outputs("RNN", &[], &[x(), w.clone(), r.clone(), bias], &[&forward, &forward[1..]]);
        let reverse = [("direction", "reverse".into())];
        outputs("RNN", &reverse, &[x(), w.clone(), r.clone()], &[&backward, &backward[..1]]);
        let (w2, r2) = (f32s(&[2, 1, 2], &[0.5, -0.5, 0.5, -0.5]), f32s(&[2, 1, 1], &[0.25, 0.25]));
        let bias = f32s(&[2, 2], &[0.1, 0.2, 0.0, 0.0]);
        let both = [("direction", "bidirectional".into())];
        let y = [forward[0], backward[0], forward[1], backward[1]];
        outputs(
            "RNN",
            &both,
            &[x(), w2.clone(), r2.clone(), bias.clone()],
            &[&y, &[forward[1], backward[0]]],
        );
        let first = [both[0].clone(), ("layout", 1.into())];
        let turned = f32s(&[1, 2, 2], &[1.0, -1.0, 0.5, 2.0]);
        outputs("RNN", &first, &[turned, w2, r2, bias], &[&y, &[forward[1], backward[0]]]);
        let short = [x(), w.clone(), r.clone(), None, Some(TensorData::vector(&[1i32]))];
        let one = 1f64.tanh();
        outputs("RNN", &[], &short, &[&[one, 0.0], &[one]]);
        outputs("RNN", &reverse, &short, &[&[one, 0.0], &[one]]);
        let named = |n: &'static str| ("activations", AttrValue::Strings(vec![n.into()]));
        let affine =
            [named("Affine"), ("activation_alpha", AttrValue::Floats(vec![2.0])), ("clip", 0.75f32.into())];
        outputs("RNN", &affine, &[x(), w.clone(), r.clone()], &[&[1.5, -0.75]]);
        refused("RNN", &[named("Cosine")], &[x(), w.clone(), r.clone()]);
        refused("RNN", &both, &[x(), w.clone(), r.clone()]);
        refused("RNN", &[("hidden_size", 2.into())], &[x(), w, r]);
    }

    #[test]
    fn gru_resets_before_or_after() {
        let w = f32s(&[1, 3, 2], &[0.5, -0.5, 1.0, 0.25, -1.0, 0.5]);
        let inputs =
            [x(), w, f32s(&[1, 3, 1], &[0.5, -0.25, 1.0]), f32s(&[1, 6], &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6])];
        outputs("GRU", &[], &inputs, &[&[-0.097_971_5, 0.455_534_9], &[0.455_534_9]]);
        let after = [("linear_before_reset", 1.into())];
        outputs("GRU", &after, &inputs, &[&[-0.111_859_6, 0.435_171_4], &[0.435_171_4]]);
    }

    #[test]
    fn lstm_with_state_and_peepholes() {
        let w = f32s(&[1, 4, 2], &[0.5, -0.5, 1.0, 0.25, -1.0, 0.5, 0.3, 0.7]);
        let bias = f32s(&[1, 8], &[0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]);
        let inputs = [
            x(),
            w,
            f32s(&[1, 4, 1], &[0.5, -0.25, 1.0, 0.2]),
            bias,
            None,
            f32s(&[1, 1, 1], &[0.5]),
            f32s(&[1, 1, 1], &[-0.5]),
            f32s(&[1, 3], &[0.1, 0.2, 0.3]),
        ];
        outputs("LSTM", &[], &inputs, &[&[0.299_046_7, 0.596_011_3], &[0.596_011_3], &[0.839_911_7]]);
    }
}
