//! One opset dialect inside, the user's opset outside.
//!
//! [`upgrade()`] raises every operator of the standard to its newest form that means exactly the same; a node without one
//! stays as it was and is opaque. [`form_of`] says how a node is written at an opset: untouched nodes of the file's own
//! opset as the file had them, all others lowered. What an opset cannot say exactly is an [`Unsayable`].
//!
//! Both directions of a change stand side by side in one table, and a test holds the table against the standard.

#[cfg(test)]
mod as_is;
#[allow(clippy::unnecessary_wraps, reason = "every step has the same signature")]
mod axes;
mod dims;
mod draft;
#[allow(clippy::unnecessary_wraps, reason = "every step has the same signature")]
mod elementwise;
mod facts;
mod lower;
#[allow(clippy::unnecessary_wraps, reason = "every step has the same signature")]
mod normalize;
#[allow(clippy::unnecessary_wraps, reason = "every step has the same signature")]
mod pool;
#[allow(clippy::unnecessary_wraps, reason = "every step has the same signature")]
mod resize;
#[allow(clippy::unnecessary_wraps, reason = "every step has the same signature")]
mod table;
#[cfg(test)]
mod tests;
mod upgrade;
#[allow(clippy::unnecessary_wraps, reason = "every step has the same signature")]
mod values;

use std::fmt;

use crate::ir::{Graph, Model, NodeId, OpsetId, Origin, ValueId};
use crate::schema;

pub(crate) use facts::{Captured, Facts};
#[allow(unused_imports, reason = "for engines that evaluate nodes at an opset of their own")]
pub(crate) use lower::lower_call;
pub(crate) use lower::{FormInput, facts_for, form_of};
pub(crate) use upgrade::{fresh_name, upgrade};

/// A node that an opset has no form for.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unsayable {
    /// The node, as messages call it.
    pub node: String,
    /// Its operator.
    pub op: String,
    /// Why: a clause.
    pub what: String,
    /// The opset that was asked for.
    pub opset: i64,
    /// The lowest opset above it that would do, if there is one.
    pub lowest: Option<i64>,
    /// The pass that made the node; `None` for a node of the file.
    pub made_by: Option<&'static str>,
}

impl fmt::Display for Unsayable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.node)?;
        if let Some(pass) = self.made_by {
            write!(f, ", made by {pass},")?;
        }
        write!(f, " cannot be written at opset {}: {}; ", self.opset, self.what)?;
        match self.lowest {
            Some(lowest) => write!(f, "the lowest opset that would do is {lowest}"),
            None => f.write_str("no higher opset would do either, so keep the opset of the file"),
        }
    }
}

impl std::error::Error for Unsayable {}

/// Makes a model ask for another opset: the model and its functions are written at it, with an IR version that has it.
#[allow(dead_code, reason = "for the pipeline and for engines that run models at an opset of their own")]
pub(crate) fn set_opset(model: &mut Model, opset: i64) {
    if set(&mut model.opsets, opset) {
        own_constants(&mut model.graph);
    }
    for function in &mut model.functions {
        if set(&mut function.opsets, opset) {
            own_constants(&mut function.graph);
        }
    }
    model.meta.ir_version = model.meta.ir_version.max(schema::ir_version_for_opset(opset));
}

/// Whether that is a change.
fn set(opsets: &mut Vec<OpsetId>, version: i64) -> bool {
    if let Some(found) = opsets.iter_mut().find(|o| o.domain.is_empty()) {
        return std::mem::replace(&mut found.version, version) != version;
    }
    opsets.push(OpsetId { domain: String::new(), version });
    true
}

/// Makes the constants of upgraded operators constants like all others: the file will have them as such.
fn own_constants(graph: &mut Graph) {
    let values: Vec<ValueId> = graph.values().collect();
    for id in values {
        if graph.value(id).origin == Origin::Synthetic {
            graph.edit_value(id, |v| v.origin = Origin::Local);
        }
    }
    let nodes: Vec<NodeId> = graph.nodes().collect();
    for id in nodes {
        for attr in graph.node_mut(id).attrs.iter_mut() {
            attr.value.graphs_mut().iter_mut().for_each(own_constants);
        }
    }
}
