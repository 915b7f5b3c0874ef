//! Drop a bias that an operator fills with zeros.

use crate::prelude::*;

/// Drop the bias of `Conv`, `ConvTranspose` and `Gemm` where an operator fills it with zeros: `Expand` of zeros, or
/// `ConstantOfShape`.
///
/// Exporters write this where a layer has no bias. Folding would store the zeros, and cannot where that grows the file.
///
/// *Left alone:* a bias that is filled with something else; `Gemm` at opsets at which its third input has to be there.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct DropFilledBias {}

impl Rule for DropFilledBias {
    const META: PassMeta = PassMeta::exact("drop-filled-bias", Family::Simplify);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let (x, w, b) = (p.any(), p.any(), p.any());
        let layer = p.one_of(&["Conv", "ConvTranspose", "Gemm"], (x, w, b));
        rule_fn(move |m, rw| {
            let node = m.node(layer);
            let zeros = filled_with_zeros(m, m.value(b)).ok_or_else(Skip::no_concern)?;
            Skip::unless(zeros, "the bias is filled with other numbers than zero")?;
            let optional = !node.is("Gemm") || m.target().opset("").is_some_and(|opset| opset >= 11);
            Skip::unless(optional, "Gemm needs its third input at this opset")?;
            rw.emit(
                &node.op.name,
                node.attrs.clone(),
                [m.value(x).into(), m.value(w).into()],
                m.output(layer, 0)?,
            );
            Ok(())
        })
    }
}

/// Whether the elements that an operator repeats are zeros; `None` where no such operator makes the value.
fn filled_with_zeros(m: &Match<'_>, bias: ValueId) -> Option<bool> {
    let graph = m.graph();
    let (id, _) = graph.producer(bias)?;
    let node = graph.node(id);
    let items = if node.is("Expand") {
        graph.constant_input(id, 0)?.to_f64s()
    } else if node.is("ConstantOfShape") {
        node.attrs.tensor("value").map_or_else(|| Some(vec![0.0]), TensorData::to_f64s)
    } else {
        return None;
    };
    Some(items.is_some_and(|items| items.iter().all(|&x| x == 0.0)))
}
