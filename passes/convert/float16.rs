//! Computing in 16-bit floats.

use std::collections::BTreeSet;

use crate::prelude::*;

use super::casts::Caster;
use super::halves::{Halves, Ranges};

/// Compute in `float16` or `bfloat16` instead of `float`: weights take half the bytes, activations half the memory.
///
/// Each operator of the standard whose floats may have the type is converted with its constants, and `Cast` stands where
/// a float meets a half. Bodies of `If`, `Loop` and `Scan` are converted too; what goes in and out of them, and what they
/// capture, stays float.
///
/// Some operators stay float whatever is asked: those that compute with dims, those beside `QuantizeLinear` and
/// `DequantizeLinear`, those with a weight that the type cannot hold and, where there are samples, those that read or
/// make a number there that it cannot hold. So do inputs that the standard says are float, such as the scales of a
/// `Resize`. Weights that become zero are counted in a warning.
///
/// GPUs and NPUs compute faster so; most runtimes on CPUs convert back and forth, and are slower.
///
/// *Left alone:* model-local functions, operators of other domains, and values that are no dense tensors.
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

    fn run(&self, model: &mut Model, cx: &mut PassContext<'_>) -> anyhow::Result<Summary> {
        if let Some(unknown) = self.keep_ops.iter().find(|op| !cx.target.supports(op)) {
            let opset = cx.target.opset("").unwrap_or(1);
            anyhow::bail!(
                "keep-ops: opset {opset} has no operator `{unknown}`; write it as `inspect` shows it"
            );
        }
        let mut ranges = Ranges::of(model, self.half, cx);
        let mut summary = Summary::default();
        let mut captured = BTreeSet::new();
        // What calls a function gives it floats, and the types in a function are those of its calls.
        let functions = std::mem::take(&mut model.functions);
        let mut is_main = true;
        let done = each_graph(model, cx, &mut |scope, cx| {
            let halves = Halves::of(scope, cx, self, &mut ranges, &mut summary)?;
            let keeps_io = self.keep_io_types || !std::mem::take(&mut is_main);
            ranges.leave_main_graph();
            summary.applied += halves.len();
            let mut caster = Caster { scope, halves: &halves, half: self.half, pass: ID, keeps_io };
            caster.convert(&mut captured)
        });
        model.functions = functions;
        done?;
        drop_captured(model, cx, &captured)?;
        if summary.applied > 0 {
            cx.warnings.extend(ranges.lost());
            let name = self.half.dtype().name();
            cx.warnings
                .push(format!("{name} is slower than float on most CPU runtimes; it is for GPUs and NPUs"));
        }
        Ok(summary)
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
