//! Everything that a pass needs. Passes import this and nothing else.

pub use schemars::JsonSchema;
pub use serde::{Deserialize, Serialize};

pub use crate::analysis::Facts;
pub use crate::engine::{EngineError, NodeCall};
pub use crate::ir::{
    AttrValue, Attrs, DType, Dim, Function, Graph, IrError, Model, Node, NodeId, OpName, Origin, TensorData,
    Value, ValueId, ValueType,
};
pub use crate::pass::{Family, Limits, Pass, PassContext, PassMeta, Rule, Summary, Target};
pub use crate::rewrite::{
    AnyVar, ConstVar, EitherVar, Match, OpVar, Operand, OptVar, PatternBuilder, Rewrite, RuleFn, Skip,
};
pub(crate) use crate::rewrite::{alias, each_graph, remove_if_dead};

/// Makes the closure of a rule; it only helps the compiler to see its type.
pub fn rule_fn(f: impl Fn(&Match<'_>, &mut Rewrite) -> Result<(), Skip> + Send + Sync + 'static) -> RuleFn {
    Box::new(f)
}
