//! Arithmetic with numbers, read off a graph: polynomials of one value, and products of values.
//!
//! Exporters write the same function in many ways: `x * 0.5`, `x / 2`, the number first or last, before or after
//! another one. Here all of them read the same. Only operators whose result nothing else reads are looked through.

use crate::prelude::*;

/// How many operators deep an expression is read.
const DEPTH: usize = 8;

/// `c[0] + c[1] * leaf + c[2] * leaf² + c[3] * leaf³`.
#[derive(Clone)]
pub(super) struct Poly {
    /// The value of which it is a polynomial; `None` for a number.
    pub leaf: Option<ValueId>,
    pub c: [f64; 4],
    /// The operators that compute it.
    pub inner: Vec<NodeId>,
    /// Of a number: the rank of its tensor.
    rank: usize,
}

impl Poly {
    /// Reads a value.
    pub(super) fn of(m: &Match<'_>, value: ValueId) -> Self {
        Self::read(m, value, DEPTH, m.is_private(value))
    }

    /// Reads the result of the root of the match, whoever reads it.
    pub(super) fn of_root(m: &Match<'_>) -> Option<Self> {
        Some(Self::read(m, m.graph().node_output(m.root(), 0)?, DEPTH, true))
    }

    /// `offset + slope * leaf`.
    pub(super) fn line(&self) -> Option<(f64, f64, ValueId)> {
        let [offset, slope, 0.0, 0.0] = self.c else { return None };
        (slope != 0.0).then_some((offset, slope, self.leaf?))
    }

    fn read(m: &Match<'_>, value: ValueId, depth: usize, open: bool) -> Self {
        if let Some((number, rank)) = number(m, value) {
            return Self { leaf: None, c: [number, 0.0, 0.0, 0.0], inner: Vec::new(), rank };
        }
        let leaf = Self { leaf: Some(value), c: [0.0, 1.0, 0.0, 0.0], inner: Vec::new(), rank: 0 };
        let arithmetic = m.made_by(value, &["Add", "Sub", "Mul", "Div", "Neg", "Pow"]);
        let Some(node) = arithmetic.filter(|_| open && depth > 0) else { return leaf };
        Self::combine(m, node, depth).filter(|poly| poly.leaf.is_some()).unwrap_or(leaf)
    }

    fn combine(m: &Match<'_>, node: NodeId, depth: usize) -> Option<Self> {
        let part = |slot: usize| {
            let value = m.graph().node_input(node, slot)?;
            Some((value, Self::read(m, value, depth - 1, m.is_private(value))))
        };
        let (first, a) = part(0)?;
        let op = &*m.graph().node(node).op.name;
        let mut c = [0.0; 4];
        if op == "Neg" {
            return Some(Self { c: a.c.map(|c| -c), ..a }.with(node, Vec::new()));
        }
        let (second, b) = part(1)?;
        let widens = |number: &Self, other: ValueId| {
            number.leaf.is_none() && number.rank > 0 && m.facts().rank(other).is_none_or(|r| r < number.rank)
        };
        let differ = a.leaf.is_some() && b.leaf.is_some() && a.leaf != b.leaf;
        if differ || widens(&a, second) || widens(&b, first) {
            return None;
        }
        match op {
            "Add" => c.iter_mut().zip(a.c.iter().zip(b.c)).for_each(|(c, (a, b))| *c = a + b),
            "Sub" => c.iter_mut().zip(a.c.iter().zip(b.c)).for_each(|(c, (a, b))| *c = a - b),
            "Mul" => c = times(a.c, b.c)?,
            "Div" if b.leaf.is_none() && b.c[0] != 0.0 => c = a.c.map(|c| c / b.c[0]),
            "Pow" if b.leaf.is_none() && is(b.c[0], 2.0) => c = times(a.c, a.c)?,
            "Pow" if b.leaf.is_none() && is(b.c[0], 3.0) => c = times(times(a.c, a.c)?, a.c)?,
            _ => return None,
        }
        Some(Self { leaf: a.leaf.or(b.leaf), c, inner: a.inner, rank: 0 }.with(node, b.inner))
    }

    fn with(mut self, node: NodeId, more: Vec<NodeId>) -> Self {
        self.inner.extend(more);
        self.inner.push(node);
        self
    }
}

fn times(a: [f64; 4], b: [f64; 4]) -> Option<[f64; 4]> {
    let mut c = [0.0; 4];
    for (i, a) in a.iter().enumerate() {
        for (j, b) in b.iter().enumerate().filter(|(_, b)| **b != 0.0 && *a != 0.0) {
            *c.get_mut(i + j)? += a * b;
        }
    }
    Some(c)
}

/// The number in a constant of one element, and its rank.
fn number(m: &Match<'_>, value: ValueId) -> Option<(f64, usize)> {
    let data = m.constant_of(value).filter(|data| data.len() == 1)?;
    let number = data.to_f64().or_else(|| data.to_i64().map(|n| n as f64))?;
    number.is_finite().then_some((number, data.rank()))
}

/// A number times some values.
pub(super) struct Product {
    pub scale: f64,
    pub factors: Vec<ValueId>,
    /// The operators that compute it, but the root.
    pub inner: Vec<NodeId>,
}

impl Product {
    /// Reads the root of the match, a `Mul` or a `Div` by a number.
    pub(super) fn of_root(m: &Match<'_>) -> Option<Self> {
        let mut product = Self { scale: 1.0, factors: Vec::new(), inner: Vec::new() };
        product.open(m, m.root(), DEPTH)?;
        Some(product)
    }

    /// The two values that it multiplies, both ways round.
    pub(super) fn pairs(&self) -> Option<[(ValueId, ValueId); 2]> {
        let &[a, b] = self.factors.as_slice() else { return None };
        Some([(a, b), (b, a)])
    }

    fn open(&mut self, m: &Match<'_>, node: NodeId, depth: usize) -> Option<()> {
        let input = |slot: usize| m.graph().node_input(node, slot);
        let (a, b) = (input(0)?, input(1)?);
        let divides = m.graph().node(node).is("Div");
        for (value, other, below) in [(a, b, false), (b, a, divides)] {
            if let Some((number, rank)) = number(m, value) {
                if rank > 0 && m.facts().rank(other).is_none_or(|r| r < rank) {
                    return None;
                }
                self.scale = if below { self.scale / number } else { self.scale * number };
                continue;
            }
            if below {
                return None;
            }
            let inside = m.made_by(value, &["Mul", "Div"]).filter(|_| depth > 0 && m.is_private(value));
            let mut opened = Self { scale: self.scale, factors: Vec::new(), inner: Vec::new() };
            match inside.and_then(|node| opened.open(m, node, depth - 1).map(|()| node)) {
                None => self.factors.push(value),
                Some(node) => {
                    self.scale = opened.scale;
                    self.factors.append(&mut opened.factors);
                    self.inner.append(&mut opened.inner);
                    self.inner.push(node);
                }
            }
        }
        Some(())
    }
}

/// Whether a number is exactly this one.
#[allow(clippy::float_cmp, reason = "exact equality is the question")]
pub(super) fn is(found: f64, wanted: f64) -> bool {
    found == wanted
}

/// Whether a number read off a graph is the one that a formula has: as near as four units in the last place of the
/// element type, which is what writing a constant and multiplying two of them may cost.
pub(super) fn close(found: f64, wanted: f64, dtype: DType) -> bool {
    let precision = match dtype {
        DType::Float16 => 11,
        DType::Bfloat16 => 8,
        DType::Double => 53,
        _ => 24,
    };
    (found - wanted).abs() <= 4.0 * 2f64.powi(-precision) * wanted.abs()
}

/// A number as a float attribute, where the element type cannot tell the difference.
pub(super) fn attribute(number: f64, dtype: DType) -> Option<f32> {
    let rounded = number as f32;
    (rounded.is_finite() && close(f64::from(rounded), number, dtype)).then_some(rounded)
}

/// The element type of a value, where the target has the operator for it.
pub(super) fn supported(m: &Match<'_>, op: &str, value: ValueId) -> Result<DType, Skip> {
    let dtype = m.dtype(value).ok_or_else(|| Skip::because("the element type is not known"))?;
    if m.target().supports_type(op, dtype) {
        return Ok(dtype);
    }
    Err(Skip::because(format!("the target has no {op} of this type")))
}
