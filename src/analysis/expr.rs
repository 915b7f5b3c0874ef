//! Symbolic integers, and the one border to `rten-shape-inference`, which simplifies them.
//!
//! That crate computes in `i32` and does not check for overflow. So constants are computed here, in checked `i64`,
//! and an expression crosses the border only where no constant folding inside can leave `i32`. Whatever is refused,
//! or grows too large, becomes a fresh symbol: equal to itself and nothing else.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::Arc;

use rten_shape_inference::{SymExpr, Symbol};

/// Sizes for symbolic dims, by symbol.
pub type Bindings = BTreeMap<String, u64>;

/// The most vertices of one expression; beyond it a fresh symbol stands for the whole.
const MAX_SIZE: usize = 48;

/// An integer that is known, or an expression over symbols. Equal expressions are equal integers; unequal ones may be.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Expr(Inner);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Inner {
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

    /// The expression inside the border, where its constants fit.
    fn inside(&self) -> Option<SymExpr> {
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

fn floor_div(a: i64, b: i64) -> Option<i64> {
    if b > 0 { Some(a.div_euclid(b)) } else { None }
}

fn ceil_div(a: i64, b: i64) -> Option<i64> {
    a.checked_neg().and_then(|a| floor_div(a, b)).and_then(i64::checked_neg)
}

/// Bounds of the constants that folding inside an expression can produce: in sums and products, and in divisors.
fn bounds(expr: &SymExpr) -> Option<(u64, u64)> {
    let limit = |n: u64, d: u64| (n <= i32::MAX as u64 && d <= i32::MAX as u64).then_some((n, d));
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

/// Computes with expressions, and makes up symbols for what cannot be computed.
///
/// A made-up symbol is named by where it arises, so that the same place gives the same symbol again.
pub(crate) struct Calc<'a> {
    /// Names the place.
    pub(crate) place: String,
    made: u32,
    /// Expressions that are the size of some dim: not negative, whatever they look like.
    pub(crate) sizes: &'a mut HashSet<Expr>,
}

impl<'a> Calc<'a> {
    pub(crate) fn new(place: String, sizes: &'a mut HashSet<Expr>) -> Self {
        Self { place, made: 0, sizes }
    }

    /// A symbol for an integer of which nothing is known, or only that it is a size.
    fn make(&mut self, positive: bool) -> Expr {
        let name = format!("{}.{}", self.place, self.made);
        self.made += 1;
        Expr(Inner::Sym(SymExpr::Var(Arc::new(Symbol { name, positive, synthetic: true }))))
    }

    /// A size of which nothing is known.
    pub(crate) fn unknown(&mut self) -> Expr {
        self.make(true)
    }

    /// As many sizes of which nothing is known.
    pub(crate) fn unknowns(&mut self, rank: usize) -> Vec<Expr> {
        (0..rank).map(|_| self.unknown()).collect()
    }

    /// Whether the integer is certainly not negative.
    pub(crate) fn is_size(&self, expr: &Expr) -> bool {
        match &expr.0 {
            Inner::Known(value) => *value >= 0,
            Inner::Sym(inner) => inner.is_positive() || self.sizes.contains(expr),
        }
    }

    /// Simplifies what is safe to simplify; a fresh symbol for the rest.
    fn settle(&mut self, expr: Option<SymExpr>, positive: bool) -> Expr {
        let safe = expr.filter(|e| e.iter().take(2 * MAX_SIZE).count() < 2 * MAX_SIZE && bounds(e).is_some());
        match safe.map(|e| e.simplify()) {
            Some(SymExpr::Value(value)) => Expr::of(i64::from(value)),
            Some(e) if e.iter().take(MAX_SIZE + 1).count() <= MAX_SIZE => {
                let known_size = positive && !e.is_positive();
                let out = Expr(Inner::Sym(e));
                if known_size {
                    self.sizes.insert(out.clone());
                }
                out
            }
            _ => self.make(positive),
        }
    }

    pub(crate) fn add(&mut self, a: &Expr, b: &Expr) -> Expr {
        let positive = self.is_size(a) && self.is_size(b);
        match (a.known(), b.known()) {
            (Some(0), _) => b.clone(),
            (_, Some(0)) => a.clone(),
            (Some(a), Some(b)) => match a.checked_add(b) {
                Some(sum) => Expr::of(sum),
                None => self.make(positive),
            },
            _ => {
                let sum = a.inside().zip(b.inside()).map(|(a, b)| a + b);
                self.settle(sum, positive)
            }
        }
    }

    pub(crate) fn sub(&mut self, a: &Expr, b: &Expr) -> Expr {
        if a == b {
            return Expr::of(0);
        }
        match (a.known(), b.known().and_then(i64::checked_neg)) {
            (_, Some(b)) => self.add(a, &Expr::of(b)),
            _ => {
                let difference = a.inside().zip(b.inside()).map(|(a, b)| a + negated(&b));
                self.settle(difference, false)
            }
        }
    }

    pub(crate) fn mul(&mut self, a: &Expr, b: &Expr) -> Expr {
        let positive = self.is_size(a) && self.is_size(b);
        match (a.known(), b.known()) {
            (Some(0), _) | (_, Some(0)) => Expr::of(0),
            (Some(1), _) => b.clone(),
            (_, Some(1)) => a.clone(),
            (Some(a), Some(b)) => match a.checked_mul(b) {
                Some(product) => Expr::of(product),
                None => self.make(positive),
            },
            _ => {
                let product = a.inside().zip(b.inside()).map(|(a, b)| a * b);
                self.settle(product, positive)
            }
        }
    }

    /// The product of sizes.
    pub(crate) fn product<'e>(&mut self, sizes: impl IntoIterator<Item = &'e Expr>) -> Expr {
        let mut constant = Some(1i64);
        let mut rest: Option<Expr> = None;
        for size in sizes {
            match (size.known(), &rest) {
                (Some(n), _) => constant = constant.and_then(|c| c.checked_mul(n)),
                (None, None) => rest = Some(size.clone()),
                (None, Some(product)) => rest = Some(self.mul(&product.clone(), size)),
            }
        }
        match (constant, rest) {
            (None, _) => self.unknown(),
            (Some(n), None) => Expr::of(n),
            (Some(n), Some(rest)) => self.mul(&Expr::of(n), &rest),
        }
    }

    /// `a / b`, rounded down. The caller knows that `a` is not negative where that matters, and that `b` is not 0.
    pub(crate) fn div(&mut self, a: &Expr, b: &Expr) -> Expr {
        let positive = self.is_size(a) && self.is_size(b);
        match (a.known(), b.known()) {
            (_, Some(1)) => a.clone(),
            (Some(x), Some(y)) => match floor_div(x, y) {
                Some(quotient) => Expr::of(quotient),
                None => self.make(positive),
            },
            (_, Some(y)) if y <= 0 => self.make(positive),
            _ => {
                let quotient = a.inside().zip(b.inside()).map(|(a, b)| a / b);
                self.settle(quotient, positive)
            }
        }
    }

    /// `a / b`, rounded up, for `b > 0`.
    pub(crate) fn div_ceil(&mut self, a: &Expr, b: i64) -> Expr {
        let positive = self.is_size(a);
        match a.known() {
            _ if b == 1 => a.clone(),
            Some(a) => match ceil_div(a, b) {
                Some(quotient) => Expr::of(quotient),
                None => self.make(positive),
            },
            None if b <= 0 => self.make(positive),
            None => {
                let quotient = a.inside().zip(Expr::of(b).inside()).map(|(a, b)| a.div_ceil(&b));
                self.settle(quotient, positive)
            }
        }
    }

    pub(crate) fn min(&mut self, a: &Expr, b: &Expr) -> Expr {
        match (a.known(), b.known()) {
            _ if a == b => a.clone(),
            (Some(a), Some(b)) => Expr::of(a.min(b)),
            (Some(0), None) if self.is_size(b) => Expr::of(0),
            (None, Some(0)) if self.is_size(a) => Expr::of(0),
            _ => {
                let positive = self.is_size(a) && self.is_size(b);
                let least = a.inside().zip(b.inside()).map(|(a, b)| a.min(&b));
                self.settle(least, positive)
            }
        }
    }

    pub(crate) fn max(&mut self, a: &Expr, b: &Expr) -> Expr {
        match (a.known(), b.known()) {
            _ if a == b => a.clone(),
            (Some(a), Some(b)) => Expr::of(a.max(b)),
            (Some(n), None) if n <= 0 && self.is_size(b) => b.clone(),
            (None, Some(n)) if n <= 0 && self.is_size(a) => a.clone(),
            _ => {
                let positive = self.is_size(a) || self.is_size(b);
                let most = a.inside().zip(b.inside()).map(|(a, b)| a.max(&b));
                self.settle(most, positive)
            }
        }
    }

    /// The size that two sizes broadcast to; `None` where they cannot.
    pub(crate) fn broadcast(&mut self, a: &Expr, b: &Expr) -> Option<Expr> {
        Some(match (a.known(), b.known()) {
            _ if a == b => a.clone(),
            (Some(1), _) => b.clone(),
            (_, Some(1)) => a.clone(),
            (Some(_), Some(_)) => return None,
            (Some(_), None) => a.clone(),
            (None, Some(_)) => b.clone(),
            (None, None) => {
                let size = a.inside().zip(b.inside()).map(|(a, b)| a.broadcast(&b));
                self.settle(size, true)
            }
        })
    }
}

fn negated(expr: &SymExpr) -> SymExpr {
    match expr {
        SymExpr::Value(value) => SymExpr::Value(-value),
        SymExpr::Neg(inner) => (**inner).clone(),
        SymExpr::Add(a, b) => negated(a) + negated(b),
        other => -other.clone(),
    }
}
