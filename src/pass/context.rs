//! What a pass may know and use besides the model.

use super::{Metrics, Profile};
use crate::calibrate::{Part, Samples};
use crate::engine::{Engine, EngineError, NodeCall, kernels};
use crate::ir::{Graph, Model, NodeId, OpName, TensorData};
use crate::rewrite::{Names, Scope, Select, visit_graphs, with_main_graph};
use crate::schema::Target;

/// Evaluates one node on constants; see [`crate::engine`].
pub type Evaluate<'a> = dyn Fn(&NodeCall<'_>) -> Result<Vec<TensorData>, EngineError> + Sync + 'a;

/// Limits that hold for every pass of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes by which constants may still grow the file.
    pub growth: u64,
    /// Bytes by which they have grown it.
    pub grown: u64,
    /// The largest tensor that folding may make on its way, in bytes.
    pub tensor: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { growth: 4096, grown: 0, tensor: SMALL }
    }
}

/// What may be made of the smallest model.
const SMALL: u64 = 256 << 20;
/// What may be made of the largest.
const LARGE: u64 = 1 << 31;

impl Limits {
    /// The limits for a model: what is made on the way may be a few times as large as what the model holds, so that a
    /// few bytes cannot ask for all the memory there is.
    fn of(model: &Model) -> Self {
        let held = model.functions.iter().map(|f| &f.graph).chain([&model.graph]).map(held);
        let held = held.fold(0u64, u64::saturating_add);
        Self { tensor: held.saturating_mul(4).clamp(SMALL, LARGE), ..Self::default() }
    }
}

/// Bytes of the constants of a graph and its bodies.
fn held(graph: &Graph) -> u64 {
    let own = graph.values().filter_map(|v| graph.value(v).data.as_ref()).map(TensorData::byte_len);
    let bodies = graph.nodes().flat_map(|n| graph.node(n).attrs.graphs()).map(held);
    own.chain(bodies).fold(0, u64::saturating_add)
}

/// The models that a run began with, for passes that compare. What a step keeps of a model keeps its ids: a node or a
/// value of the model that is changed, where one of these has it too, is the same one.
#[derive(Clone, Copy)]
pub struct Originals<'a> {
    /// As it was read.
    pub read: &'a Model,
    /// As the exact steps left it to the first lossy one: the same answers.
    pub exact: &'a Model,
}

/// What a pass may know and use besides the model.
pub struct PassContext<'a> {
    /// What the written model may contain.
    pub target: Target,
    /// What the runtime that the model is for computes fast.
    pub profile: Profile,
    /// Limits of this run. Passes subtract the growth that they used.
    pub limits: Limits,
    /// Which nodes the step may change.
    pub select: Select,
    /// Things the user should know, a line each.
    pub warnings: Vec<String>,
    pub(crate) names: Names,
    samples: Option<&'a Samples<'a>>,
    engine: Option<&'a dyn Engine>,
    originals: Option<Originals<'a>>,
    metrics: &'a dyn Metrics,
    evaluate: &'a Evaluate<'a>,
    can_evaluate: &'a (dyn Fn(&OpName) -> bool + Sync + 'a),
}

impl<'a> PassContext<'a> {
    /// The context of a run over a model.
    pub(crate) fn new(
        model: &Model,
        evaluate: &'a Evaluate<'a>,
        can_evaluate: &'a (dyn Fn(&OpName) -> bool + Sync + 'a),
    ) -> Self {
        Self {
            target: Target::of(model),
            profile: Profile::default(),
            limits: Limits::of(model),
            select: Select::default(),
            warnings: Vec::new(),
            names: Names::of(model),
            samples: None,
            engine: None,
            originals: None,
            metrics: &(),
            evaluate,
            can_evaluate,
        }
    }

    /// The context of a run over a model that is evaluated with our own kernels alone.
    pub fn with_kernels(model: &Model) -> Self {
        Self::new(model, &kernels::eval, &kernels::covers)
    }

    /// The same with samples to measure on.
    #[must_use]
    pub fn with_samples(mut self, samples: Option<&'a Samples<'a>>) -> Self {
        self.samples = samples;
        self
    }

    /// The same with an engine to time models on; without, that of the samples does.
    #[must_use]
    pub fn with_engine(mut self, engine: Option<&'a dyn Engine>) -> Self {
        self.engine = engine;
        self
    }

    /// The same with the models that the run began with.
    #[must_use]
    pub fn with_originals(mut self, originals: Option<Originals<'a>>) -> Self {
        self.originals = originals;
        self
    }

    /// The same with metrics of the user's.
    #[must_use]
    pub fn with_metrics(mut self, metrics: &'a dyn Metrics) -> Self {
        self.metrics = metrics;
        self
    }

    /// Metrics of the user's.
    pub fn metrics(&self) -> &'a dyn Metrics {
        self.metrics
    }

    /// The models that the run began with.
    ///
    /// # Errors
    /// Where the caller gave none.
    pub fn originals(&self) -> anyhow::Result<Originals<'a>> {
        self.originals.ok_or_else(|| {
            anyhow::anyhow!("it compares with the model that the run began with, which the run does not give")
        })
    }

    /// Unlabelled samples, and the engine that runs models on them.
    ///
    /// # Errors
    /// Where the user gave none.
    pub fn samples(&self) -> anyhow::Result<&'a Samples<'a>> {
        self.samples.filter(|s| s.count(Part::Calibration) > 0).ok_or_else(|| {
            anyhow::anyhow!("it measures on samples, and there are none: give some with `--data FILE` or as `data: {{ calib: … }}` in the recipe")
        })
    }

    /// An engine whose times say something.
    ///
    /// # Errors
    /// Where there is none, or one that is not made to be fast.
    pub fn runtime(&self) -> anyhow::Result<&'a dyn Engine> {
        let Some(engine) = self.engine.or_else(|| self.samples.map(Samples::engine)) else {
            anyhow::bail!(
                "it measures how long layers take, and there is no engine to run them: leave out `--no-verify`, or give samples with `--data FILE`"
            );
        };
        anyhow::ensure!(
            engine.is_runtime(),
            "it measures how long layers take, and the times of the engine `{}` say nothing about a runtime: use `--engine ort` or `--engine tract`",
            engine.name()
        );
        Ok(engine)
    }

    /// Whether the step may change these nodes together.
    pub fn may_change(&self, graph: &Graph, nodes: &[NodeId]) -> bool {
        self.select.allows(graph, nodes)
    }

    /// Whether some engine may evaluate this operator on constants.
    pub fn can_evaluate(&self, op: &OpName) -> bool {
        (self.can_evaluate)(op)
    }

    /// Evaluates one node on constants.
    ///
    /// # Errors
    /// Where no engine can, or the node is wrong.
    pub fn evaluate(&self, call: &NodeCall<'_>) -> Result<Vec<TensorData>, EngineError> {
        (self.evaluate)(call)
    }
}

/// Calls a function on the main graph, on every body, and on the bodies of functions: outer graphs before inner ones.
pub(crate) fn each_graph(
    model: &mut Model,
    cx: &mut PassContext<'_>,
    f: &mut dyn FnMut(&mut Scope<'_>, &mut PassContext<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    visit(model, cx, true, f)
}

/// [`each_graph`] for a pass that needs no inference.
pub(crate) fn each_bare_graph(
    model: &mut Model,
    cx: &mut PassContext<'_>,
    f: &mut dyn FnMut(&mut Scope<'_>, &mut PassContext<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    visit(model, cx, false, f)
}

/// Calls a function on the main graph alone.
pub(crate) fn main_graph(
    model: &mut Model,
    cx: &mut PassContext<'_>,
    f: &mut dyn FnMut(&mut Scope<'_>, &mut PassContext<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut names = std::mem::take(&mut cx.names);
    let result = with_main_graph(model, &mut names, &mut |scope| f(scope, cx));
    cx.names = names;
    result
}

/// Gives the results of `Constant` operators their elements, as initializers have them.
pub(crate) fn store_constants(model: &mut Model, cx: &mut PassContext<'_>) -> anyhow::Result<()> {
    each_bare_graph(model, cx, &mut |scope, cx| {
        for id in scope.graph.order()? {
            let node = scope.graph.node(id);
            let output = scope.graph.node_output(id, 0).filter(|&v| !scope.graph.is_pinned(v));
            let Some(output) = output.filter(|_| node.is("Constant")) else { continue };
            let (op, attrs, limit) = (&node.op, &node.attrs, cx.limits.tensor);
            let call = NodeCall { op, attrs, inputs: &[], outputs: &[true], limit };
            if let Some(data) = cx.evaluate(&call).ok().and_then(|data| data.into_iter().next()) {
                scope.remove_node(id);
                scope.set_constant(output, data);
            }
        }
        Ok(())
    })
}

/// Lets a model be written at this opset of `ai.onnx` at least, and says so where that is a change.
pub(crate) fn require_opset(model: &mut Model, opset: i64, cx: &mut PassContext<'_>) {
    let old = model.opset("").unwrap_or(1);
    if old < opset {
        crate::onnx::set_opset(model, opset);
        cx.target = Target::of(model);
        cx.warnings.push(format!(
            "the model asks for opset {opset} now: what was made needs it, and opset {old} lacks it"
        ));
    }
}

fn visit(
    model: &mut Model,
    cx: &mut PassContext<'_>,
    with_facts: bool,
    f: &mut dyn FnMut(&mut Scope<'_>, &mut PassContext<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut names = std::mem::take(&mut cx.names);
    let result = visit_graphs(model, &mut names, with_facts, &mut |scope| f(scope, cx));
    cx.names = names;
    result
}
