//! Our own evaluation of one node on constants: exact to the bit for every operator that only moves data, in every
//! element type, with one rounding an element for those that compute.
//!
//! A kernel never allocates more than [`NodeCall::limit`] for one output without having checked it, and answers
//! whatever the standard leaves undefined with an error instead of a guess.

// Kernels tell special values apart exactly.
#![allow(clippy::float_cmp)]

mod activation;
mod args;
mod arithmetic;
mod arrange;
mod attention;
#[cfg(test)]
mod case;
mod cast;
mod cells;
mod compare;
mod conv;
mod deform;
mod einsum;
mod gather;
mod generate;
mod index;
pub(crate) mod integer;
mod linear_attention;
mod loss;
mod matmul;
mod minifloat;
mod nbits;
mod ngrams;
#[cfg(test)]
mod nonsense_tests;
mod normalize;
mod numbers;
#[cfg(test)]
mod odd;
mod permute;
mod pool;
mod quantize;
mod recurrent;
mod reduce;
mod regions;
mod resize;
mod rnn;
mod sampling;
mod scalar;
mod scan;
mod search;
mod select;
mod shape;
mod softmax;
mod spectral;
#[cfg(test)]
mod testing;
mod text;
mod unary;
mod window;

use super::{EngineError, NodeCall};
use crate::ir::{OpName, TensorData};
pub(crate) use index::count;

/// Evaluates one operator: an output for every slot, up to the last one that it knows.
pub(crate) type Kernel = fn(&NodeCall<'_>) -> Result<Vec<TensorData>, EngineError>;

/// The operators of one file with their kernels, sorted by name.
pub(crate) type Table = &'static [(&'static str, Kernel)];

const TABLES: &[Table] = &[
    activation::TABLE,
    arithmetic::TABLE,
    arrange::TABLE,
    attention::TABLE,
    cast::TABLE,
    compare::TABLE,
    conv::TABLE,
    deform::TABLE,
    einsum::TABLE,
    gather::TABLE,
    generate::TABLE,
    linear_attention::TABLE,
    loss::TABLE,
    matmul::TABLE,
    ngrams::TABLE,
    normalize::TABLE,
    pool::TABLE,
    quantize::TABLE,
    reduce::TABLE,
    regions::TABLE,
    resize::TABLE,
    rnn::TABLE,
    sampling::TABLE,
    scan::TABLE,
    search::TABLE,
    select::TABLE,
    shape::TABLE,
    softmax::TABLE,
    spectral::TABLE,
    text::TABLE,
    unary::TABLE,
];

/// Whether some kernel evaluates this operator; single calls of it may still be unsupported.
pub(crate) fn covers(op: &OpName) -> bool {
    find(op).is_some()
}

/// Evaluates a node: one tensor for every output slot up to the last one that is wanted.
pub(crate) fn eval(call: &NodeCall<'_>) -> Result<Vec<TensorData>, EngineError> {
    let kernel = find(call.op).ok_or_else(|| call.unsupported("there is no kernel for it"))?;
    let mut outputs = kernel(call)?;
    let wanted = call.outputs.iter().rposition(|&wanted| wanted).map_or(0, |last| last + 1);
    if outputs.len() < wanted {
        return Err(call.invalid(format_args!("it has {} outputs, not {wanted}", outputs.len())));
    }
    outputs.truncate(wanted);
    Ok(outputs)
}

fn find(op: &OpName) -> Option<Kernel> {
    let tables = match &*op.domain {
        "" => TABLES,
        integer::MICROSOFT => &[nbits::TABLE],
        _ => return None,
    };
    tables.iter().find_map(|table| {
        let at = table.binary_search_by(|(name, _)| (*name).cmp(&op.name)).ok()?;
        table.get(at).map(|(_, kernel)| *kernel)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_disjoint() {
        for table in TABLES {
            assert!(
                table.windows(2).all(|w| w[0].0 < w[1].0),
                "{:?}",
                table.iter().map(|e| e.0).collect::<Vec<_>>()
            );
        }
        let mut names: Vec<_> = TABLES.iter().flat_map(|t| t.iter().map(|e| e.0)).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
