//! What the standard says of one operator: its parameters, their element types, its attributes.

/// A count without an upper limit, as `max_inputs` and `max_outputs` of variadic operators hold it.
pub const UNBOUNDED: usize = usize::MAX;

pub(super) const DEPRECATED: u8 = 1;
pub(super) const FUNCTION: u8 = 2;

/// One version of one operator.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OpSchema {
    /// Operator set; `""` is the default one, `ai.onnx`.
    pub domain: &'static str,
    /// Operator type, as in `NodeProto.op_type`.
    pub name: &'static str,
    /// Opset that brought this version.
    pub since_version: i64,
    /// Models of this opset must not use the operator any more.
    pub deprecated: bool,
    /// Formal inputs; a variadic one is the last.
    pub inputs: &'static [Param],
    /// Formal outputs; a variadic one is the last.
    pub outputs: &'static [Param],
    /// Attributes, sorted by name.
    pub attributes: &'static [AttrDef],
    /// Fewest inputs of a node.
    pub min_inputs: usize,
    /// Most inputs of a node, or [`UNBOUNDED`].
    pub max_inputs: usize,
    /// Fewest outputs of a node.
    pub min_outputs: usize,
    /// Most outputs of a node, or [`UNBOUNDED`].
    pub max_outputs: usize,
    /// The standard also defines the operator by a body of other operators.
    pub is_function: bool,
}

impl OpSchema {
    /// The attribute called `name`.
    pub fn attribute(&self, name: &str) -> Option<&'static AttrDef> {
        let found = self.attributes.binary_search_by(|a| a.name.cmp(name)).ok()?;
        self.attributes.get(found)
    }

    /// The formal input that the node's input number `index` belongs to.
    pub fn input(&self, index: usize) -> Option<&'static Param> {
        formal(self.inputs, index)
    }

    /// The formal output that the node's output number `index` belongs to.
    pub fn output(&self, index: usize) -> Option<&'static Param> {
        formal(self.outputs, index)
    }

    /// The type constraint variable of an output, such as `"T"`; `None` when its type is spelled out, when each
    /// value of a variadic output has a type of its own, or when there is no such output.
    pub fn output_type_param(&self, output: usize) -> Option<&'static str> {
        self.output(output).and_then(Param::type_variable)
    }

    /// The formal inputs, by position in [`OpSchema::inputs`], that have the same type as an output.
    ///
    /// Empty when the output's type is fixed or decided by an attribute.
    pub fn inputs_typed_as_output(&self, output: usize) -> impl Iterator<Item = usize> + use<> {
        let wanted = self.output_type_param(output);
        let shares = move |p: &Param| wanted.is_some() && p.type_variable() == wanted;
        self.inputs.iter().enumerate().filter(move |(_, p)| shares(p)).map(|(position, _)| position)
    }

    /// The element type of an output, from those of the node's inputs.
    ///
    /// `input_dtypes` has one entry per input of the node, `None` where the input is absent, is not a tensor, or
    /// has an unknown element type. The answer is `None` when the inputs do not decide: an attribute does
    /// (`Cast.to`, `ConstantOfShape.value`), a subgraph does (`If`), or the deciding input is unknown.
    pub fn output_dtype(&self, output: usize, input_dtypes: &[Option<i32>]) -> Option<i32> {
        let param = self.output(output)?;
        if let Some(only) = param.types.only_tensor() {
            return Some(only);
        }
        let variable = param.type_variable()?;
        let shares = |index: usize| self.input(index).is_some_and(|p| p.type_variable() == Some(variable));
        let found =
            input_dtypes.iter().enumerate().find_map(|(index, dtype)| dtype.filter(|_| shares(index)))?;
        param.allows(found).then_some(found)
    }
}

fn formal(params: &'static [Param], index: usize) -> Option<&'static Param> {
    params.get(index).or_else(|| params.last().filter(|last| last.option == ParamOption::Variadic))
}

/// How often a formal parameter occurs in a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParamOption {
    /// Exactly once.
    Single,
    /// Once or not at all; absent is the empty name.
    Optional,
    /// Any number of times from the minimum on; always the last parameter.
    Variadic,
}

/// A formal input or output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Param {
    /// The standard's name of the parameter.
    pub name: &'static str,
    /// A type constraint variable such as `"T"`, or a type such as `"tensor(int64)"`.
    pub type_str: &'static str,
    /// The types that it may have.
    pub types: TypeSet,
    /// How often it occurs.
    pub option: ParamOption,
    /// The values of a variadic parameter all have one type.
    pub homogeneous: bool,
}

impl Param {
    pub(super) const fn new(
        name: &'static str,
        type_str: &'static str,
        types: TypeSet,
        option: ParamOption,
        homogeneous: bool,
    ) -> Self {
        Self { name, type_str, types, option, homogeneous }
    }

    /// Whether a tensor of this element type (a `TensorProto.DataType` code) is allowed.
    pub fn allows(&self, dtype_code: i32) -> bool {
        self.types.has_tensor(dtype_code)
    }

    /// The type constraint variable, when there is one and it binds every value of the parameter.
    pub fn type_variable(&self) -> Option<&'static str> {
        (self.homogeneous && !self.type_str.contains('(')).then_some(self.type_str)
    }
}

/// A set of value types: tensors by element type, other kinds of values as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TypeSet {
    tensors: u32,
    containers: u8,
}

impl TypeSet {
    /// Some `seq(...)` is in the set.
    pub const SEQUENCE: u8 = 1;
    /// Some `optional(...)` is in the set.
    pub const OPTIONAL: u8 = 2;
    /// Some `map(...)` is in the set.
    pub const MAP: u8 = 4;
    /// Some `sparse_tensor(...)` is in the set.
    pub const SPARSE: u8 = 8;

    pub(super) const fn new(tensors: u32, containers: u8) -> Self {
        Self { tensors, containers }
    }

    /// Whether `tensor(...)` of this element type is in the set.
    pub fn has_tensor(self, dtype_code: i32) -> bool {
        u32::try_from(dtype_code).ok().and_then(|code| self.tensors.checked_shr(code)).unwrap_or(0) & 1 == 1
    }

    /// The element types of the tensors in the set, ascending.
    pub fn tensors(self) -> impl Iterator<Item = i32> {
        (0..32).filter(move |&code| self.has_tensor(code))
    }

    /// Whether any of these kinds ([`TypeSet::SEQUENCE`] and so on, or-ed) is in the set.
    pub fn has_container(self, kinds: u8) -> bool {
        self.containers & kinds != 0
    }

    /// The element type, when the set is that one tensor type and nothing else.
    pub fn only_tensor(self) -> Option<i32> {
        let lone = self.containers == 0 && self.tensors.is_power_of_two();
        lone.then(|| self.tensors.trailing_zeros() as i32)
    }
}

/// An attribute of an operator.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttrDef {
    /// Attribute name.
    pub name: &'static str,
    /// The type of its value.
    pub kind: AttrKind,
    /// Every node has to have it.
    pub required: bool,
    /// The value that an absent attribute stands for; `None` when absence has a meaning of its own.
    pub default: Option<AttrDefault>,
}

impl AttrDef {
    pub(super) const fn new(
        name: &'static str,
        kind: AttrKind,
        required: bool,
        default: Option<AttrDefault>,
    ) -> Self {
        Self { name, kind, required, default }
    }
}

/// The type of an attribute's value; the discriminant is the `AttributeProto.AttributeType` code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are the standard's own")]
pub enum AttrKind {
    Float = 1,
    Int = 2,
    String = 3,
    Tensor = 4,
    Graph = 5,
    Floats = 6,
    Ints = 7,
    Strings = 8,
    Tensors = 9,
    Graphs = 10,
    SparseTensor = 11,
    SparseTensors = 12,
    TypeProto = 13,
    TypeProtos = 14,
}

impl AttrKind {
    /// The `AttributeProto.AttributeType` code.
    pub fn code(self) -> i32 {
        self as i32
    }
}

/// The default of an attribute.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AttrDefault {
    /// `FLOAT`
    Float(f32),
    /// `INT`
    Int(i64),
    /// `STRING`
    String(&'static str),
    /// `FLOATS`
    Floats(&'static [f32]),
    /// `INTS`
    Ints(&'static [i64]),
    /// `STRINGS`
    Strings(&'static [&'static str]),
}

/// One row of the generated table.
#[allow(clippy::too_many_arguments, reason = "positional, so that a row fits on a line")]
pub(super) const fn op(
    domain: &'static str,
    name: &'static str,
    since_version: i64,
    flags: u8,
    inputs: &'static [Param],
    min_inputs: usize,
    max_inputs: usize,
    outputs: &'static [Param],
    min_outputs: usize,
    max_outputs: usize,
    attributes: &'static [AttrDef],
) -> OpSchema {
    OpSchema {
        domain,
        name,
        since_version,
        deprecated: flags & DEPRECATED != 0,
        inputs,
        outputs,
        attributes,
        min_inputs,
        max_inputs,
        min_outputs,
        max_outputs,
        is_function: flags & FUNCTION != 0,
    }
}
