//! The engine tract: pure Rust, always there. This file and its siblings are the only ones that name it.
//!
//! tract can be wrong, can lack an operator and can panic. So a single node is evaluated only where `allow` says
//! why tract is right, a whole model is refused with the list of what tract lacks, and every call passes `guarded`.

mod allow;
mod convert;
mod node;
mod session;

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use tract_onnx::prelude::TractResult;

use super::{Bindings, Engine, EngineError, Session};
use crate::ir::Model;

pub(crate) use node::eval;
pub(crate) use session::{Own, TractSession};

const NAME: &str = "tract";

/// The engine tract.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tract;

impl Engine for Tract {
    fn name(&self) -> &'static str {
        NAME
    }

    fn prepare(&self, model: &Model, _: &Bindings) -> Result<Box<dyn Session>, EngineError> {
        Ok(Box::new(TractSession::of(model, Own::Nothing)?))
    }

    fn prepare_fast(&self, model: &Model, _: &Bindings) -> Result<Box<dyn Session>, EngineError> {
        Ok(Box::new(TractSession::of(model, Own::Optimizations)?))
    }
}

fn unsupported(what: impl Into<String>) -> EngineError {
    EngineError::Unsupported { engine: NAME, what: what.into() }
}

fn failed(what: &str) -> EngineError {
    const LONGEST: usize = 400;
    let mut line: String = what.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.chars().count() > LONGEST {
        line = line.chars().take(LONGEST).chain("…".chars()).collect();
    }
    EngineError::Failed { engine: NAME, what: line }
}

thread_local! {
    static QUIET: Cell<bool> = const { Cell::new(false) };
}

/// Runs something of tract's: its errors and its panics become an [`EngineError`], and a panic prints nothing.
fn guarded<T>(run: impl FnOnce() -> TractResult<T>) -> Result<T, EngineError> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !QUIET.get() {
                previous(info);
            }
        }));
    });
    QUIET.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(run));
    QUIET.set(false);
    match outcome {
        Ok(result) => result.map_err(|e| failed(&format!("{e:#}"))),
        Err(payload) => {
            let text = payload.downcast_ref::<&str>().map(|s| (*s).to_owned());
            let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
            Err(failed(&format!("it panicked: {}", text.as_deref().unwrap_or("no message"))))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_on_one_line() {
        let error = guarded::<()>(|| panic!("first\nsecond")).unwrap_err();
        assert_eq!(error.to_string(), "tract failed: it panicked: first second");
        assert!(!QUIET.get());
    }
}
