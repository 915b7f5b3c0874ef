//! Rewriting: what a rule looks for, what it records, and the driver that makes it safe.
//!
//! A rule never changes a graph. It declares a pattern with [`PatternBuilder`], reads the match through typed tokens,
//! and records a [`Rewrite`]. The driver checks what every rule would otherwise have to: that interior values are
//! private, that the replacement has the type of what it replaces, that no name collides. So a rule cannot corrupt a
//! graph, and what it left alone is reported with the reason ([`Skip`]).

mod alias;
mod border;
mod commit;
mod driver;
mod inline;
mod matcher;
mod names;
mod pattern;
mod record;
mod scope;
mod select;

pub(crate) use alias::alias;
pub(crate) use driver::run_rules;
pub use driver::{CompiledRule, RuleFn, RuleReport, SetReport};
pub use matcher::Match;
pub(crate) use names::Names;
pub use pattern::{AnyVar, ConstVar, EitherVar, Inputs, OpVar, OptVar, PatternBuilder, Token};
pub use record::{Operand, Rewrite};
pub use scope::{NewOp, Scope};
pub(crate) use scope::{visit_graphs, with_main_graph};
pub(crate) use select::original_label;
pub use select::{Select, Selector, SelectorError};

use std::borrow::Cow;

/// Why a rule left a place alone that it might have changed. It is counted and reported, never lost.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Skip(pub Cow<'static, str>);

impl Skip {
    /// A near miss with its reason.
    pub fn because(why: impl Into<Cow<'static, str>>) -> Self {
        Self(why.into())
    }

    /// No near miss at all: the place is none of the rule's business, and worth no line in a report.
    pub const fn no_concern() -> Self {
        Self(Cow::Borrowed(""))
    }

    /// A near miss where the condition does not hold.
    ///
    /// # Errors
    /// The near miss.
    pub fn unless(condition: bool, why: &'static str) -> Result<(), Self> {
        if condition { Ok(()) } else { Err(Self(Cow::Borrowed(why))) }
    }
}

/// What a rule's closure or a commit answers.
pub type Outcome = Result<(), Skip>;
