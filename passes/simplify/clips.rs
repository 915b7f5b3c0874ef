//! Merge operators that clamp to a range.

use super::uniform::{is_narrow, uniform_number};
use crate::prelude::*;

/// Merge two of `Relu`, `Clip` with constant bounds, and `Max` and `Min` with one constant number, the one after the other,
/// into one: a `Relu` where the range is that of one, else a `Clip`.
///
/// Each of them is `min(max(x, low), high)`, and so is what they are together: bounds are chosen among those that are
/// there, nothing is rounded. Where the range of the first lies in that of the second, the second goes alone.
///
/// *Left alone:* bounds that are not constant or NaN, a constant that would widen the result, element types that `Clip`
/// lacks at the written opset, and a first operator that others read.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MergeClips {}

const CLAMPS: &[&str] = &["Clip", "Max", "Min", "Relu"];

impl Rule for MergeClips {
    const META: PassMeta = PassMeta::exact("merge-clips", Family::Simplify);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let outer = p.op_with_any_inputs(CLAMPS);
        rule_fn(move |m, rw| {
            let output = m.output(outer, 0)?;
            let middle = clamped(m, m.id(outer)).ok_or_else(Skip::no_concern)?;
            let inner = m.graph().producer(middle).map(|(node, _)| node).ok_or_else(Skip::no_concern)?;
            let x = clamped(m, inner).ok_or_else(Skip::no_concern)?;
            let (first, second) = (bounds(m, inner, x)?, bounds(m, m.id(outer), middle)?);
            let both = first.within(&second);
            if both == first {
                rw.replace(output, middle);
                return Ok(());
            }
            let dtype = m.dtype(x).ok_or_else(|| Skip::because("the element type is not known"))?;
            let relu = both == Bounds::RELU && m.target().supports_type("Relu", dtype);
            let name = if relu { "Relu" } else { "Clip" };
            let allowed = m.target().supports_type(name, dtype);
            Skip::unless(allowed, "Clip lacks the element type at the written opset")?;
            rw.remove(inner);
            let mut inputs = vec![Operand::Old(x)];
            if !relu {
                let parts = [inner, m.id(outer)];
                inputs.push(bound(m, rw, &parts, dtype, (both.low, "clip_min")));
                inputs.push(bound(m, rw, &parts, dtype, (both.high, "clip_max")));
            }
            rw.emit(name, Attrs::new(), inputs, output);
            Ok(())
        })
    }
}

/// The range that an operator clamps to: an infinity where it does not.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Bounds {
    low: f64,
    high: f64,
}

impl Bounds {
    const OPEN: Self = Self { low: f64::NEG_INFINITY, high: f64::INFINITY };
    const RELU: Self = Self { low: 0.0, high: f64::INFINITY };

    /// The bounds of a `Clip`; `None` where one is not a constant number.
    pub(super) fn of_clip(m: &Match<'_>, id: NodeId) -> Option<Self> {
        let bound = |slot: usize, open: f64| match m.graph().node_input(id, slot) {
            Some(value) => m.constant_of(value).and_then(uniform_number).filter(|n| !n.is_nan()),
            None => Some(open),
        };
        let (low, high) = (bound(1, f64::NEG_INFINITY)?, bound(2, f64::INFINITY)?);
        // Where they are crossed, everything becomes the upper one.
        Some(Self { low: low.min(high), high })
    }

    /// Whether everything is in the range.
    pub(super) fn are_open(self) -> bool {
        self == Self::OPEN
    }

    /// This range clamped to another one.
    fn within(self, other: &Self) -> Self {
        let clamp = |x: f64| x.max(other.low).min(other.high);
        Self { low: clamp(self.low), high: clamp(self.high) }
    }
}

/// What an operator clamps, where it may be one that does.
fn clamped(m: &Match<'_>, id: NodeId) -> Option<ValueId> {
    let graph = m.graph();
    let node = graph.node(id);
    if !CLAMPS.iter().any(|op| node.is(op)) {
        return None;
    }
    let inputs = graph.node_inputs(id);
    let x = match (&*node.op.name, inputs.as_slice()) {
        ("Max" | "Min", &[Some(a), Some(b)]) => match (m.constant_of(a), m.constant_of(b)) {
            (None, Some(_)) => a,
            (Some(_), None) => b,
            _ => return None,
        },
        ("Max" | "Min", _) => return None,
        _ => (*inputs.first()?)?,
    };
    Some(x)
}

fn bounds(m: &Match<'_>, id: NodeId, x: ValueId) -> Result<Bounds, Skip> {
    let graph = m.graph();
    let no_number = || Skip::because("a bound is no constant number");
    let is_max = match &*graph.node(id).op.name {
        "Relu" => return Ok(Bounds::RELU),
        "Clip" => return Bounds::of_clip(m, id).ok_or_else(no_number),
        name => name == "Max",
    };
    let other = graph.node_inputs(id).into_iter().flatten().find(|&v| v != x).ok_or_else(Skip::no_concern)?;
    let data = m.constant_of(other).ok_or_else(Skip::no_concern)?;
    let number = uniform_number(data).filter(|n| !n.is_nan()).ok_or_else(no_number)?;
    let result = graph.node_output(id, 0).ok_or_else(Skip::no_concern)?;
    Skip::unless(is_narrow(m, x, other, result), "the constant would widen the result")?;
    Ok(if is_max { Bounds { low: number, ..Bounds::OPEN } } else { Bounds { high: number, ..Bounds::OPEN } })
}

/// The input of a `Clip` that holds a bound: one of the constants of rank 0 that the operators have, or a new one.
fn bound(
    m: &Match<'_>,
    rw: &mut Rewrite,
    parts: &[NodeId],
    dtype: DType,
    (number, name): (f64, &str),
) -> Operand {
    if number.is_infinite() {
        return Operand::Absent;
    }
    let holds = |&v: &ValueId| {
        m.constant_of(v).is_some_and(|data| data.rank() == 0 && uniform_number(data) == Some(number))
    };
    let mut inputs = parts.iter().flat_map(|&node| m.graph().node_inputs(node)).flatten();
    match inputs.find(holds) {
        Some(value) => Operand::Old(value),
        None => rw.constant(name, number_of(dtype, number)),
    }
}

/// A tensor of rank 0 from a number that its element type holds.
fn number_of(dtype: DType, number: f64) -> TensorData {
    TensorData::from_f64s(dtype, &[], &[number]).unwrap_or_else(|| {
        let bytes = (number as i64).to_le_bytes();
        let width = usize::try_from(dtype.bits() / 8).unwrap_or(8).min(8);
        TensorData::new(dtype, &[], bytes[..width].to_vec()).unwrap_or_else(|_| TensorData::scalar(0f32))
    })
}
