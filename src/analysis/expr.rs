//! Symbolic integers, and the one border to `rten-shape-inference`, which simplifies them.
//!
//! That crate computes in `i32` and does not check for overflow. So constants are computed here, in checked `i64`,
//! and an expression crosses the border only where no constant folding inside can leave `i32`. Whatever is refused,
//! or grows too large, becomes a fresh symbol: equal to itself and nothing else.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use rten_shape_inference::{SymExpr, Symbol};

/// Sizes for symbolic dims, by symbol.
pub type Bindings = BTreeMap<String, u64>;

/// An integer that is known, or an expression over symbols. Equal expressions are equal integers; unequal ones may be.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Expr(pub(super) Inner);

#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Inner {
    Known(i64),
    Sym(SymExpr),
}

impl Expr {
    /// A known integer.
    pub const fn of(value: i64) -> Self {
        Self(Inner::Known(value))
    }

    /// A named size.
    pub(crate) fn size(name: &str) -> Self {
        Self(Inner::Sym(SymExpr::pos_var(name)))
    }

    /// A size of which only the place is known where it arises.
    pub(crate) fn fresh(place: &str) -> Self {
        let symbol = Symbol { name: place.to_owned(), positive: true, synthetic: true };
        Self(Inner::Sym(SymExpr::Var(Arc::new(symbol))))
    }

    /// The integer, where it is known.
    pub fn known(&self) -> Option<i64> {
        if let Inner::Known(value) = self.0 { Some(value) } else { None }
    }

    /// Whether this is the known integer.
    pub fn is(&self, value: i64) -> bool {
        self.known() == Some(value)
    }

    /// The symbol of the model, where the expression is one.
    pub fn symbol(&self) -> Option<&str> {
        match &self.0 {
            Inner::Sym(SymExpr::Var(symbol)) if !symbol.synthetic => Some(&symbol.name),
            _ => None,
        }
    }

    /// Whether nothing is known but that the integer equals itself.
    pub fn is_fresh(&self) -> bool {
        matches!(&self.0, Inner::Sym(SymExpr::Var(symbol)) if symbol.synthetic)
    }

    /// Whether a symbol stands for something that inference could not compute.
    pub(crate) fn has_fresh(&self) -> bool {
        self.any_symbol(|symbol| symbol.synthetic)
    }

    /// Whether a symbol was made up under this prefix.
    pub(crate) fn is_local_to(&self, prefix: &str) -> bool {
        self.any_symbol(|symbol| symbol.synthetic && symbol.name.starts_with(prefix))
    }

    fn any_symbol(&self, test: impl Fn(&Symbol) -> bool) -> bool {
        match &self.0 {
            Inner::Known(_) => false,
            Inner::Sym(expr) => expr.iter().any(|e| matches!(e, SymExpr::Var(symbol) if test(symbol))),
        }
    }

    /// The integer with these sizes for the symbols; `None` where one is missing, or the result leaves `i64`.
    pub fn eval(&self, size_of: &dyn Fn(&str) -> Option<i64>) -> Option<i64> {
        match &self.0 {
            Inner::Known(value) => Some(*value),
            Inner::Sym(expr) => eval(expr, size_of),
        }
    }

    /// The names of the symbols, as they occur.
    pub fn symbols(&self) -> Vec<&str> {
        match &self.0 {
            Inner::Known(_) => Vec::new(),
            Inner::Sym(expr) => {
                let names = expr.iter().filter_map(|e| {
                    if let SymExpr::Var(symbol) = e { Some(symbol.name.as_str()) } else { None }
                });
                names.collect()
            }
        }
    }

    /// Whether the two sizes, which broadcast together, certainly give this one.
    pub(super) fn absorbs(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Inner::Sym(a), Inner::Sym(b)) => absorbs(a, b),
            _ => false,
        }
    }

    /// The expression inside the border, where its constants fit.
    pub(super) fn inside(&self) -> Option<SymExpr> {
        match &self.0 {
            Inner::Known(value) => i32::try_from(*value).ok().filter(|v| *v != i32::MIN).map(SymExpr::Value),
            Inner::Sym(expr) => Some(expr.clone()),
        }
    }
}

impl From<i64> for Expr {
    fn from(value: i64) -> Self {
        Self::of(value)
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Inner::Known(value) => write!(f, "{value}"),
            Inner::Sym(expr) => write!(f, "{expr}"),
        }
    }
}

impl fmt::Debug for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn eval(expr: &SymExpr, size_of: &dyn Fn(&str) -> Option<i64>) -> Option<i64> {
    let of = |e: &SymExpr| eval(e, size_of);
    match expr {
        SymExpr::Value(value) => Some(i64::from(*value)),
        SymExpr::Var(symbol) => size_of(&symbol.name),
        SymExpr::Neg(a) => of(a)?.checked_neg(),
        SymExpr::Add(a, b) => of(a)?.checked_add(of(b)?),
        SymExpr::Sub(a, b) => of(a)?.checked_sub(of(b)?),
        SymExpr::Mul(a, b) => of(a)?.checked_mul(of(b)?),
        SymExpr::Div(a, b) => floor_div(of(a)?, of(b)?),
        SymExpr::DivCeil(a, b) => ceil_div(of(a)?, of(b)?),
        SymExpr::Max(a, b) => Some(of(a)?.max(of(b)?)),
        SymExpr::Min(a, b) => Some(of(a)?.min(of(b)?)),
        SymExpr::Broadcast(a, b) => match (of(a)?, of(b)?) {
            (1, n) | (n, 1) => Some(n),
            (a, b) => (a == b).then_some(a),
        },
    }
}

/// `a / b`, rounded down; `b` may be negative, as a factor that both had may have been.
pub(super) fn floor_div(a: i64, b: i64) -> Option<i64> {
    match b {
        0 => None,
        1.. => Some(a.div_euclid(b)),
        _ => floor_div(a.checked_neg()?, b.checked_neg()?),
    }
}

pub(super) fn ceil_div(a: i64, b: i64) -> Option<i64> {
    a.checked_neg().and_then(|a| floor_div(a, b)).and_then(i64::checked_neg)
}

/// Whether `a` and `b`, which broadcast together, give `a`: `b` is `a`, or at most `a` and 1 only where `a` is 1.
fn absorbs(a: &SymExpr, b: &SymExpr) -> bool {
    match (a, b) {
        _ if a == b => true,
        (_, SymExpr::Min(x, y)) if matches!(**x, SymExpr::Value(n) if n > 1) => **y == *a,
        (SymExpr::Broadcast(x, y), _) => absorbs(x, b) || absorbs(y, b),
        _ => false,
    }
}

/// Bounds of the constants that folding inside an expression can produce: in sums and products, and in divisors.
pub(super) fn bounds(expr: &SymExpr) -> Option<(u64, u64)> {
    let limit = |n: u64, d: u64| (i32::try_from(n).is_ok() && i32::try_from(d).is_ok()).then_some((n, d));
    match expr {
        SymExpr::Value(value) => limit(u64::from(value.unsigned_abs()).max(1), 1),
        SymExpr::Var(_) => Some((1, 1)),
        SymExpr::Neg(a) => bounds(a),
        SymExpr::Add(a, b) | SymExpr::Sub(a, b) => {
            let ((n, d), (m, e)) = (bounds(a)?, bounds(b)?);
            limit(n + m, d.max(e))
        }
        SymExpr::Mul(a, b) => {
            let ((n, d), (m, e)) = (bounds(a)?, bounds(b)?);
            limit(n.checked_mul(m)?, d.max(e))
        }
        SymExpr::Div(a, b) | SymExpr::DivCeil(a, b) => {
            let ((n, d), (m, _)) = (bounds(a)?, bounds(b)?);
            limit(n, d.checked_mul(m)?)
        }
        SymExpr::Max(a, b) | SymExpr::Min(a, b) | SymExpr::Broadcast(a, b) => {
            let ((n, d), (m, e)) = (bounds(a)?, bounds(b)?);
            limit(n.max(m), d.max(e))
        }
    }
}
