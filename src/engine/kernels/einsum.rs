//! Einsum.

use super::Kernel;
use super::index::{Offsets, count, strides};
use super::matmul::Ring;
use super::numbers::is_real;
use crate::engine::{EngineError, NodeCall};
use crate::ir::TensorData;

pub(super) const TABLE: &[(&str, Kernel)] = &[("Einsum", einsum)];

/// Terms that one element of the output may sum.
const LONGEST_SUM: usize = 1 << 26;

/// An index of the equation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    /// An axis of the ellipsis.
    Ellipsis(usize),
    Letter(char),
}

/// A term as written: labels before and after an ellipsis, if it has one.
struct Term {
    before: Vec<char>,
    after: Option<Vec<char>>,
}

impl Term {
    fn parse(call: &NodeCall<'_>, text: &str) -> Result<Self, EngineError> {
        let (before, after) = match text.split_once("...") {
            Some((a, b)) => (a, Some(b)),
            None => (text, None),
        };
        let letters = |part: &str| -> Result<Vec<char>, EngineError> {
            match part.chars().find(|c| !c.is_ascii_alphabetic()) {
                Some(c) => Err(call.invalid(format_args!("`{c}` in a term of the equation"))),
                None => Ok(part.chars().collect()),
            }
        };
        Ok(Self { before: letters(before)?, after: after.map(letters).transpose()? })
    }

    fn labels(&self, ellipsis: usize) -> Vec<Label> {
        let before = self.before.iter().map(|&c| Label::Letter(c));
        let dots = (0..if self.after.is_some() { ellipsis } else { 0 }).map(Label::Ellipsis);
        before.chain(dots).chain(self.after.iter().flatten().map(|&c| Label::Letter(c))).collect()
    }

    fn len(&self) -> usize {
        self.before.len() + self.after.as_ref().map_or(0, Vec::len)
    }
}

/// The equation on inputs of known dims.
struct Plan {
    operands: Vec<Vec<Label>>,
    /// The labels of the output, then the summed ones, with their sizes.
    labels: Vec<(Label, u64)>,
    output: usize,
}

fn einsum(call: &NodeCall<'_>) -> Result<Vec<TensorData>, EngineError> {
    let first = call.need(0)?;
    let inputs: Vec<&TensorData> = (0..call.inputs.len()).map(|i| call.need(i)).collect::<Result<_, _>>()?;
    for tensor in &inputs {
        call.same_type(first, tensor)?;
    }
    let plan = Plan::new(call, &inputs)?;
    let out: Vec<u64> = plan.labels[..plan.output].iter().map(|l| l.1).collect();
    call.sized(first.dtype(), &out)?;
    if is_real(first.dtype()) {
        let items: Vec<_> = inputs.iter().map(|t| call.reals(t)).collect::<Result<_, _>>()?;
        return Ok(vec![call.real_tensor(first.dtype(), &out, &plan.sum(call, &inputs, &items)?)?]);
    }
    let items: Vec<_> = inputs.iter().map(|t| call.wrapped(t)).collect::<Result<_, _>>()?;
    let sums = plan.sum(call, &inputs, &items)?;
    Ok(vec![call.whole_tensor(first.dtype(), &out, sums.into_iter().map(i128::from))?])
}

impl Plan {
    fn new(call: &NodeCall<'_>, inputs: &[&TensorData]) -> Result<Self, EngineError> {
        let equation: String = call.str_or("equation", "")?.split(' ').collect();
        let (left, right) = match equation.split_once("->") {
            Some((left, right)) => (left, Some(right)),
            None => (equation.as_str(), None),
        };
        let terms: Vec<Term> = left.split(',').map(|t| Term::parse(call, t)).collect::<Result<_, _>>()?;
        if terms.len() != inputs.len() {
            return Err(call.invalid(format_args!("{} terms for {} inputs", terms.len(), inputs.len())));
        }
        let mut ellipsis = None;
        let (mut operands, mut sizes) = (Vec::new(), Vec::<(Label, u64)>::new());
        for (term, tensor) in terms.iter().zip(inputs) {
            let extra = tensor.rank().checked_sub(term.len()).filter(|&e| e == 0 || term.after.is_some());
            let wrong = || call.invalid(format_args!("a term does not fit an input {:?}", tensor.dims()));
            let extra = extra.ok_or_else(wrong)?;
            if term.after.is_some() && *ellipsis.get_or_insert(extra) != extra {
                return Err(wrong());
            }
            let labels = term.labels(extra);
            for (&label, &size) in labels.iter().zip(tensor.dims()) {
                match sizes.iter_mut().find(|l| l.0 == label) {
                    None => sizes.push((label, size)),
                    Some(known) if known.1 == size => {}
                    Some(known) if matches!(label, Label::Ellipsis(_)) && known.1 == 1 => known.1 = size,
                    Some(_) if matches!(label, Label::Ellipsis(_)) && size == 1 => {}
                    Some(_) => return Err(wrong()),
                }
            }
            operands.push(labels);
        }
        let output = match right {
            Some(text) => Term::parse(call, text)?.labels(ellipsis.unwrap_or(0)),
            None => implicit(&operands, &sizes),
        };
        let mut labels = Vec::new();
        for label in &output {
            let size = sizes.iter().find(|l| l.0 == *label);
            let size = size.filter(|_| labels.iter().all(|(l, _)| l != label));
            labels
                .push(*size.ok_or_else(|| call.invalid("the output term has a label twice, or a new one"))?);
        }
        let output = labels.len();
        labels.extend(sizes.into_iter().filter(|l| !labels[..output].contains(l)).collect::<Vec<_>>());
        Ok(Self { operands, labels, output })
    }

    /// Sums the products; the size of the output has been checked.
    fn sum<T: Ring>(
        &self,
        call: &NodeCall<'_>,
        inputs: &[&TensorData],
        items: &[Vec<T>],
    ) -> Result<Vec<T>, EngineError> {
        let sizes: Vec<u64> = self.labels.iter().map(|l| l.1).collect();
        let (out, summed) = sizes.split_at(self.output);
        let too_long = || call.unsupported("a sum of that many terms");
        let terms = count(summed).filter(|&n| n <= LONGEST_SUM).ok_or_else(too_long)?;
        let (mut starts, mut steps) = (Vec::new(), Vec::new());
        for (labels, tensor) in self.operands.iter().zip(inputs) {
            let own = strides(tensor.dims());
            let stride = |(label, _): &(Label, u64)| -> isize {
                let axes = labels.iter().zip(tensor.dims()).zip(&own);
                axes.filter(|((l, d), _)| *l == label && **d != 1).map(|(_, s)| *s as isize).sum()
            };
            let all: Vec<isize> = self.labels.iter().map(stride).collect();
            starts.push(Offsets::new(out, &all[..self.output], 0));
            steps.push(Offsets::new(summed, &all[self.output..], 0).collect::<Vec<_>>());
        }
        let mut result = Vec::with_capacity(count(out).unwrap_or(0));
        for _ in 0..count(out).unwrap_or(0) {
            let at: Vec<usize> = starts.iter_mut().filter_map(Iterator::next).collect();
            let mut sum = T::ZERO;
            for term in 0..terms {
                let mut product = T::ONE;
                for ((steps, items), start) in steps.iter().zip(items).zip(&at) {
                    product = product.times(items[start + steps[term]]);
                }
                sum = sum.plus(product);
            }
            result.push(sum);
        }
        Ok(result)
    }
}

/// The output of an equation without one: the ellipsis, then every letter that occurs once, in order.
fn implicit(operands: &[Vec<Label>], sizes: &[(Label, u64)]) -> Vec<Label> {
    let once = |label: &Label| {
        matches!(label, Label::Ellipsis(_)) || operands.iter().flatten().filter(|l| *l == label).count() == 1
    };
    let mut labels: Vec<Label> = sizes.iter().map(|l| l.0).filter(once).collect();
    labels.sort_unstable();
    labels
}

#[cfg(test)]
mod tests {
    use super::super::case::{check, f32s, i64s, refused};
    use crate::ir::AttrValue;

    #[test]
    fn equations() {
        let m = || f32s(&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
        let v = || f32s(&[2], &[1.0, 10.0]);
        let equation = |e: &str| [("equation", AttrValue::from(e))];
        for (text, inputs, dims, want) in [
            ("ij->ji", vec![m()], vec![2, 2], vec![1.0, 3.0, 2.0, 4.0]),
            ("ii", vec![m()], vec![], vec![5.0]),
            ("ii->i", vec![m()], vec![2], vec![1.0, 4.0]),
            ("ba", vec![m()], vec![2, 2], vec![1.0, 3.0, 2.0, 4.0]),
            ("ij, j -> i", vec![m(), v()], vec![2], vec![21.0, 43.0]),
            ("i,j", vec![v(), v()], vec![2, 2], vec![1.0, 10.0, 10.0, 100.0]),
            ("...j,jk", vec![m(), m()], vec![2, 2], vec![7.0, 10.0, 15.0, 22.0]),
            ("...,...->...", vec![m(), f32s(&[1, 2], &[1.0, 10.0])], vec![2, 2], vec![1.0, 20.0, 3.0, 40.0]),
            ("Ab->", vec![m()], vec![], vec![10.0]),
        ] {
            check("Einsum", &equation(text), &inputs, &dims, &want);
        }
        check("Einsum", &equation("i,i"), &[i64s(&[2], &[2, 3]), i64s(&[2], &[4, 5])], &[], &[23.0]);
        for text in ["ijk", "i", "ij->iij", "ij->k", "i1", "ij,ij", ""] {
            refused("Einsum", &equation(text), &[m()]);
        }
    }
}
