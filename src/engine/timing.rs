//! How long models take.

use super::inputs::{DefaultDims, InputPlan};
use super::{Bindings, Engine, EngineError};
use crate::ir::{Model, TensorData};

/// Rounds at least, and at most.
const ROUNDS: (usize, usize) = (7, 200);

/// Seconds after which no more rounds than the least are run.
const ENOUGH: f64 = 0.05;

/// Seconds that models take on random inputs, each its fastest run: they run in turn, so that what else the machine does
/// slows none of them alone, and what is slower than the fastest run is something else's doing.
///
/// # Errors
/// Where the engine cannot run one of them.
pub fn times(engine: &dyn Engine, models: &[&Model]) -> Result<Vec<f64>, EngineError> {
    let none = Bindings::new();
    let ready = models.iter().map(|model| {
        let plan = InputPlan::of(model, &none, DefaultDims::ATTEMPTS[0])?;
        let (session, inputs) = (engine.prepare_fast(model, &none)?, plan.sample(1)?);
        // The first run gets memory and lays weights out.
        session.run(&inputs)?;
        Ok((session, inputs))
    });
    let ready: Vec<(_, Vec<TensorData>)> = ready.collect::<Result<_, EngineError>>()?;
    let mut least = vec![f64::INFINITY; ready.len()];
    let mut spent = 0.0;
    for round in 0..ROUNDS.1 {
        if round >= ROUNDS.0 && spent > ENOUGH {
            break;
        }
        for ((session, inputs), least) in ready.iter().zip(&mut least) {
            let seconds = session.time(inputs)?;
            *least = least.min(seconds);
            spent += seconds;
        }
    }
    Ok(least)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::engine::Session;
    use crate::engine::interpret::Interpreter;

    /// Takes what a list says, run by run, and keeps who ran.
    struct Listed {
        name: String,
        times: Vec<f64>,
        ran: Arc<Mutex<Vec<String>>>,
        inner: Box<dyn Session>,
    }

    impl Session for Listed {
        fn run(&self, inputs: &[TensorData]) -> Result<Vec<TensorData>, EngineError> {
            self.inner.run(inputs)
        }

        fn time(&self, _: &[TensorData]) -> Result<f64, EngineError> {
            let mut ran = self.ran.lock().unwrap();
            let before = ran.iter().filter(|name| **name == self.name).count();
            ran.push(self.name.clone());
            Ok(self.times[before % self.times.len()])
        }
    }

    #[derive(Default)]
    struct Clockwork(Arc<Mutex<Vec<String>>>);

    impl Engine for Clockwork {
        fn name(&self) -> &'static str {
            "clockwork"
        }

        fn prepare(&self, model: &Model, dims: &Bindings) -> Result<Box<dyn Session>, EngineError> {
            let name = model.graph.name.clone();
            let times = if name == "a" { vec![9.0, 0.5, 9.0] } else { vec![0.25, 0.0625] };
            let inner = Interpreter::default().prepare(model, dims)?;
            Ok(Box::new(Listed { name, times, ran: Arc::clone(&self.0), inner }))
        }
    }

    #[test]
    fn models_run_in_turn_and_the_fastest_run_counts() {
        let model = |name: &str| {
            let text = format!(
                r#"<ir_version: 8, opset_import: ["": 17]> {name} (float[2, 3] x) => (float[2, 3] y) {{ y = Relu (x) }}"#
            );
            crate::onnx::from_text(&text).unwrap().model
        };
        let (engine, a, b) = (Clockwork::default(), model("a"), model("b"));
        let found: Vec<f64> = times(&engine, &[&a, &b]).unwrap();
        assert!((found[0] - 0.5).abs() < 1e-12 && (found[1] - 0.0625).abs() < 1e-12, "{found:?}");
        assert_eq!(*engine.0.lock().unwrap(), ["a", "b"].repeat(ROUNDS.0));
        assert!(times(&Interpreter::default(), &[&a]).unwrap()[0] > 0.0);
    }
}
