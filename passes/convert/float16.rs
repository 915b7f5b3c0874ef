//! Computing in 16-bit floats.

use std::collections::BTreeSet;

use crate::prelude::*;

use super::casts::Caster;
use super::halves::{Halves, Ranges, Votes};

/// Compute in `float16` or `bfloat16` instead of `float`: weights take half the bytes, activations half the memory.
///
/// Each operator of the standard whose floats may have the type is converted with its constants, and `Cast` stands where
/// a float meets a half. Bodies of `If`, `Loop` and `Scan` are converted too; what goes in and out of them stays float,
/// and so does what they capture, unless all that read it read halves.
///
/// Some operators stay float whatever is asked: those that compute with dims, those beside `QuantizeLinear` and
/// `DequantizeLinear`, and those with a weight that the type cannot hold. Where there are samples, so do those that read
/// or make a number there that it cannot hold; where there are none, those that read what a too large weight makes.
/// Inputs that the standard says are float, such as the scales of a `Resize`, are left so. Weights that become zero are
/// counted in a warning.
///
/// GPUs and NPUs compute faster so; most runtimes on CPUs convert back and forth, and are slower.
///
/// *Left alone:* operators that only pass numbers on, from floats to floats; model-local functions, operators of other
/// domains, and values that are no dense tensors.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ConvertFloat16 {
    /// The type to compute in.
    #[serde(rename = "type")]
    pub half: Half,
    /// Inputs and outputs of the model keep their types.
    pub keep_io_types: bool,
    /// Operators that stay float, such as `TopK` where the order of close numbers counts.
    pub keep_ops: Vec<String>,
}

/// 16-bit floats.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Half {
    /// 5 bits of exponent, 10 of mantissa: up to 65504.
    #[default]
    Float16,
    /// 8 bits of exponent, 7 of mantissa: the range of `float`. Most operators have it from opset 13 on, `Conv` from 22.
    Bfloat16,
}

impl Half {
    /// The element type.
    pub(super) fn dtype(self) -> DType {
        match self {
            Self::Float16 => DType::Float16,
            Self::Bfloat16 => DType::Bfloat16,
        }
    }

    /// Whether a float becomes infinite.
    pub(super) fn overflows(self, x: f64) -> bool {
        // Halfway between the largest number and the next power of two, rounding goes up.
        let limit = match self {
            Self::Float16 => 65520.0,
            Self::Bfloat16 => 3.396_177_529_230_46e38,
        };
        x.is_finite() && x.abs() >= limit
    }
}

impl Default for ConvertFloat16 {
    fn default() -> Self {
        Self { half: Half::Float16, keep_io_types: true, keep_ops: Vec::new() }
    }
}

const ID: &str = "convert-float16";

impl Pass for ConvertFloat16 {
    fn meta(&self) -> &'static PassMeta {
        const { &PassMeta::lossy(ID, Family::Convert).growing() }
    }

    fn heeds_selectors(&self) -> bool {
        true
    }

    fn uses_samples(&self) -> bool {
        true
    }

    fn run(&self, model: &mut Model, cx: &mut PassContext<'_>) -> anyhow::Result<Summary> {
        if let Some(unknown) = self.keep_ops.iter().find(|op| !cx.target.supports(op)) {
            let opset = cx.target.opset("").unwrap_or(1);
            anyhow::bail!(
                "keep-ops: opset {opset} has no operator `{unknown}`; write it as `inspect` shows it"
            );
        }
        let mut result = model.clone();
        // What calls a function gives it floats, and the types in a function are those of its calls.
        let functions = std::mem::take(&mut result.functions);
        store_constants(&mut result, cx)?;
        let mut ranges = Ranges::of(&result, self.half, cx);
        let mut summary = Summary::default();
        self.convert(&mut result, cx, &mut ranges, &mut summary)?;
        result.functions = functions;
        if summary.applied > 0 {
            *model = result;
            cx.warnings.extend(ranges.lost());
            let name = self.half.dtype().name();
            cx.warnings
                .push(format!("{name} is slower than float on most CPU runtimes; it is for GPUs and NPUs"));
        }
        Ok(summary)
    }
}

impl ConvertFloat16 {
    /// Decides for all graphs, and then converts them.
    fn convert(
        &self,
        model: &mut Model,
        cx: &mut PassContext<'_>,
        ranges: &mut Ranges,
        summary: &mut Summary,
    ) -> anyhow::Result<()> {
        let (mut graphs, mut votes) = (Vec::new(), Votes::default());
        each_graph(model, cx, &mut |scope, cx| {
            let halves = Halves::of(scope, cx, self, ranges, summary)?;
            ranges.leave_main_graph();
            votes.count(scope.graph, &halves);
            graphs.push(halves);
            Ok(())
        })?;
        summary.applied = graphs.iter().map(Halves::len).sum();
        let (mut captured, mut graphs) = (BTreeSet::new(), graphs.iter());
        let mut is_main = true;
        // No operator with a body comes or goes, so that graphs are visited in the same order.
        each_bare_graph(model, cx, &mut |scope, _| {
            let keeps_io = self.keep_io_types || !std::mem::take(&mut is_main);
            let Some(halves) = graphs.next() else { return Ok(()) };
            let (half, votes) = (self.half, &votes);
            Caster { scope, halves, votes, half, pass: ID, keeps_io }.convert(&mut captured)
        })?;
        drop_captured(model, cx, &captured)
    }
}

/// Removes constants that only bodies read, which have converted ones of their own now.
fn drop_captured(
    model: &mut Model,
    cx: &mut PassContext<'_>,
    captured: &BTreeSet<String>,
) -> anyhow::Result<()> {
    each_bare_graph(model, cx, &mut |scope, _| {
        for name in captured {
            let constant = scope.graph.find(name).filter(|&v| scope.graph.constant(v).is_some());
            constant.map(|value| scope.remove_if_dead(value));
        }
        Ok(())
    })
}
