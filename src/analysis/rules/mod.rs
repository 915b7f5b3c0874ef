//! What each operator of the standard makes of the dims and elements of its inputs.
//!
//! A rule sees a node in the newest form of its operator and returns one [`Tensor`] per output; element types are
//! decided elsewhere. It returns `None` where it cannot say anything, or where the node is wrong: a missing fact
//! costs an optimization, a wrong one costs the model.

#![allow(clippy::unnecessary_wraps, reason = "every rule has the same signature")]

mod conv;
mod elementwise;
mod gather;
mod generate;
mod layout;
mod matmul;
mod reduce;
mod reshape;
mod slice;
mod table;
mod vision;

pub(crate) use matmul::einsum_labels;
pub(crate) use table::{keeps_shape, rule};

use super::calc::Calc;
use super::expr::Expr;
use super::fact::Tensor;
use crate::ir::{Node, TensorData};

/// The outputs of a node, in order; slots beyond the end are unknown.
pub(crate) type Outs = Option<Vec<Tensor>>;

/// How one operator transforms dims and elements.
pub(crate) type Rule = fn(&Call<'_>, &mut Calc<'_>) -> Outs;

/// A node with what is known of its inputs.
pub(crate) struct Call<'a> {
    pub(crate) node: &'a Node,
    pub(crate) inputs: Vec<Option<Input<'a>>>,
}

/// What is known of one input.
#[derive(Clone, Copy)]
pub(crate) struct Input<'a> {
    pub(crate) fact: &'a Tensor,
    pub(crate) data: Option<&'a TensorData>,
}

/// The longest list of integers that a rule reads from a constant.
const MAX_LIST: usize = 4096;

impl<'a> Call<'a> {
    pub(crate) fn has(&self, slot: usize) -> bool {
        self.input(slot).is_some()
    }

    fn input(&self, slot: usize) -> Option<&Input<'a>> {
        self.inputs.get(slot)?.as_ref()
    }

    /// The dims of an input.
    pub(crate) fn shape(&self, slot: usize) -> Option<&'a [Expr]> {
        self.input(slot)?.fact.shape.as_deref()
    }

    /// The elements of an input, in row-major order.
    pub(crate) fn elems(&self, slot: usize) -> Option<&'a [Expr]> {
        self.input(slot)?.fact.elems.as_deref()
    }

    /// The single element of an input.
    pub(crate) fn elem(&self, slot: usize) -> Option<&'a Expr> {
        if let [elem] = self.elems(slot)? { Some(elem) } else { None }
    }

    /// The elements of an integer input, where all are known.
    pub(crate) fn ints(&self, slot: usize) -> Option<Vec<i64>> {
        if let Some(elems) = self.elems(slot) {
            return elems.iter().map(Expr::known).collect();
        }
        self.data(slot)?.to_i64s()
    }

    /// The elements of a floating-point input, where it is constant.
    pub(crate) fn floats(&self, slot: usize) -> Option<Vec<f64>> {
        self.data(slot)?.to_f64s()
    }

    fn data(&self, slot: usize) -> Option<&'a TensorData> {
        self.input(slot)?.data.filter(|d| d.len() <= MAX_LIST)
    }

    /// The elements of a list of integers, or as many unknown ones as it has; `None` where not even that is known.
    pub(crate) fn list(&self, slot: usize) -> Option<Vec<Option<Expr>>> {
        if let Some(elems) = self.elems(slot) {
            return Some(elems.iter().cloned().map(Some).collect());
        }
        if let Some(ints) = self.ints(slot) {
            return Some(ints.into_iter().map(|n| Some(Expr::of(n))).collect());
        }
        let [len] = self.shape(slot)? else { return None };
        let len = usize::try_from(len.known()?).ok().filter(|&n| n <= MAX_LIST)?;
        Some(vec![None; len])
    }

    pub(crate) fn int(&self, name: &str, default: i64) -> i64 {
        self.node.attrs.int(name).unwrap_or(default)
    }

    /// An axis attribute, counted from the front.
    pub(crate) fn axis(&self, name: &str, default: i64, rank: usize) -> Option<usize> {
        axis_of(self.int(name, default), rank)
    }
}

/// An axis counted from the front; `None` outside the rank.
pub(crate) fn axis_of(axis: i64, rank: usize) -> Option<usize> {
    let rank = i64::try_from(rank).ok()?;
    let axis = if axis < 0 { axis + rank } else { axis };
    (0..rank).contains(&axis).then_some(axis as usize)
}

/// Axes counted from the front, each once.
pub(crate) fn axes_of(axes: &[i64], rank: usize) -> Option<Vec<usize>> {
    let mut found = Vec::with_capacity(axes.len());
    for &axis in axes {
        let axis = axis_of(axis, rank)?;
        if found.contains(&axis) {
            return None;
        }
        found.push(axis);
    }
    Some(found)
}

/// Where each axis of the result of a `Transpose` comes from; without an attribute they are reversed.
pub(crate) fn perm_of(node: &Node, rank: usize) -> Option<Vec<usize>> {
    match node.attrs.ints("perm") {
        Some(perm) => axes_of(perm, rank).filter(|perm| perm.len() == rank),
        None => Some((0..rank).rev().collect()),
    }
}

/// One output.
pub(crate) fn one(out: Tensor) -> Outs {
    Some(vec![out])
}

/// One output of these dims.
pub(crate) fn dims(shape: Vec<Expr>) -> Outs {
    one(Tensor::of(shape))
}

/// A tensor of rank 0.
pub(crate) fn scalar() -> Tensor {
    Tensor::of(Vec::new())
}

/// An element that is to be a size: itself, where it cannot be negative, else unknown.
pub(crate) fn size(elem: Option<&Expr>, calc: &mut Calc<'_>) -> Expr {
    match elem {
        Some(e) if calc.is_size(e) => e.clone(),
        _ => calc.unknown(),
    }
}
