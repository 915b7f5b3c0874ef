//! Another order of the axes of inputs and outputs.

use crate::prelude::*;

use super::border::{Side, insert, named, parts};

/// Move the channels of inputs and outputs behind all other axes, or back, with a `Transpose` behind or before them.
///
/// For callers whose pictures are NHWC while the model computes in NCHW, or the other way. What can go of the transpositions
/// inside the model is for other passes.
///
/// *Left alone:* what is no tensor of a known rank of 3 or more, inputs that a caller may leave out or that are outputs at
/// once, and outputs that no operator makes.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IoLayout {
    /// The inputs to change, by name.
    pub inputs: Vec<String>,
    /// The outputs to change, by name.
    pub outputs: Vec<String>,
    /// Where callers have the channels.
    pub layout: Layout,
}

/// Where channels are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Behind all other axes.
    #[default]
    Nhwc,
    /// Right behind the batch.
    Nchw,
}

const ID: &str = "io-layout";

impl Pass for IoLayout {
    fn meta(&self) -> &'static PassMeta {
        const { &PassMeta { idempotent: false, ..PassMeta::lossy(ID, Family::Convert).growing() } }
    }

    fn run(&self, model: &mut Model, cx: &mut PassContext<'_>) -> anyhow::Result<Summary> {
        let mut summary = Summary::default();
        main_graph(model, cx, &mut |scope, _| {
            let inputs = named(scope.graph, Side::Input, &self.inputs)?;
            let outputs = named(scope.graph, Side::Output, &self.outputs)?;
            let inputs = inputs.into_iter().map(|v| (Side::Input, v));
            for (side, value) in inputs.chain(outputs.into_iter().map(|v| (Side::Output, v))) {
                let ValueType::Tensor { dtype, shape } = scope.graph.value(value).ty.clone() else {
                    summary.skip("it is no tensor of a known rank of 3 or more");
                    continue;
                };
                match (shape.filter(|s| s.len() >= 3), parts(scope.graph, side, value)) {
                    (None, _) => summary.skip("it is no tensor of a known rank of 3 or more"),
                    (_, Err(skip)) => summary.skip(skip.0),
                    (Some(shape), Ok(())) => {
                        // From the model's axes to the caller's, and back.
                        let (out, back) = self.layout.moves(shape.len());
                        let shape = Some(out.iter().map(|&axis| shape[axis].clone()).collect());
                        let moves = if side == Side::Input { back } else { out };
                        let perm: Vec<i64> = moves.into_iter().map(|axis| axis as i64).collect();
                        let op = (ID, "Transpose", Attrs::new().with("perm", perm));
                        insert(scope, (side, value), ValueType::Tensor { dtype, shape }, op)?;
                        summary.applied += 1;
                    }
                }
            }
            Ok(())
        })?;
        Ok(summary)
    }
}

impl Layout {
    /// The axes of the model in the caller's order, and those of the caller in the model's.
    fn moves(self, rank: usize) -> (Vec<usize>, Vec<usize>) {
        let last = || [0].into_iter().chain(2..rank).chain([1]).collect();
        let second = || [0, rank - 1].into_iter().chain(1..rank - 1).collect();
        match self {
            Self::Nhwc => (last(), second()),
            Self::Nchw => (second(), last()),
        }
    }
}
