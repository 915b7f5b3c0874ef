//! One node while its form changes, with what is known of the values around it.

use std::borrow::Cow;

use crate::ir::{AttrValue, Attrs, DType, Dim, Graph, NodeId, OpName, TensorData, ValueId, ValueType};

/// Why a form cannot be changed exactly: a clause that fits behind "because".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal(pub(super) Cow<'static, str>);

pub(super) type Outcome<T = ()> = Result<T, Refusal>;

/// Refuses with a fixed reason.
pub(super) fn refuse<T>(why: &'static str) -> Outcome<T> {
    Err(Refusal(Cow::Borrowed(why)))
}

/// What is known of a value before the model runs.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Fact {
    /// Element type of a tensor.
    pub dtype: Option<DType>,
    /// Dims of a tensor, each where it is known; `None` where not even the rank is.
    pub dims: Option<Vec<Option<u64>>>,
    /// The elements of a constant.
    pub data: Option<TensorData>,
}

impl Fact {
    pub(super) fn of_type(ty: &ValueType) -> Self {
        let dims = ty.shape().map(|s| s.iter().map(Dim::known).collect());
        Self { dtype: ty.dtype(), dims, data: None }
    }

    pub(super) fn of_data(data: &TensorData) -> Self {
        let dims = Some(data.dims().iter().map(|&d| Some(d)).collect());
        Self { dtype: Some(data.dtype()), dims, data: Some(data.clone()) }
    }

    /// What the graph itself says of a value.
    pub(super) fn of_value(graph: &Graph, id: ValueId) -> Self {
        match graph.constant(id) {
            Some(data) => Self::of_data(data),
            None => Self::of_type(&graph.value(id).ty),
        }
    }

    pub(super) fn rank(&self) -> Option<usize> {
        self.dims.as_ref().map(Vec::len)
    }

    /// The dims where all are known.
    pub(super) fn known_dims(&self) -> Option<Vec<u64>> {
        self.dims.as_ref()?.iter().copied().collect()
    }

    /// Whether the tensor is known to have exactly one element.
    pub(super) fn is_single(&self) -> bool {
        self.dims.as_ref().is_some_and(|dims| dims.iter().all(|&d| d == Some(1)))
    }
}

/// What fills an input slot of the form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// Nothing.
    Absent,
    /// The value in that input slot of the node as it was before.
    Slot(u16),
    /// A constant that the change made: [`Fact::data`].
    New,
}

/// One input slot.
#[derive(Debug, Clone)]
pub(super) struct Input {
    pub source: Source,
    pub fact: Fact,
}

impl Input {
    const ABSENT: Self = Self { source: Source::Absent, fact: Fact { dtype: None, dims: None, data: None } };

    pub(super) fn is_absent(&self) -> bool {
        self.source == Source::Absent
    }
}

/// One output slot.
#[derive(Debug, Clone, Default)]
pub(super) struct Output {
    /// The output slot of the node as it was before; `None` where no value is in it.
    pub slot: Option<u16>,
    /// Whether anything reads it.
    pub used: bool,
    pub fact: Fact,
}

/// A node between two forms.
#[derive(Debug, Clone)]
pub(super) struct Draft<'a> {
    pub op: Cow<'a, OpName>,
    pub attrs: Cow<'a, Attrs>,
    pub inputs: Vec<Input>,
    pub outputs: Vec<Output>,
}

impl<'a> Draft<'a> {
    /// The form that a node of a graph has now.
    pub(super) fn of_node(graph: &'a Graph, id: NodeId, fact: impl Fn(ValueId) -> Fact) -> Self {
        let node = graph.node(id);
        let inputs = (0..).zip(graph.node_inputs(id)).map(|(slot, value)| match value {
            Some(value) => Input { source: Source::Slot(slot), fact: fact(value) },
            None => Input::ABSENT,
        });
        let outputs = (0..).zip(graph.node_outputs(id)).map(|(slot, value)| match value {
            Some(value) => Output {
                slot: Some(slot),
                used: graph.use_count(value) > 0 || graph.is_pinned(value),
                fact: fact(value),
            },
            None => Output::default(),
        });
        Self {
            op: Cow::Borrowed(&node.op),
            attrs: Cow::Borrowed(&node.attrs),
            inputs: inputs.collect(),
            outputs: outputs.collect(),
        }
    }

    /// The form of a call on constants.
    #[allow(dead_code, reason = "for engines that evaluate nodes at an opset of their own")]
    pub(super) fn of_call(
        op: &'a OpName,
        attrs: &'a Attrs,
        inputs: &[Option<&TensorData>],
        outputs: &[bool],
    ) -> Self {
        let inputs = (0..).zip(inputs).map(|(slot, data)| match data {
            Some(data) => Input { source: Source::Slot(slot), fact: Fact::of_data(data) },
            None => Input::ABSENT,
        });
        let outputs =
            (0..).zip(outputs).map(|(slot, &used)| Output { slot: Some(slot), used, fact: Fact::default() });
        Self {
            op: Cow::Borrowed(op),
            attrs: Cow::Borrowed(attrs),
            inputs: inputs.collect(),
            outputs: outputs.collect(),
        }
    }

    pub(super) fn rename(&mut self, op: &str) {
        self.op = Cow::Owned(OpName::onnx(op));
    }

    /// What is known of an input; nothing of an absent one.
    pub(super) fn fact(&self, slot: usize) -> &Fact {
        self.inputs.get(slot).map_or(&Input::ABSENT.fact, |i| &i.fact)
    }

    pub(super) fn has_input(&self, slot: usize) -> bool {
        self.inputs.get(slot).is_some_and(|i| !i.is_absent())
    }

    pub(super) fn rank(&self, slot: usize) -> Option<usize> {
        self.fact(slot).rank()
    }

    /// The element type of the first input, or of the first output.
    pub(super) fn dtype(&self) -> Option<DType> {
        self.fact(0).dtype.or(self.outputs.first().and_then(|o| o.fact.dtype))
    }

    /// Whether a value is in an output slot and something reads it.
    pub(super) fn uses_output(&self, slot: usize) -> bool {
        self.outputs.get(slot).is_some_and(|o| o.slot.is_some() && o.used)
    }

    /// Puts a new constant into an input slot.
    pub(super) fn give(&mut self, slot: usize, data: &TensorData) {
        self.put(slot, Input { source: Source::New, fact: Fact::of_data(data) });
    }

    pub(super) fn put(&mut self, slot: usize, input: Input) {
        if self.inputs.len() <= slot {
            self.inputs.resize(slot + 1, Input::ABSENT);
        }
        if let Some(place) = self.inputs.get_mut(slot) {
            *place = input;
        }
    }

    /// Empties an input slot and returns what was in it.
    pub(super) fn take_input(&mut self, slot: usize) -> Input {
        let taken = self.inputs.get_mut(slot).map(|i| std::mem::replace(i, Input::ABSENT));
        while self.inputs.last().is_some_and(Input::is_absent) {
            self.inputs.pop();
        }
        taken.unwrap_or(Input::ABSENT)
    }

    /// The constant in an input slot, `None` if the slot is empty. Refuses a value that is computed.
    pub(super) fn constant(&self, slot: usize, name: &str) -> Outcome<Option<TensorData>> {
        let Some(input) = self.inputs.get(slot).filter(|i| !i.is_absent()) else { return Ok(None) };
        match &input.fact.data {
            Some(data) => Ok(Some(data.clone())),
            None => Err(Refusal(format!("its input `{name}` is no constant").into())),
        }
    }

    /// The integers of the constant in an input slot.
    pub(super) fn constant_ints(&self, slot: usize, name: &str) -> Outcome<Option<Vec<i64>>> {
        let Some(data) = self.constant(slot, name)? else { return Ok(None) };
        match data.to_i64s() {
            Some(ints) => Ok(Some(ints)),
            None => Err(Refusal(format!("its input `{name}` holds no integers").into())),
        }
    }
}

/// Typed access to attributes: absent is `None`, another kind (a reference to a function's attribute too) refuses.
macro_rules! attributes {
    ($($get:ident, $take:ident: $variant:ident($ty:ty);)*) => {$(
        pub(super) fn $get(&self, name: &str) -> Outcome<Option<$ty>> {
            match self.attrs.get(name) {
                None => Ok(None),
                Some(AttrValue::$variant(value)) => Ok(Some(value.clone())),
                Some(_) => Err(Refusal(format!("its attribute `{name}` is of another kind").into())),
            }
        }

        #[allow(dead_code, reason = "not every kind of attribute became an input")]
        pub(super) fn $take(&mut self, name: &str) -> Outcome<Option<$ty>> {
            let value = self.$get(name)?;
            if value.is_some() {
                self.drop_attr(name);
            }
            Ok(value)
        }
    )*};
}

impl Draft<'_> {
    attributes! {
        int, take_int: Int(i64);
        ints, take_ints: Ints(Vec<i64>);
        float, take_float: Float(f32);
        floats, take_floats: Floats(Vec<f32>);
        bytes, take_bytes: String(bytes::Bytes);
    }

    /// A string attribute; one that is not UTF-8 refuses.
    pub(super) fn text(&self, name: &str) -> Outcome<Option<String>> {
        let Some(bytes) = self.bytes(name)? else { return Ok(None) };
        match std::str::from_utf8(&bytes) {
            Ok(text) => Ok(Some(text.to_owned())),
            Err(_) => Err(Refusal(format!("its attribute `{name}` is no UTF-8").into())),
        }
    }

    pub(super) fn set(&mut self, name: &str, value: impl Into<AttrValue>) {
        let value = value.into();
        if !self.attrs.get(name).is_some_and(|old| old.same(&value)) {
            self.attrs.to_mut().set(name, value);
        }
    }

    /// Removes an attribute, if it is there.
    pub(super) fn drop_attr(&mut self, name: &str) {
        if self.attrs.get(name).is_some() {
            self.attrs.to_mut().remove(name);
        }
    }

    /// Turns an attribute of integers into a constant input of rank 1. An empty or absent one leaves the slot empty.
    pub(super) fn ints_to_input(&mut self, name: &str, slot: usize) -> Outcome {
        if let Some(ints) = self.take_ints(name)?.filter(|ints| !ints.is_empty()) {
            self.give(slot, &TensorData::vector(&ints));
        }
        Ok(())
    }

    /// Turns a constant input into an attribute of integers. An empty or absent one leaves the attribute out.
    pub(super) fn input_to_ints(&mut self, slot: usize, name: &str) -> Outcome {
        if let Some(ints) = self.constant_ints(slot, name)?.filter(|ints| !ints.is_empty()) {
            self.set(name, ints);
        }
        self.take_input(slot);
        Ok(())
    }

    /// Counts an axis attribute from the front. `rank` is that of the tensor that the axis is an axis of.
    pub(super) fn count_axis_from_front(&mut self, name: &str, rank: Option<usize>) -> Outcome {
        match self.int(name)? {
            Some(axis) if axis < 0 => self.set(name, from_front(axis, rank)?),
            _ => {}
        }
        Ok(())
    }

    /// Counts the axes of an attribute from the front.
    pub(super) fn count_axes_from_front(&mut self, name: &str, rank: Option<usize>) -> Outcome {
        let axes = self.ints(name)?.unwrap_or_default();
        if axes.iter().any(|&a| a < 0) {
            let axes: Vec<_> = axes.iter().map(|&a| from_front(a, rank)).collect::<Outcome<_>>()?;
            self.set(name, axes);
        }
        Ok(())
    }
}

/// The same axis counted from the front.
pub(super) fn from_front(axis: i64, rank: Option<usize>) -> Outcome<i64> {
    if axis >= 0 {
        return Ok(axis);
    }
    match rank.and_then(|r| i64::try_from(r).ok()?.checked_add(axis)) {
        Some(axis) if axis >= 0 => Ok(axis),
        Some(_) => refuse("its axis is out of range"),
        None => refuse("its axis counts from the back and the rank of its input is not known"),
    }
}
