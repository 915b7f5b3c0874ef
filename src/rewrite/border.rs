//! The border of a graph: what callers give and get, and what is right behind it.

use super::Scope;
use crate::ir::{IrError, ValueId, ValueType};

impl Scope<'_> {
    /// Lets all that reads an input read a new value of its type, which an operator is to make of the input next.
    pub(crate) fn behind_input(&mut self, input: ValueId, wish: &str) -> Result<ValueId, IrError> {
        let inner = self.add_value(wish)?;
        let ty = self.graph.value(input).ty.clone();
        self.graph.edit_value(inner, |v| v.ty = ty);
        self.graph.replace_uses(input, inner)?;
        Ok(inner)
    }

    /// Lets what makes an output make a new value of its type, which all others read; an operator is to make the output
    /// of it next. `None` where nothing makes it.
    pub(crate) fn before_output(&mut self, output: ValueId, wish: &str) -> Result<Option<ValueId>, IrError> {
        let Some(inner) = self.detach(output, wish)? else { return Ok(None) };
        self.graph.replace_uses(output, inner)?;
        Ok(Some(inner))
    }

    /// Declares another type of a value. What the file says of its dims holds no more.
    pub(crate) fn declare(&mut self, value: ValueId, ty: ValueType) {
        self.graph.edit_value(value, |v| {
            (v.ty, v.declared) = (ty, true);
            v.info.iter_mut().for_each(|info| info.dim_denotations.clear());
        });
    }

    /// Makes values the inputs and outputs of the graph, in this order.
    pub(crate) fn set_border(&mut self, inputs: Vec<ValueId>, outputs: Vec<ValueId>) {
        self.graph.set_inputs(inputs);
        self.graph.set_outputs(outputs);
    }
}
