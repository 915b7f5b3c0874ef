//! Binding symbolic dims of graph inputs to sizes.

use std::collections::BTreeMap;

use crate::engine::Bindings;
use crate::ir::{Dim, Graph, Model, ValueId, ValueType};
use crate::recipe::DimKey;

/// Sizes by input, and there by symbol or by axis, as a recipe says them.
pub type InputDims = BTreeMap<String, BTreeMap<DimKey, u64>>;

/// Why a dim could not be bound.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BindError {
    /// No such input.
    #[error("no input is called `{name}`; the model has: {inputs}")]
    NoInput {
        /// As asked for.
        name: String,
        /// Those that there are.
        inputs: String,
    },
    /// No such dim.
    #[error("{place} has no dim `{dim}`; it has: {dims}")]
    NoDim {
        /// The input, or the model.
        place: String,
        /// As asked for.
        dim: String,
        /// Those that there are.
        dims: String,
    },
    /// The dim has another size already.
    #[error("dim {axis} of input `{name}` is {size}, and cannot become {wanted}")]
    Fixed {
        /// The input.
        name: String,
        /// The axis.
        axis: usize,
        /// Its size.
        size: u64,
        /// The size asked for.
        wanted: u64,
    },
    /// The first dims of the inputs are not one size.
    #[error("the inputs have no batch in common: their first dims are {symbols}; bind each of them")]
    NoBatch {
        /// The symbols.
        symbols: String,
    },
}

/// Binds the first dim of the inputs. A symbol ends up in the bindings; a dim without a name is set at once.
pub(super) fn batch(model: &mut Model, size: u64, bindings: &mut Bindings) -> Result<(), BindError> {
    let (mut symbols, mut changed): (Vec<String>, Vec<(ValueId, ValueType)>) = (Vec::new(), Vec::new());
    for &input in model.graph.inputs() {
        let value = model.graph.value(input);
        let mut ty = value.ty.clone();
        let ValueType::Tensor { shape: Some(shape), .. } = &mut ty else { continue };
        match shape.first_mut() {
            Some(Dim::Symbol(symbol)) => {
                let symbol = symbol.to_string();
                if !bindings.contains_key(&symbol) && !symbols.contains(&symbol) {
                    symbols.push(symbol);
                }
            }
            Some(dim @ Dim::Unknown(_)) => {
                *dim = Dim::Known(size);
                changed.push((input, ty));
            }
            Some(Dim::Known(old)) if *old != size && value.data.is_none() => {
                return Err(BindError::Fixed { name: value.name.clone(), axis: 0, size: *old, wanted: size });
            }
            _ => {}
        }
    }
    if symbols.len() > 1 {
        let symbols: Vec<_> = symbols.iter().map(|s| format!("`{s}`")).collect();
        return Err(BindError::NoBatch { symbols: symbols.join(", ") });
    }
    bindings.extend(symbols.into_iter().map(|symbol| (symbol, size)));
    changed.into_iter().for_each(|(input, ty)| model.graph.edit_value(input, |v| v.ty = ty));
    Ok(())
}

/// Binds dims that are named by input: by symbol, or by axis. Symbols end up in the bindings; a dim without a name is
/// set at once.
pub(super) fn by_input(model: &mut Model, wanted: &InputDims) -> Result<Bindings, BindError> {
    let mut bindings = Bindings::new();
    for (name, dims) in wanted {
        let graph = &model.graph;
        let input = graph.inputs().iter().copied().find(|&v| graph.value(v).name == *name);
        let input =
            input.ok_or_else(|| BindError::NoInput { name: name.clone(), inputs: input_names(graph) })?;
        let mut ty = graph.value(input).ty.clone();
        for (dim, &size) in dims {
            let place = format!("input `{name}`");
            let found = if let ValueType::Tensor { shape: Some(shape), .. } = &mut ty {
                shape.iter_mut().enumerate().find(|(at, d)| match dim {
                    DimKey::Axis(axis) => *axis as usize == *at,
                    DimKey::Symbol(symbol) => d.symbol() == Some(symbol),
                })
            } else {
                None
            };
            let Some((axis, slot)) = found else {
                return Err(BindError::NoDim {
                    place,
                    dim: dim.to_string(),
                    dims: graph.value(input).ty.to_string(),
                });
            };
            match slot {
                Dim::Symbol(symbol) => drop(bindings.insert(symbol.to_string(), size)),
                Dim::Unknown(_) => *slot = Dim::Known(size),
                Dim::Known(old) if *old == size => {}
                Dim::Known(old) => {
                    return Err(BindError::Fixed { name: name.clone(), axis, size: *old, wanted: size });
                }
            }
        }
        model.graph.edit_value(input, |v| v.ty = ty);
    }
    Ok(bindings)
}

/// Gives symbols their sizes, wherever a declared type names them.
pub(super) fn apply(model: &mut Model, bindings: &Bindings) -> Result<(), BindError> {
    for symbol in bindings.keys() {
        let known = symbols(&model.graph);
        if !known.contains(symbol) {
            let dims = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            return Err(BindError::NoDim { place: "the model".to_owned(), dim: symbol.clone(), dims });
        }
    }
    if !bindings.is_empty() {
        bind_graph(&mut model.graph, bindings);
    }
    Ok(())
}

fn symbols(graph: &Graph) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for &input in graph.inputs() {
        for dim in graph.value(input).ty.shape().unwrap_or_default() {
            if let Some(symbol) = dim.symbol().filter(|s| !found.iter().any(|f| f == s)) {
                found.push(symbol.to_owned());
            }
        }
    }
    found
}

fn input_names(graph: &Graph) -> String {
    graph.inputs().iter().map(|&v| format!("`{}`", graph.value(v).name)).collect::<Vec<_>>().join(", ")
}

fn bind_graph(graph: &mut Graph, bindings: &Bindings) {
    let values: Vec<_> = graph.values().collect();
    for value in values {
        let mut ty = graph.value(value).ty.clone();
        if bind_type(&mut ty, bindings) {
            graph.edit_value(value, |v| v.ty = ty);
        }
    }
    let nodes: Vec<_> = graph.nodes().collect();
    for node in nodes {
        let attrs = &mut graph.node_mut(node).attrs;
        attrs.iter_mut().flat_map(|a| a.value.graphs_mut()).for_each(|body| bind_graph(body, bindings));
    }
}

fn bind_type(ty: &mut ValueType, bindings: &Bindings) -> bool {
    match ty {
        ValueType::Tensor { shape: Some(shape), .. } | ValueType::SparseTensor { shape: Some(shape), .. } => {
            let mut changed = false;
            for dim in shape {
                if let Some(&size) = dim.symbol().and_then(|s| bindings.get(s)) {
                    *dim = Dim::Known(size);
                    changed = true;
                }
            }
            changed
        }
        ValueType::Sequence(item) | ValueType::Optional(item) | ValueType::Map { value: item, .. } => {
            bind_type(item, bindings)
        }
        _ => false,
    }
}
