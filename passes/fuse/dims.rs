//! The dims that a `Reshape` is given.

use crate::prelude::*;

/// The dims of a `Reshape`: numbers, and 0 for those that stay in their place, or -1 for one that does not.
pub(super) fn written(from: &[Expr], to: &[Expr]) -> Option<Vec<i64>> {
    let dims = to.iter().enumerate().map(|(axis, dim)| match dim.known() {
        Some(0) => None,
        Some(n) => Some(n),
        None => Some(if from.get(axis) == Some(dim) { 0 } else { -1 }),
    });
    let dims: Vec<i64> = dims.collect::<Option<_>>()?;
    let open = dims.iter().filter(|&&n| n == -1).count();
    // A -1 beside a 0 would not do for an empty tensor.
    (open == 0 || open == 1 && !dims.contains(&0)).then_some(dims)
}
