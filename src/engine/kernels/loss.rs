//! Losses: `NegativeLogLikelihoodLoss`, `SoftmaxCrossEntropyLoss`.

use super::Kernel;
use super::index::Around;
use super::softmax::log_softmax;
use crate::engine::{EngineError, NodeCall};
use crate::ir::{DType, TensorData};

type Outputs = Result<Vec<TensorData>, EngineError>;

pub(super) const TABLE: &[(&str, Kernel)] =
    &[("NegativeLogLikelihoodLoss", likelihood), ("SoftmaxCrossEntropyLoss", cross_entropy)];

fn likelihood(call: &NodeCall<'_>) -> Outputs {
    let around = classes(call)?;
    let items = call.reals(call.need(0)?)?;
    Ok(vec![loss(call, &items, around)?])
}

fn cross_entropy(call: &NodeCall<'_>) -> Outputs {
    let x = call.need(0)?;
    let around = classes(call)?;
    call.sized(x.dtype(), x.dims())?;
    let mut items = call.reals(x)?;
    let mut lane = vec![0.0; around.size.min(items.len())];
    for start in around.lanes().take(items.len()) {
        let places = (start..).step_by(around.inner);
        lane.iter_mut().zip(places.clone()).for_each(|(to, at)| *to = items[at]);
        log_softmax(&mut lane);
        lane.iter().zip(places).for_each(|(from, at)| items[at] = *from);
    }
    Ok(vec![loss(call, &items, around)?, call.real_tensor(x.dtype(), x.dims(), &items)?])
}

/// `[N, C, ...]` around its classes, when the targets fit.
fn classes(call: &NodeCall<'_>) -> Result<Around, EngineError> {
    let (x, target) = (call.need(0)?.dims(), call.need(1)?.dims());
    let fits = x.len() >= 2 && target.len() + 1 == x.len() && target[0] == x[0] && target[1..] == x[2..];
    let around = if fits { Around::new(x, 1) } else { None };
    around.ok_or_else(|| call.invalid(format_args!("scores {x:?} and targets {target:?} do not fit")))
}

fn loss(call: &NodeCall<'_>, items: &[f64], around: Around) -> Result<TensorData, EngineError> {
    let (dtype, target) = (call.need(0)?.dtype(), call.need(1)?);
    call.sized(DType::Double, target.dims())?;
    let ignored = call.int_attr("ignore_index")?;
    let weights = call.real_option(2)?;
    if weights.as_ref().is_some_and(|w| w.len() != around.size) {
        return Err(call.invalid(format_args!("its weights are not one for each of {} classes", around.size)));
    }
    let (mut losses, mut total) = (Vec::new(), 0.0);
    for (i, class) in call.need_ints(1)?.into_iter().enumerate() {
        if Some(class) == ignored {
            losses.push(0.0);
            continue;
        }
        let known = usize::try_from(class).ok().filter(|&c| c < around.size);
        let class = known.ok_or_else(|| call.invalid(format_args!("{class} is not one of the classes")))?;
        let weight = weights.as_ref().map_or(1.0, |w| w[class]);
        let at = (i / around.inner * around.size + class) * around.inner + i % around.inner;
        losses.push(-items[at] * weight);
        total += weight;
    }
    let sum: f64 = losses.iter().sum();
    match call.str_or("reduction", "mean")?.as_str() {
        "none" => call.real_tensor(dtype, target.dims(), &losses),
        "sum" => call.real_tensor(dtype, &[], &[sum]),
        "mean" => call.real_tensor(dtype, &[], &[sum / total]),
        other => Err(call.invalid(format_args!("reduction `{other}` is unknown"))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::case::{check, f32s, i64s, numbers, refused, run};
    use crate::ir::AttrValue;

    #[test]
    fn losses_weighted_and_ignored() {
        let x = || f32s(&[2, 3], &[-1.0, -2.0, -3.0, -0.5, -0.25, -4.0]);
        let (target, weight) = (|| i64s(&[2], &[0, 2]), || f32s(&[3], &[1.0, 2.0, 3.0]));
        let op = "NegativeLogLikelihoodLoss";
        let how = |r: &str| vec![("reduction", AttrValue::from(r))];
        check(op, &[], &[x(), target(), weight()], &[], &[3.25]);
        check(op, &[], &[x(), target()], &[], &[2.5]);
        check(op, &how("sum"), &[x(), target(), weight()], &[], &[13.0]);
        check(op, &how("none"), &[x(), target(), weight()], &[2], &[1.0, 12.0]);
        check(op, &[("ignore_index", 0.into())], &[x(), target()], &[], &[4.0]);
        let planes = f32s(&[1, 2, 2], &[-1.0, -2.0, -3.0, -4.0]);
        check(op, &how("none"), &[planes, i64s(&[1, 2], &[1, 0])], &[1, 2], &[3.0, 2.0]);
        refused(op, &[], &[x(), i64s(&[2], &[0, 3])]);
        refused(op, &[], &[x(), i64s(&[1], &[0])]);
        let outputs = run("SoftmaxCrossEntropyLoss", &[], &[x(), target()], 2).unwrap();
        assert!((numbers(&outputs[0]).1[0] - 2.373_340_1).abs() < 1e-6);
        assert!((numbers(&outputs[1]).1[5] + 4.339_074_1).abs() < 1e-6);
    }
}
