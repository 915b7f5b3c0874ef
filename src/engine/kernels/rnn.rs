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
