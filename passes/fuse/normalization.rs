//! Recognize normalizations.

use super::terms::{Poly, attribute, is};
use crate::prelude::*;

/// Fuse the operators of a normalization into one, where the opset that is written has it.
///
/// With `d = x - ReduceMean(x)`, `d / Sqrt(ReduceMean(d * d) + epsilon)` is
///
/// * `LayerNormalization` (17), over the last axes, with a factor and an addend of the size of these axes, or without
/// * `InstanceNormalization`, over all axes but batch and channels, with a factor and an addend for every channel
///
/// and with `x` itself for `d`, `RMSNormalization` (23), with a factor or without. The square may be a `Pow`, the root a
/// power, and its inverse a factor; TensorFlow's `x * g + (b - ReduceMean(x) * g)` is the same. A factor that is not there is made of ones where the file may grow by so much.
///
/// *Left alone:* axes that are not the last, or whose size is not known where a factor has to be made; factors that are
/// not constant; an older opset, and what the profile of the target `lacks`; element types other than `float` and `float16`, for which few runtimes have it; and parts
/// that something else reads.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FuseNormalization {}

impl Rule for FuseNormalization {
    const META: PassMeta = PassMeta::exact("fuse-normalization", Family::Fuse);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let root = p.op_with_any_inputs(&["Div", "Mul", "Add"]);

        rule_fn(move |m, rw| {
            let output = m.output(root, 0)?;
            let norm = Norm::read(m, output).ok_or_else(Skip::no_concern)?;
            if norm.goes_on(m, output) {
                return Err(Skip::no_concern());
            }
            let op = norm.op();
            let dtype = m.dtype(norm.core.x).ok_or_else(Skip::no_concern)?;
            Skip::unless(m.target().supports(op), "the target has no such normalization")?;
            let common = matches!(dtype, DType::Float | DType::Float16);
            Skip::unless(common, "few runtimes have the normalization in this element type")?;
            let epsilon = attribute(norm.core.epsilon, dtype).filter(|&e| e >= 0.0);
            let epsilon = epsilon.ok_or_else(|| Skip::because("epsilon is no positive float"))?;
            let mut attrs = Attrs::new().with("epsilon", epsilon);
            if op != "InstanceNormalization" {
                attrs.set("axis", norm.core.axis as i64 - norm.core.rank as i64);
            }
            let scale = match &norm.scale {
                Some((value, data)) => rw.constant(m.name(*value), data.clone()),
                None => rw.constant(format!("{}_scale", m.name(output)), norm.filled(dtype, 1.0)?),
            };
            let bias = match &norm.bias {
                Some((value, data)) => rw.constant(m.name(*value), data.clone()),
                None if op == "InstanceNormalization" => {
                    rw.constant(format!("{}_bias", m.name(output)), norm.filled(dtype, 0.0)?)
                }
                None => Operand::Absent,
            };
            let x = norm.core.x.into();
            norm.core.inner.into_iter().for_each(|node| rw.remove(node));
            match op {
                "RMSNormalization" => rw.emit(op, attrs, [x, scale], output),
                _ => rw.emit(op, attrs, [x, scale, bias], output),
            }
            Ok(())
        })
    }
}

/// What is normalized, over which axes, and the operators that do it.
#[derive(Clone)]
struct Core {
    x: ValueId,
    /// Whether the mean is taken away.
    centered: bool,
    /// The first axis; all after it are normalized, too.
    axis: usize,
    rank: usize,
    epsilon: f64,
    inner: Vec<NodeId>,
}

type Parameter = (ValueId, TensorData);

#[derive(Clone)]
struct Norm {
    core: Core,
    /// Whether the parameters are one for each channel, and not of the size of the normalized axes.
    by_channel: bool,
    /// The dims of the parameters; none where they are not known.
    dims: Vec<u64>,
    scale: Option<Parameter>,
    bias: Option<Parameter>,
}

impl Norm {
    /// Reads a value: a normalization, or one times a constant, or one plus a constant.
    fn read(m: &Match<'_>, value: ValueId) -> Option<Self> {
        if let Some(core) = Core::read(m, value) {
            let dims = core.dims(m, false).unwrap_or_default();
            return Some(Self { core, by_channel: false, dims, scale: None, bias: None });
        }
        let node = m.made_by(value, &["Mul", "Add"])?;
        if let Some(norm) = Self::read_spread(m, node) {
            return Some(norm);
        }
        let slot = |slot: usize| m.graph().node_input(node, slot);
        let (inner, parameter) = match (m.constant_of(slot(0)?), m.constant_of(slot(1)?)) {
            (None, Some(_)) => (slot(0)?, slot(1)?),
            (Some(_), None) => (slot(1)?, slot(0)?),
            _ => return None,
        };
        let norm = Self::read(m, inner).filter(|_| m.is_private(inner))?;
        norm.with(m, node, parameter)
    }

    /// `x * g + (bias - ReduceMean(x) * g)`, where `g` is the factor times the inverse of the root: as TensorFlow has it.
    fn read_spread(m: &Match<'_>, add: NodeId) -> Option<Self> {
        let (a, b) = operands(m, add, "Add")?;
        let (kept, less) = if m.made_by(a, &["Sub"]).is_some() { (b, a) } else { (a, b) };
        let (sub, times) = (m.made_by(less, &["Sub"])?, m.made_by(kept, &["Mul"])?);
        let (bias, shift) = operands(m, sub, "Sub")?;
        let (data, mul) = (m.constant_of(bias)?, m.made_by(shift, &["Mul"])?);
        let (first, second) = (operands(m, times, "Mul")?, operands(m, mul, "Mul")?);
        let pairs = [(first.0, first.1), (first.1, first.0)].into_iter();
        let (x, gain) = pairs.clone().find(|&(_, g)| g == second.0 || g == second.1)?;
        let average = if gain == second.0 { second.1 } else { second.0 };
        let scaled = m.made_by(gain, &["Mul"])?;
        let (p, q) = operands(m, scaled, "Mul")?;
        let (scale, inverse) = if m.constant_of(p).is_some() { (p, q) } else { (q, p) };
        let factor = m.constant_of(scale)?;
        let mut inner = vec![add, sub, times, mul, scaled];
        let sum = root(m, inverse, -0.5, &mut inner)?;
        let core = Core::under_root(m, sum, inner)?.center(m)?;
        let mut unused = Vec::new();
        let (of, axes) = mean(m, average, &mut unused)?;
        if core.x != x || of != x || trailing(axes, core.rank)? != core.axis {
            return None;
        }
        let dims = core.dims(m, false)?;
        let scale = Some((scale, spread(factor, &dims, core.rank)?));
        let bias = Some((bias, spread(data, &dims, core.rank)?));
        Some(Self { core, by_channel: false, dims, scale, bias })
    }

    /// The same with one more factor or addend, where the operator has a place for it.
    fn with(&self, m: &Match<'_>, node: NodeId, parameter: ValueId) -> Option<Self> {
        let is_scale = m.graph().node(node).is("Mul");
        let taken = self.bias.is_some() || is_scale && self.scale.is_some();
        if taken || !self.core.centered && !is_scale {
            return None;
        }
        let mut norm = self.clone();
        norm.core.inner.push(node);
        let data = m.constant_of(parameter)?;
        let by_size = if self.by_channel { None } else { spread(data, &self.dims, self.core.rank) };
        let fitted = if let Some(fitted) = by_size {
            fitted
        } else {
            // The first parameter says what they go by.
            let open =
                self.scale.is_none() && self.core.centered && self.core.axis == 2 && self.core.rank > 2;
            norm.dims = if self.by_channel || open { self.core.dims(m, true)? } else { return None };
            norm.by_channel = true;
            by_channel(data, norm.dims[0], self.core.rank)?
        };
        let fitted = Some((parameter, fitted));
        *if is_scale { &mut norm.scale } else { &mut norm.bias } = fitted;
        Some(norm)
    }

    /// Whether the only reader of the result is one more factor or addend: then that is where to begin.
    fn goes_on(&self, m: &Match<'_>, output: ValueId) -> bool {
        let uses = m.graph().uses(output);
        let &[(node, Some(slot))] = uses.as_slice() else { return false };
        let graph = m.graph();
        let fits = graph.node(node).is("Mul") || graph.node(node).is("Add");
        let other = graph.node_input(node, 1 - slot.min(1));
        m.is_private(output) && fits && other.is_some_and(|other| self.with(m, node, other).is_some())
    }

    fn op(&self) -> &'static str {
        match (self.core.centered, self.by_channel) {
            (false, _) => "RMSNormalization",
            (true, false) => "LayerNormalization",
            (true, true) => "InstanceNormalization",
        }
    }

    /// A parameter that is not there.
    fn filled(&self, dtype: DType, number: f64) -> Result<TensorData, Skip> {
        Skip::unless(!self.dims.is_empty(), "the size of the normalized axes is not known")?;
        let count: u64 = self.dims.iter().product();
        Skip::unless(count < 1 << 20, "the new constants would grow the file")?;
        let items = vec![number; count as usize];
        TensorData::from_f64s(dtype, &self.dims, &items).ok_or_else(Skip::no_concern)
    }
}

impl Core {
    fn read(m: &Match<'_>, value: ValueId) -> Option<Self> {
        let node = m.made_by(value, &["Div", "Mul"])?;
        let slot = |slot: usize| m.graph().node_input(node, slot);
        let mut inner = vec![node];
        let (a, b) = (slot(0)?, slot(1)?);
        let (x, root) = if m.graph().node(node).is("Div") {
            (a, root(m, b, 0.5, &mut inner)?)
        } else {
            let mut other = inner.clone();
            if let Some(sum) = root(m, b, -0.5, &mut inner) {
                (a, sum)
            } else {
                let sum = root(m, a, -0.5, &mut other)?;
                inner = other;
                (b, sum)
            }
        };
        let plain = Self::under_root(m, root, inner).filter(|core| core.x == x)?;
        Some(plain.clone().center(m).unwrap_or(plain))
    }

    /// What is squared in the sum of a mean of squares and an epsilon.
    fn under_root(m: &Match<'_>, sum: ValueId, mut inner: Vec<NodeId>) -> Option<Self> {
        let sum = Poly::of(m, sum);
        let (epsilon, 1.0, variance) = sum.line()? else { return None };
        inner.extend(sum.inner);
        let (square, axes) = mean(m, variance, &mut inner)?;
        let squared = m.made_by(square, &["Mul", "Pow"]).filter(|_| m.is_private(square))?;
        let (x, other) = (m.graph().node_input(squared, 0)?, m.graph().node_input(squared, 1)?);
        let two = || m.constant_of(other).filter(|c| c.rank() == 0 || c.dims() == [1]).and_then(two);
        let is_square = if m.graph().node(squared).is("Mul") { other == x } else { two()? };
        inner.push(squared);
        let rank = m.facts().rank(x)?;
        let axis = trailing(axes, rank)?;
        is_square.then_some(Self { x, centered: false, axis, rank, epsilon, inner })
    }

    /// The same of a value from which its mean over the same axes is taken away.
    fn center(mut self, m: &Match<'_>) -> Option<Self> {
        let node = m.made_by(self.x, &["Sub"])?;
        let x = m.graph().node_input(node, 0)?;
        let mut inner = Vec::new();
        let (of, axes) = mean(m, m.graph().node_input(node, 1)?, &mut inner)?;
        let same = of == x && trailing(axes, self.rank)? == self.axis && m.facts().rank(x)? == self.rank;
        self.inner.extend(inner.into_iter().chain([node]));
        same.then_some(Self { x, centered: true, ..self })
    }

    /// The dims of the parameters: the number of channels, or the normalized dims.
    fn dims(&self, m: &Match<'_>, by_channel: bool) -> Option<Vec<u64>> {
        let axes = if by_channel { 1..2 } else { self.axis..self.rank };
        let known = |axis: usize| m.facts().dim(self.x, axis)?.known().and_then(|d| u64::try_from(d).ok());
        axes.map(known).collect::<Option<Vec<u64>>>().filter(|dims| !dims.contains(&0))
    }
}

/// The two inputs of an operator, where it is this one.
fn operands(m: &Match<'_>, node: NodeId, op: &str) -> Option<(ValueId, ValueId)> {
    let slot = |slot: usize| m.graph().node_input(node, slot);
    m.graph().node(node).is(op).then(|| slot(0).zip(slot(1)))?
}

/// What a value is the root of, or the inverse of the root: `power` is 0.5 or -0.5.
fn root(m: &Match<'_>, value: ValueId, power: f64, inner: &mut Vec<NodeId>) -> Option<ValueId> {
    let node = m.made_by(value, &["Sqrt", "Pow", "Reciprocal", "Div"]).filter(|_| m.is_private(value))?;
    let slot = |slot: usize| m.graph().node_input(node, slot);
    let number = |v: ValueId| m.constant_of(v).filter(|c| c.len() == 1 && c.rank() <= 1)?.to_f64();
    inner.push(node);
    match &*m.graph().node(node).op.name {
        "Sqrt" if power > 0.0 => slot(0),
        "Pow" if is(number(slot(1)?)?, power) => slot(0),
        "Reciprocal" if power < 0.0 => root(m, slot(0)?, 0.5, inner),
        "Div" if power < 0.0 && is(number(slot(0)?)?, 1.0) => root(m, slot(1)?, 0.5, inner),
        _ => None,
    }
}

/// What a value is the mean of, with dims kept, and over which axes; no axes means all.
fn mean(m: &Match<'_>, value: ValueId, inner: &mut Vec<NodeId>) -> Option<(ValueId, Option<Vec<i64>>)> {
    let node = m.made_by(value, &["ReduceMean"])?;
    let attrs = &m.graph().node(node).attrs;
    let axes = match m.graph().node_input(node, 1) {
        None => None,
        Some(axes) => Some(m.constant_of(axes)?.to_i64s()?),
    };
    let empty = axes.as_ref().is_none_or(Vec::is_empty);
    if attrs.int("keepdims").unwrap_or(1) != 1 || empty && attrs.int("noop_with_empty_axes").unwrap_or(0) != 0
    {
        return None;
    }
    inner.push(node);
    Some((m.graph().node_input(node, 0)?, axes.filter(|_| !empty)))
}

/// The first of these axes, where they are all from there on.
fn trailing(axes: Option<Vec<i64>>, rank: usize) -> Option<usize> {
    let Some(axes) = axes else { return (rank > 0).then_some(0) };
    let mut axes = axes_of(&axes, rank)?;
    axes.sort_unstable();
    let first = *axes.first()?;
    axes.iter().copied().eq(first..rank).then_some(first)
}

fn two(data: &TensorData) -> Option<bool> {
    Some(is(data.to_f64().or_else(|| data.to_i64().map(|n| n as f64))?, 2.0))
}

/// A constant with these dims, which are the last of a value of rank `rank`; `None` where it varies along others.
fn spread(data: &TensorData, dims: &[u64], rank: usize) -> Option<TensorData> {
    let own = data.dims();
    if dims.is_empty() || own.len() > rank || own.iter().rev().skip(dims.len()).any(|&d| d != 1) {
        return None;
    }
    let inside = &own[own.len().saturating_sub(dims.len())..];
    if inside == dims {
        return data.with_dims(dims);
    }
    // One number for all of them.
    let number = data.to_f64()?;
    let count: u64 = dims.iter().product();
    (count < 1 << 20).then(|| TensorData::from_f64s(data.dtype(), dims, &vec![number; count as usize]))?
}

/// A constant that varies with axis 1 alone, of a value of rank `rank`.
fn by_channel(data: &TensorData, channels: u64, rank: usize) -> Option<TensorData> {
    let own = data.dims();
    let place = own.len().checked_sub(rank - 1)?;
    let fits = own.len() <= rank && own.get(place) == Some(&channels) && data.len() as u64 == channels;
    if fits { data.with_dims(&[channels]) } else { None }
}
