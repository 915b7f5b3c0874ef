//! New names that collide with nothing, anywhere in the model.

use std::collections::HashMap;

use crate::ir::{Graph, IrError, Model, Origin};

/// How many graphs of a model define each name, and the last number tried for each stem.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    taken: HashMap<String, usize>,
    last: HashMap<String, usize>,
}

impl Names {
    /// The names of a model: those of its bodies and functions included, since a body may not shadow a name.
    pub(crate) fn of(model: &Model) -> Self {
        let mut names = Self::default();
        names.add_locals(&model.graph);
        model.functions.iter().for_each(|f| names.add_locals(&f.graph));
        names
    }

    fn add_locals(&mut self, graph: &Graph) {
        locals(graph, &mut |name| *self.taken.entry(name.to_owned()).or_default() += 1);
    }

    /// Frees every name that a graph which is gone defined.
    pub(crate) fn release_locals(&mut self, graph: &Graph) {
        locals(graph, &mut |name| self.release(name));
    }

    /// Frees the name of a value that is gone.
    pub(crate) fn release(&mut self, name: &str) {
        if let Some(count) = self.taken.get_mut(name) {
            *count = count.saturating_sub(1);
        }
    }

    /// The wished name if it is free, else the wished name with the next free number.
    pub(crate) fn fresh(&mut self, wish: &str) -> String {
        let wish = if wish.is_empty() { "value" } else { wish };
        if self.take(wish) {
            return wish.to_owned();
        }
        let mut count = self.last.get(wish).copied().unwrap_or(0);
        loop {
            count += 1;
            let name = format!("{wish}_{count}");
            if self.take(&name) {
                self.last.insert(wish.to_owned(), count);
                return name;
            }
        }
    }

    /// Takes names for everything that a body and the bodies in it define: its own as far as they are free, so that it
    /// hides nothing around the place where it is put.
    pub(crate) fn claim(&mut self, body: &mut Graph) -> Result<(), IrError> {
        let values: Vec<_> = body.values().filter(|&v| body.value(v).origin != Origin::Captured).collect();
        for value in values {
            let name = self.fresh(&body.value(value).name);
            if name != body.value(value).name {
                body.rename_value(value, &name)?;
            }
        }
        self.claim_inner(body)
    }

    /// The same for the bodies in a graph alone.
    pub(crate) fn claim_inner(&mut self, graph: &mut Graph) -> Result<(), IrError> {
        let nodes: Vec<_> = graph.nodes().collect();
        for node in nodes {
            let attrs = graph.node_mut(node).attrs.iter_mut();
            attrs.flat_map(|a| a.value.graphs_mut()).try_for_each(|body| self.claim(body))?;
        }
        Ok(())
    }

    fn take(&mut self, name: &str) -> bool {
        let count = self.taken.entry(name.to_owned()).or_default();
        let free = *count == 0;
        if free {
            *count = 1;
        }
        free
    }
}

/// Every name that a graph and its bodies define; a captured value has its name from outside.
fn locals(graph: &Graph, f: &mut dyn FnMut(&str)) {
    for value in graph.values().map(|v| graph.value(v)) {
        if value.origin != Origin::Captured {
            f(&value.name);
        }
    }
    for node in graph.nodes() {
        graph.node(node).attrs.graphs().for_each(|body| locals(body, f));
    }
}
