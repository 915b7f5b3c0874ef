//! Arithmetic with symbolic integers.

use std::collections::HashSet;
use std::sync::Arc;

use rten_shape_inference::{SymExpr, Symbol};

use super::expr::{Expr, Inner, bounds, ceil_div, floor_div};

/// The most vertices of one expression; beyond it a fresh symbol stands for the whole.
const MAX_SIZE: usize = 48;

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
        if let Some(less) = b.known().and_then(i64::checked_neg) {
            return self.add(a, &Expr::of(less));
        }
        let difference = a.inside().zip(b.inside()).map(|(a, b)| a + negated(&b));
        self.settle(difference, false)
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
            (_, Some(y)) if y <= 0 => self.make(positive),
            (Some(x), Some(y)) => match floor_div(x, y) {
                Some(quotient) => Expr::of(quotient),
                None => self.make(positive),
            },
            _ => {
                let quotient = a.inside().zip(b.inside()).map(|(a, b)| a / b);
                self.settle(quotient, positive)
            }
        }
    }

    /// `a / b`, rounded up, for `b > 0`: as `1 + (a - 1) / b` rounded down, so that equal sizes look equal.
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
                let less = self.add(a, &Expr::of(-1));
                let quotient = self.div(&less, &Expr::of(b));
                let sum = quotient.inside().map(|q| q + SymExpr::Value(1));
                self.settle(sum, positive)
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
            (Some(x), Some(y)) if x != y && x != 1 && y != 1 => return None,
            // Where one is neither 1 nor unknown, the other is that or 1.
            (_, Some(1)) | (Some(2.. | ..=0), _) => a.clone(),
            (Some(1), _) | (_, Some(_)) => b.clone(),
            (None, None) if a.absorbs(b) => a.clone(),
            (None, None) if b.absorbs(a) => b.clone(),
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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::{Calc, Expr};

    #[derive(Debug, Clone)]
    enum Step {
        Add(usize, usize),
        Sub(usize, usize),
        Mul(usize, usize),
        Div(usize, usize),
        DivCeil(usize, i64),
        Min(usize, usize),
        Max(usize, usize),
        Broadcast(usize, usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        let at = || 0..64usize;
        prop_oneof![
            (at(), at()).prop_map(|(a, b)| Step::Add(a, b)),
            (at(), at()).prop_map(|(a, b)| Step::Sub(a, b)),
            (at(), at()).prop_map(|(a, b)| Step::Mul(a, b)),
            (at(), at()).prop_map(|(a, b)| Step::Div(a, b)),
            (at(), 1..40i64).prop_map(|(a, b)| Step::DivCeil(a, b)),
            (at(), at()).prop_map(|(a, b)| Step::Min(a, b)),
            (at(), at()).prop_map(|(a, b)| Step::Max(a, b)),
            (at(), at()).prop_map(|(a, b)| Step::Broadcast(a, b)),
        ]
    }

    /// What the step gives in plain arithmetic; `None` where a rule would not take it.
    fn plain(step: &Step, numbers: &[i128]) -> Option<i128> {
        let at = |i: &usize| numbers[i % numbers.len()];
        let value = match step {
            Step::Add(a, b) => at(a) + at(b),
            Step::Sub(a, b) => at(a) - at(b),
            Step::Mul(a, b) => at(a) * at(b),
            Step::Div(a, b) if at(a) >= 0 && at(b) > 0 => at(a) / at(b),
            Step::DivCeil(a, b) if at(a) >= 0 => (at(a) + i128::from(*b) - 1) / i128::from(*b),
            Step::Min(a, b) => at(a).min(at(b)),
            Step::Max(a, b) => at(a).max(at(b)),
            Step::Broadcast(a, b) => match (at(a), at(b)) {
                (1, n) | (n, 1) if n >= 0 => n,
                (a, b) if a == b && a >= 0 => a,
                _ => return None,
            },
            _ => return None,
        };
        (value.abs() < 1 << 60).then_some(value)
    }

    fn symbolic(step: &Step, exprs: &[Expr], calc: &mut Calc<'_>) -> Option<Expr> {
        let at = |i: &usize| &exprs[i % exprs.len()];
        Some(match step {
            Step::Add(a, b) => calc.add(at(a), at(b)),
            Step::Sub(a, b) => calc.sub(at(a), at(b)),
            Step::Mul(a, b) => calc.mul(at(a), at(b)),
            Step::Div(a, b) => calc.div(at(a), at(b)),
            Step::DivCeil(a, b) => calc.div_ceil(at(a), *b),
            Step::Min(a, b) => calc.min(at(a), at(b)),
            Step::Max(a, b) => calc.max(at(a), at(b)),
            Step::Broadcast(a, b) => calc.broadcast(at(a), at(b))?,
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        /// Whatever simplification does, an expression without made-up symbols gives the number it stands for.
        #[test]
        fn expressions_mean_what_they_compute(
            sizes in prop::array::uniform3(1..60i64),
            constants in prop::array::uniform4(prop_oneof![1..9i64, 1..3000i64, 1..5_000_000_000i64, -9..9i64]),
            steps in prop::collection::vec(step(), 1..40),
        ) {
            let mut known = HashSet::new();
            let mut calc = Calc::new("?".to_owned(), &mut known);
            let mut exprs = vec![Expr::size("a"), Expr::size("b"), Expr::size("c")];
            let mut numbers: Vec<i128> = sizes.iter().map(|&n| i128::from(n)).collect();
            exprs.extend(constants.iter().map(|&n| Expr::of(n)));
            numbers.extend(constants.iter().map(|&n| i128::from(n)));
            let size_of = |name: &str| match name {
                "a" => Some(sizes[0]),
                "b" => Some(sizes[1]),
                "c" => Some(sizes[2]),
                _ => None,
            };
            for step in &steps {
                let Some(number) = plain(step, &numbers) else { continue };
                let Some(expr) = symbolic(step, &exprs, &mut calc) else {
                    prop_assert!(false, "{step:?} is refused, but gives {number}");
                    continue;
                };
                if expr.has_fresh() {
                    continue;
                }
                prop_assert_eq!(expr.eval(&size_of).map(i128::from), Some(number), "{:?} gave {}", step, expr);
                if calc.is_size(&expr) {
                    prop_assert!(number >= 0, "{} is {}", expr, number);
                }
                exprs.push(expr);
                numbers.push(number);
            }
        }
    }

    #[test]
    fn constants_beyond_32_bits_stay_exact_and_never_meet_a_symbol() {
        let mut known = HashSet::new();
        let mut calc = Calc::new("?".to_owned(), &mut known);
        let (n, big) = (Expr::size("n"), Expr::of(1 << 16));
        assert_eq!(calc.mul(&big, &big), Expr::of(1 << 32));
        let once = calc.mul(&n, &big);
        assert_eq!(once.to_string(), "65536 * n");
        let twice = calc.mul(&once, &big);
        assert!(twice.is_fresh(), "{twice}");
        let halves = calc.product([&n, &big, &big]);
        assert!(halves.is_fresh(), "{halves}");
        assert!(calc.add(&n, &Expr::of(i64::MAX)).is_fresh());
        assert!(calc.add(&Expr::of(1), &Expr::of(i64::MAX)).is_fresh());
    }

    #[test]
    fn a_negative_factor_of_both_may_go() {
        let mut known = HashSet::new();
        let mut calc = Calc::new("?".to_owned(), &mut known);
        let negative = calc.min(&Expr::size("n"), &Expr::of(-2));
        let above = calc.mul(&negative, &Expr::of(-5));
        let square = calc.mul(&negative, &above);
        let below = calc.mul(&negative, &Expr::of(-3));
        for (above, below, value) in [(&square, &above, -2), (&above, &below, 1), (&square, &below, -4)] {
            let quotient = calc.div(above, below);
            assert!(!quotient.has_fresh(), "{above} / {below}");
            assert_eq!(quotient.eval(&|_| Some(7)), Some(value), "{above} / {below} gave {quotient}");
        }
    }

    #[test]
    fn long_sums_become_one_symbol() {
        let mut known = HashSet::new();
        let mut calc = Calc::new("?".to_owned(), &mut known);
        let mut sum = Expr::of(0);
        for i in 0..1000 {
            sum = calc.add(&sum, &Expr::size(&format!("s{i}")));
            assert!(sum.symbols().len() < 60);
        }
        assert!(sum.has_fresh());
    }
}
