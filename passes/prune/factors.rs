//! Smaller layers in the place of one.

use crate::prelude::*;

use super::forms::Factor;
use super::layers::Layer;

/// Puts factors in the place of a layer, the last of which takes over its name, bias and result, with numbers added to the
/// bias.
pub(super) fn place(
    pass: &'static str,
    scope: &mut Scope<'_>,
    layer: &Layer,
    factors: &[Factor],
    shift: Option<&[f64]>,
) -> anyhow::Result<()> {
    let Some(data) = scope.graph.constant(layer.weight).cloned() else { return Ok(()) };
    let kernel = layer.kernel(&data);
    let cells = |looks: &[bool]| -> Vec<u64> {
        kernel.iter().zip(looks).map(|(&k, &looks)| if looks { k } else { 1 }).collect()
    };
    let tensor = |factor: &Factor| layer.alike(&factor.matrix, &cells(&factor.looks), data.dtype());
    let tensors: Option<Vec<TensorData>> = factors.iter().map(tensor).collect();
    let tensors = tensors.ok_or_else(|| anyhow::anyhow!("a factor has no dims of a weight"))?;
    if let Some(shift) = shift {
        layer.add(scope, shift, data.dtype())?;
    }
    let bias = scope.graph.node_input(layer.node, 2);
    let (op, attrs) = (scope.graph.node(layer.node).op.clone(), scope.graph.node(layer.node).attrs.clone());
    let wish = |value: ValueId, scope: &Scope<'_>, at: usize| {
        format!("{}_factor{at}", scope.graph.value(value).name)
    };
    let mut input = layer.input;
    for (at, (factor, tensor)) in factors.iter().zip(tensors).enumerate() {
        let weight = scope.add_constant(&wish(layer.weight, scope, at), tensor)?;
        let is_last = at + 1 == factors.len();
        let mut inputs = vec![Some(input), Some(weight)];
        inputs.extend(bias.filter(|_| is_last).map(Some));
        let attrs = if layer.is_conv() { looking(&attrs, kernel, &factor.looks) } else { attrs.clone() };
        let new = NewOp { pass, stands_for: &[layer.node], op: op.clone(), attrs, inputs: &inputs };
        if is_last {
            scope.exchange(layer.node, new, layer.output)?;
        } else {
            input = scope.append(new, &wish(layer.output, scope, at))?;
        }
    }
    scope.remove_if_dead(layer.weight);
    Ok(())
}

/// The attributes of a convolution, of which a factor looks along some axes only.
fn looking(attrs: &Attrs, kernel: &[u64], looks: &[bool]) -> Attrs {
    let mut attrs = attrs.clone();
    let along = |items: &[i64], other: i64| -> Vec<i64> {
        items.iter().zip(looks.iter().cycle()).map(|(&x, &looks)| if looks { x } else { other }).collect()
    };
    let cells: Vec<i64> = kernel.iter().map(|&k| k as i64).collect();
    attrs.set("kernel_shape", along(&cells, 1));
    // Of what looks at one cell after the other, all else is as it is where it is not said.
    let nowhere = !looks.contains(&true);
    for (name, other) in [("strides", 1), ("dilations", 1), ("pads", 0)] {
        if nowhere {
            attrs.remove(name);
        } else if let Some(items) = attrs.ints(name).map(|items| along(items, other)) {
            attrs.set(name, items);
        }
    }
    if nowhere {
        attrs.remove("auto_pad");
    }
    attrs
}
