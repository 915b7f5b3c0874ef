//! Passes: what a step of a recipe runs.
//!
//! A local rewrite implements [`Rule`] and becomes a pass by itself. A pass over whole graphs (folding, common
//! subexpressions, dead code) implements [`Pass`]. Both are named, documented and configured the same way: the options
//! struct *is* the pass.

mod budget;
mod context;
mod layer;
mod profile;
mod set;
#[cfg(test)]
mod tests;

use crate::ir::Model;
use crate::rewrite::{PatternBuilder, RuleFn, Select};

pub use crate::rewrite::CompiledRule;
pub use crate::schema::Target;
pub use budget::{Budget, Metrics};
pub use context::{Limits, Originals, PassContext};
pub(crate) use context::{each_bare_graph, each_graph, main_graph, require_opset, store_constants};
pub use layer::{
    ActivationReport, AssignmentReport, FormReport, LayerReport, PairReport, SeenReport, WeightReport,
    WidthReport,
};
pub use profile::{Accumulation, ActivationType, BiasForm, Profile, WeightOnly, WeightType};
pub use set::{Member, Summary, run_members, run_set};

/// What a pass is, apart from its options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // independent facts, read one by one
pub struct PassMeta {
    /// Verb-object in kebab case. Public API: renaming it needs an alias for one minor version.
    pub id: &'static str,
    /// The folder it lives in.
    pub family: Family,
    /// Whether answers may change beyond rounding.
    pub lossy: bool,
    /// Whether it may make the file larger.
    pub grows: bool,
    /// Whether a second run finds nothing to do.
    pub idempotent: bool,
}

impl PassMeta {
    /// A pass that keeps the answers, never grows the file, and finds nothing to do when run again.
    pub const fn exact(id: &'static str, family: Family) -> Self {
        Self { id, family, lossy: false, grows: false, idempotent: true }
    }

    /// A pass that changes the answers beyond rounding.
    pub const fn lossy(id: &'static str, family: Family) -> Self {
        Self { lossy: true, ..Self::exact(id, family) }
    }

    /// The same pass, which may make the file larger.
    #[must_use]
    pub const fn growing(mut self) -> Self {
        self.grows = true;
        self
    }
}

/// A folder of passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum Family {
    Fold,
    Simplify,
    Fuse,
    Convert,
    Prune,
    Quantize,
}

impl Family {
    /// The folder's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fold => "fold",
            Self::Simplify => "simplify",
            Self::Fuse => "fuse",
            Self::Convert => "convert",
            Self::Prune => "prune",
            Self::Quantize => "quantize",
        }
    }
}

/// A step of a recipe.
pub trait Pass: Send + Sync {
    /// What it is.
    fn meta(&self) -> &'static PassMeta;

    /// The rule that it is, if it is a local rewrite: rules of one set run together.
    fn rule(&self) -> Option<CompiledRule> {
        None
    }

    /// Whether the selectors of a step bear on it. A pass over whole graphs that says so asks
    /// [`PassContext::may_change`]; a recipe refuses selectors for one that does not.
    fn heeds_selectors(&self) -> bool {
        self.rule().is_some()
    }

    /// Whether it cannot do without samples to measure on; it asks [`PassContext::samples`].
    fn needs_samples(&self) -> bool {
        false
    }

    /// Whether it measures on samples where there are some.
    fn uses_samples(&self) -> bool {
        self.needs_samples()
    }

    /// The option that says what fraction to keep, and that fraction, where it has one.
    fn keeps(&self) -> Option<(&'static str, f64)> {
        None
    }

    /// Runs it once over the whole model.
    ///
    /// # Errors
    /// Where the model cannot be transformed; the message names the node or value. What merely does not apply is
    /// counted in the [`Summary`].
    fn run(&self, model: &mut Model, cx: &mut PassContext<'_>) -> anyhow::Result<Summary>;
}

/// A local rewrite.
pub trait Rule: Send + Sync {
    /// What it is.
    const META: PassMeta;

    /// Declares the pattern, and returns what to do where it matches.
    fn build(&self, p: &mut PatternBuilder) -> RuleFn;
}

impl<R: Rule> Pass for R {
    fn meta(&self) -> &'static PassMeta {
        const { &R::META }
    }

    fn rule(&self) -> Option<CompiledRule> {
        let mut pattern = PatternBuilder::default();
        let run = self.build(&mut pattern);
        Some(CompiledRule { id: R::META.id, select: Select::default(), pattern, run })
    }

    fn run(&self, model: &mut Model, cx: &mut PassContext<'_>) -> anyhow::Result<Summary> {
        run_set(model, &[self], cx).map(|report| report.into_values().next().unwrap_or_default())
    }
}
