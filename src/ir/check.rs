//! The proof that a model keeps the invariants.

use std::ops::Deref;

use super::{Graph, IrError, Model, Origin};

/// A model whose invariants hold. Only [`Model::check`] hands one out, and the writer takes nothing else.
#[derive(Debug, Clone, Copy)]
pub struct Checked<'a>(&'a Model);

impl Deref for Checked<'_> {
    type Target = Model;

    fn deref(&self) -> &Model {
        self.0
    }
}

impl<'a> Checked<'a> {
    pub(super) fn of(model: &'a Model) -> Result<Self, IrError> {
        model.graph.check(None)?;
        model.functions.iter().try_for_each(|f| f.graph.check(None))?;
        Ok(Self(model))
    }
}

impl Graph {
    /// Proves the invariants of this graph and its bodies; `outer` is the graph around a body.
    fn check(&self, outer: Option<&Graph>) -> Result<(), IrError> {
        let broken = |what: String| IrError::Invariant { what, place: self.label() };
        for id in self.values() {
            let value = self.value(id);
            if self.find(&value.name) != Some(id) {
                return Err(broken(format!("the name table does not lead to value `{}`", value.name)));
            }
            if value.origin == Origin::Captured && outer.is_none_or(|g| g.find(&value.name).is_none()) {
                let node = "a body".to_owned();
                return Err(IrError::Dangling { node, name: value.name.clone(), place: self.label() });
            }
            let producer = self.producer(id).is_some();
            if producer && (value.origin != Origin::Local || self.is_input(id)) {
                return Err(IrError::DuplicateValue { name: value.name.clone(), place: self.label() });
            }
            let given = value.origin == Origin::Captured || value.data.is_some() || value.sparse.is_some();
            if !producer && !given && !self.is_input(id) {
                return Err(match self.uses(id).first() {
                    Some(&(node, _)) => IrError::Dangling {
                        node: self.node_label(node),
                        name: value.name.clone(),
                        place: self.label(),
                    },
                    None if self.is_output(id) => {
                        IrError::OutputWithoutProducer { name: value.name.clone(), place: self.label() }
                    }
                    None => broken(format!("value `{}` is neither produced nor read", value.name)),
                });
            }
        }
        if let Some(id) = self.inputs.iter().chain(&self.outputs).find(|v| !self.contains_value(**v)) {
            return Err(broken(format!("{id:?} is listed as input or output, but gone")));
        }
        self.check_nodes()
    }

    fn check_nodes(&self) -> Result<(), IrError> {
        let broken = |what: String| IrError::Invariant { what, place: self.label() };
        for id in self.order()? {
            let node = self.node(id);
            let mut captured: Vec<_> = Vec::new();
            for body in node.attrs.graphs() {
                body.check(Some(self))?;
                captured.extend(body.captured_values().filter_map(|v| self.find(&body.value(v).name)));
            }
            captured.sort_unstable();
            captured.dedup();
            if captured != self.captures(id) {
                return Err(broken(format!(
                    "the capture edges of {} do not match its bodies",
                    self.node_label(id)
                )));
            }
        }
        Ok(())
    }
}
