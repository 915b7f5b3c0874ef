//! Other element types of inputs and outputs.

use std::collections::BTreeMap;

use crate::prelude::*;

use super::border::{Side, insert, named, parts};

/// Give inputs and outputs other element types, with a `Cast` behind or before them.
///
/// For callers that have no `int64`, or pictures in `uint8`. The answers are the same for all numbers that both types have:
/// a `Cast` to a narrower type at an output says nothing of numbers that it cannot hold, and cuts off fractions.
///
/// *Left alone:* what is no tensor of a known type, inputs that a caller may leave out or that are outputs at once, and
/// outputs that no operator makes.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IoDtype {
    /// The new type of single inputs and outputs, by name.
    pub names: BTreeMap<String, String>,
    /// The new type of all others, by the old one, such as `int64: int32`.
    pub types: BTreeMap<String, String>,
}

const ID: &str = "io-dtype";

impl Pass for IoDtype {
    fn meta(&self) -> &'static PassMeta {
        const { &PassMeta::lossy(ID, Family::Convert).growing() }
    }

    fn run(&self, model: &mut Model, cx: &mut PassContext<'_>) -> anyhow::Result<Summary> {
        let types = (self.types.iter().map(|(old, new)| Ok((number(old)?, number(new)?))))
            .collect::<anyhow::Result<BTreeMap<DType, DType>>>()?;
        let names = (self.names.iter().map(|(name, new)| Ok((name.clone(), number(new)?))))
            .collect::<anyhow::Result<BTreeMap<String, DType>>>()?;
        for new in names.values().chain(types.values()) {
            let opset = cx.target.opset("").unwrap_or(1);
            let known = cx.target.supports_type("Cast", *new);
            anyhow::ensure!(known, "opset {opset} has no Cast to {}", new.name());
        }
        check_names(&model.graph, &names)?;
        let mut summary = Summary::default();
        main_graph(model, cx, &mut |scope, _| {
            let inputs = scope.graph.inputs().iter().map(|&v| (Side::Input, v));
            let outputs = scope.graph.outputs().iter().map(|&v| (Side::Output, v));
            for (side, value) in inputs.chain(outputs).collect::<Vec<_>>() {
                let named = names.get(&scope.graph.value(value).name).copied();
                match plan(scope, side, value, named, &types) {
                    Ok((old, new)) => {
                        let ValueType::Tensor { shape, .. } = scope.graph.value(value).ty.clone() else {
                            continue;
                        };
                        let to = if side == Side::Input { old } else { new };
                        let attrs = Attrs::new().with("to", i64::from(to.code()));
                        let ty = ValueType::Tensor { dtype: Some(new), shape };
                        insert(scope, (side, value), ty, (ID, "Cast", attrs))?;
                        summary.applied += 1;
                    }
                    Err(skip) => summary.leave(skip),
                }
            }
            Ok(())
        })?;
        Ok(summary)
    }
}

/// The old and the new type of a value of the border.
fn plan(
    scope: &Scope<'_>,
    side: Side,
    value: ValueId,
    named: Option<DType>,
    types: &BTreeMap<DType, DType>,
) -> Result<(DType, DType), Skip> {
    let Some(old) = scope.graph.value(value).ty.dtype() else {
        Skip::unless(named.is_none(), "it is no tensor of a known type")?;
        return Err(Skip::no_concern());
    };
    let new = named.or_else(|| types.get(&old).copied()).filter(|&new| new != old);
    let new = new.ok_or_else(Skip::no_concern)?;
    parts(scope.graph, side, value)?;
    Ok((old, new))
}

fn check_names(graph: &Graph, names: &BTreeMap<String, DType>) -> anyhow::Result<()> {
    for name in names.keys() {
        let one = std::slice::from_ref(name);
        if named(graph, Side::Input, one).is_err() {
            named(graph, Side::Output, one)?;
        }
    }
    Ok(())
}

/// An element type that numbers have.
fn number(name: &str) -> anyhow::Result<DType> {
    let found = DType::from_name(name).filter(|&dtype| dtype != DType::String);
    found.ok_or_else(|| {
        anyhow::anyhow!("`{name}` is no element type of numbers; try `float`, `int32` or `uint8`")
    })
}
