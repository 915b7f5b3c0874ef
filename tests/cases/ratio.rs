//! How far the answers of a lossy pass are from the original's.

use anyhow::{Result, ensure};
use onnxpress::ir::{Model, TensorData};

use crate::case::Case;

/// The power of every output and of its error, over all runs.
pub struct Ratios(Vec<(f64, f64)>);

/// What a case that does not say has to reach, in dB.
const LEAST: f64 = 30.0;

impl Ratios {
    /// Nothing seen yet.
    pub fn new(outputs: usize) -> Self {
        Self(vec![(0.0, 0.0); outputs])
    }

    /// Looks at the answers of one run.
    pub fn see(&mut self, first: &[TensorData], second: &[TensorData]) -> Result<()> {
        ensure!(first.len() == second.len(), "the number of outputs changed");
        for ((a, b), (signal, noise)) in first.iter().zip(second).zip(&mut self.0) {
            ensure!((a.dtype(), a.dims()) == (b.dtype(), b.dims()), "an output was {a:?} and is {b:?}");
            let items = |t: &TensorData| {
                t.to_f64s().or_else(|| Some(t.to_i64s()?.into_iter().map(|x| x as f64).collect()))
            };
            for (x, y) in items(a).unwrap_or_default().into_iter().zip(items(b).unwrap_or_default()) {
                // What is not finite must be the same.
                if x.total_cmp(&y).is_ne() {
                    *signal += x * x;
                    *noise += (x - y).powi(2);
                }
            }
        }
        Ok(())
    }

    /// Whether all outputs are close enough.
    pub fn judge(&self, case: &Case, original: &Model) -> Result<()> {
        let least = case.header.sqnr.unwrap_or(LEAST);
        for (&(signal, noise), &output) in self.0.iter().zip(original.graph.outputs()) {
            let ratio = 10.0 * (signal / noise).log10();
            let name = &original.graph.value(output).name;
            ensure!(noise == 0.0 || ratio >= least, "output `{name}` has {ratio:.1} dB, less than {least}");
        }
        Ok(())
    }
}
