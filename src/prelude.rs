//! Everything that a pass needs. Passes import this and nothing else.

pub use schemars::JsonSchema;
pub use serde::{Deserialize, Serialize};

pub use crate::analysis::channels::{self, Atom, Axis, Channels, Group, Heads, goes_by_group};
pub use crate::analysis::cost::{self, Sizes, node_macs};
pub use crate::analysis::{Expr, Facts, InferContext, node_products};
pub(crate) use crate::analysis::{axes_of, axis_of, perm_of};
pub use crate::calibrate::{Answers, Course, Part, Samples, Start, Tap, excerpt, windows};
pub(crate) use crate::engine::random::Stream;
pub use crate::engine::timing::times;
pub use crate::engine::{Engine, EngineError, NodeCall};
pub use crate::ir::{
    AttrValue, Attrs, DType, Dim, Function, Graph, IrError, Model, Node, NodeId, OpName, OpsetId, Origin,
    QuantAnnotation, Slots, SparseTensor, TensorData, Value, ValueId, ValueType,
};
pub use crate::math::compensate::{error_of, round_rows};
pub use crate::math::descent;
pub use crate::math::histogram::Histogram;
pub use crate::math::linalg::{Moments, cholesky, inverse_factor, invert_lower};
pub use crate::math::regression::{Fit, Regression};
pub use crate::math::saturation;
pub use crate::math::solve::{inverse, solve};
pub use crate::math::spectrum;
pub use crate::math::zeros::{Zeros, zero_compensated, zero_least};
pub use crate::pass::{
    Accumulation, ActivationReport, ActivationType, AssignmentReport, BiasForm, Budget, Family, FormReport,
    LayerReport, Limits, Originals, PairReport, Pass, PassContext, PassMeta, Profile, Rule, SeenReport,
    Summary, Target, WeightOnly, WeightReport, WeightType, WidthReport,
};
pub(crate) use crate::pass::{each_bare_graph, each_graph, main_graph, require_opset, store_constants};
pub use crate::rewrite::{
    AnyVar, ConstVar, EitherVar, Match, NewOp, OpVar, Operand, OptVar, PatternBuilder, Rewrite, RuleFn,
    Scope, Select, Selector, Skip,
};

/// Whether an operator of the standard gives the same outputs for the same inputs, always: no random operator, no
/// `Dropout` that may train, no operator with a body, none of another domain (it may have a state).
pub fn is_pure(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    let may_train = node.op.is("Dropout")
        && (node.opaque.is_some()
            || (graph.node_input(id, 2))
                .is_some_and(|v| graph.constant(v).and_then(TensorData::to_i64) != Some(0)));
    node.op.domain.is_empty()
        && !may_train
        && !crate::schema::is_random(&node.op.domain, &node.op.name)
        && node.attrs.graphs().next().is_none()
}

/// Makes the closure of a rule; it only helps the compiler to see its type.
pub fn rule_fn(f: impl Fn(&Match<'_>, &mut Rewrite) -> Result<(), Skip> + Send + Sync + 'static) -> RuleFn {
    Box::new(f)
}
