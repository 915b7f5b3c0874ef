//! Sizes that are products: of a number, and of symbols.

use crate::analysis::Expr;

/// A number times symbols.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Monomial {
    pub number: u64,
    /// In order; one may be there twice.
    pub symbols: Vec<String>,
}

impl Monomial {
    /// The product that an expression is; `None` where it is none, or zero.
    pub fn of(size: &Expr) -> Option<Self> {
        if let Some(known) = size.known() {
            let number = u64::try_from(known).ok().filter(|&n| n > 0)?;
            return Some(Self { number, symbols: Vec::new() });
        }
        let mut symbols: Vec<String> = size.symbols().into_iter().map(str::to_owned).collect();
        symbols.sort_unstable();
        let at = |of: &dyn Fn(&str) -> i64| size.eval(&|name| Some(of(name)));
        let number = at(&|_| 1)?;
        let place = |name: &str| symbols.iter().position(|s| s == name).unwrap_or(0) as i64;
        // A sum, a quotient or a maximum would give itself away at some of these sizes.
        let sizes: [&dyn Fn(&str) -> i64; 3] =
            [&|name| 2 + place(name), &|name| 7 + 4 * place(name), &|_| 61];
        for of in sizes {
            let product = symbols.iter().try_fold(number, |n, name| n.checked_mul(of(name)))?;
            if at(of)? != product {
                return None;
            }
        }
        Some(Self { number: u64::try_from(number).ok().filter(|&n| n > 0)?, symbols })
    }

    /// Whether nothing is left of it.
    pub fn is_one(&self) -> bool {
        self.number == 1 && self.symbols.is_empty()
    }
}

/// How many elements an axis is seen to have: its size where that is known; of a size with symbols its number, which is
/// then the innermost digit of its indices.
pub(super) fn elements(size: &Expr) -> Option<u32> {
    u32::try_from(Monomial::of(size)?.number).ok().filter(|&n| n > 1)
}
