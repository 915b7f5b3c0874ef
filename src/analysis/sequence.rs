//! Operators on sequences and optional values.

use super::calc::Calc;
use super::expr::Expr;
use super::fact::{Fact, Tensor};
use crate::ir::{DType, Node};

/// The outputs of an operator on sequences or optional values; `None` for any other operator.
pub(super) fn outputs(node: &Node, inputs: &[Option<&Fact>], calc: &mut Calc<'_>) -> Option<Vec<Fact>> {
    let input = |slot: usize| inputs.get(slot).copied().flatten().unwrap_or(&Fact::Unknown);
    let scalar = |dtype| Fact::Tensor(Tensor { dtype: Some(dtype), ..Tensor::of(Vec::new()) });
    let item = |fact: &Fact| if let Fact::Sequence(item) = fact { (**item).clone() } else { Fact::Unknown };
    let sequence = |item| Fact::Sequence(Box::new(item));
    Some(vec![match &*node.op.name {
        "SequenceEmpty" => {
            let dtype = node.attrs.int("dtype").and_then(|code| i32::try_from(code).ok());
            let dtype = dtype.map_or(Some(DType::Float), DType::from_code);
            sequence(Fact::Tensor(Tensor { dtype, ..Tensor::UNKNOWN }))
        }
        "SequenceConstruct" => {
            let mut items = inputs.iter().flatten();
            let first = items.next().map_or(Fact::Unknown, |f| without_elems(f));
            sequence(items.fold(first, |a, b| a.join(&without_elems(b), calc)))
        }
        "SequenceInsert" => {
            let old = item(input(0));
            sequence(old.join(&without_elems(input(1)), calc))
        }
        "SequenceErase" => input(0).clone(),
        "SequenceMap" => return Some(vec![Fact::Sequence(Box::default()); node.output_count()]),
        // What is unknown of the items is another unknown in each.
        "SequenceAt" => item(input(0)).forget(calc, &Expr::has_fresh),
        "SequenceLength" => scalar(DType::Int64),
        "OptionalHasElement" => scalar(DType::Bool),
        "SplitToSequence" => sequence(split(node, input(0), input(1), inputs.len() > 1, calc)),
        "ConcatFromSequence" => concat(node, &item(input(0)), calc),
        "Optional" => match input(0) {
            Fact::Unknown => Fact::Unknown,
            known => Fact::Optional(Box::new(known.clone())),
        },
        "OptionalGetElement" => match input(0) {
            Fact::Optional(inner) => (**inner).clone(),
            other => other.clone(),
        },
        "Identity" if !matches!(input(0), Fact::Tensor(_)) => input(0).clone(),
        _ => return None,
    }])
}

fn without_elems(fact: &Fact) -> Fact {
    match fact {
        Fact::Tensor(tensor) => Fact::Tensor(Tensor { elems: None, ..tensor.clone() }),
        other => other.clone(),
    }
}

fn split(node: &Node, data: &Fact, sizes: &Fact, given: bool, calc: &mut Calc<'_>) -> Fact {
    let Some(data) = data.tensor() else { return Fact::Unknown };
    let mut out = Tensor { elems: None, ..data.clone() };
    let rank = data.rank();
    let axis = rank.and_then(|rank| super::rules::axis_of(node.attrs.int("axis").unwrap_or(0), rank));
    out.shape = out.shape.zip(axis).map(|(mut dims, axis)| {
        let drop = !given && node.attrs.int("keepdims") == Some(0);
        if drop {
            dims.remove(axis);
        } else if !given {
            dims[axis] = Expr::of(1);
        } else {
            let each = sizes.tensor().and_then(|t| t.elems.as_ref()).and_then(|e| e.first());
            let even = each.zip(dims.get(axis)).is_some_and(|(each, whole)| {
                let known = whole.known().zip(each.known().filter(|&n| n > 0));
                sizes.tensor().and_then(Tensor::rank) == Some(0) && known.is_some_and(|(w, e)| w % e == 0)
            });
            dims[axis] = each.filter(|_| even).cloned().unwrap_or_else(|| calc.unknown());
        }
        dims
    });
    Fact::Tensor(out)
}

fn concat(node: &Node, item: &Fact, calc: &mut Calc<'_>) -> Fact {
    let Fact::Tensor(item) = item.forget(calc, &Expr::has_fresh) else { return Fact::Unknown };
    let new_axis = node.attrs.int("new_axis") == Some(1);
    let mut out = Tensor { elems: None, ..item };
    out.shape = out.shape.and_then(|mut dims| {
        let rank = dims.len() + usize::from(new_axis);
        let axis = super::rules::axis_of(node.attrs.int("axis")?, rank)?;
        if new_axis {
            dims.insert(axis, calc.unknown());
        } else {
            *dims.get_mut(axis)? = calc.unknown();
        }
        Some(dims)
    });
    Fact::Tensor(out)
}
