//! Graphs, bodies, and the bodies of functions.
//!
//! All values of a graph are there before its first node is read, so that nodes need not be sorted and a body finds what
//! the graphs around it define.

use std::sync::Arc;

use prost::Message;

use super::types::ReadType;
use super::{Reader, metadata, tensor};
use crate::ir::{
    Graph, IrError, ListedConstants, Metadata, Node, NodeExtra, OpName, Origin, QuantAnnotation, Slots,
    Value, ValueId, ValueInfo, ValueType,
};
use crate::onnx::error::OnnxError;
use crate::onnx::proto::{
    FunctionProto, GraphProto, NodeProto, SparseTensorProto, TensorProto, ValueInfoProto,
};
use crate::onnx::warning::Warning;

impl Reader {
    /// The graph of the model.
    pub(super) fn main_graph(&mut self, proto: GraphProto, ir_version: i64) -> Result<Graph, OnnxError> {
        self.graph(proto, ir_version < 4)
    }

    /// The body of a node.
    pub(super) fn body(&mut self, proto: GraphProto) -> Result<Graph, OnnxError> {
        self.graph(proto, false)
    }

    fn graph(&mut self, proto: GraphProto, lists_constants: bool) -> Result<Graph, OnnxError> {
        let mut graph = Graph::named(proto.name.unwrap_or_default());
        graph.doc = proto.doc_string;
        graph.metadata = metadata(proto.metadata_props);
        graph.annotations = proto.quantization_annotation.into_iter().map(annotation).collect();
        self.scopes.push(graph);
        let mut inputs = self.inputs(proto.input)?;
        self.initializers(proto.initializer, proto.sparse_initializer)?;
        if lists_constants {
            self.take_off_constants(&mut inputs);
        }
        self.top().set_inputs(inputs);
        self.declare_outputs_of(&proto.node)?;
        let outputs: Vec<_> = proto.output.iter().map(|o| o.name().to_owned()).collect();
        let late = self.infos(proto.output.into_iter().chain(proto.value_info).collect());
        self.nodes(proto.node)?;
        self.outputs(outputs)?;
        self.late_infos(late);
        Ok(self.pop())
    }

    /// The graph of a function.
    pub(super) fn function_body(&mut self, proto: FunctionProto) -> Result<Graph, OnnxError> {
        let place = format!("function `{}`", proto.name());
        self.scopes.push(Graph::named(proto.name.unwrap_or_default()));
        let mut inputs = Vec::with_capacity(proto.input.len());
        for name in proto.input {
            inputs.push(self.new_value(name, || format!("an input of {place}"))?);
        }
        self.top().set_inputs(inputs);
        self.declare_outputs_of(&proto.node)?;
        let late = self.infos(proto.value_info);
        self.nodes(proto.node)?;
        self.outputs(proto.output)?;
        self.late_infos(late);
        Ok(self.pop())
    }

    pub(super) fn top(&mut self) -> &mut Graph {
        self.scopes.last_mut().expect("called only while a graph is being read")
    }

    fn pop(&mut self) -> Graph {
        self.scopes.pop().expect("pushed by the caller")
    }

    fn new_value(&mut self, name: String, what: impl Fn() -> String) -> Result<ValueId, OnnxError> {
        if name.is_empty() {
            let place = format!("{} of {}", what(), self.top().label());
            return Err(OnnxError::Malformed { place, what: "it has no name".to_owned() });
        }
        Ok(self.top().add_value(Value::named(name))?)
    }

    fn inputs(&mut self, protos: Vec<ValueInfoProto>) -> Result<Vec<ValueId>, OnnxError> {
        let mut inputs = Vec::with_capacity(protos.len());
        for mut proto in protos {
            let id = self.new_value(proto.name.take().unwrap_or_default(), || "an input".to_owned())?;
            self.apply(id, proto);
            inputs.push(id);
        }
        Ok(inputs)
    }

    fn initializers(
        &mut self,
        dense: Vec<TensorProto>,
        sparse: Vec<SparseTensorProto>,
    ) -> Result<(), OnnxError> {
        for mut proto in dense {
            let id = self.initialized(proto.name.take().unwrap_or_default())?;
            let data = tensor::tensor(proto, &mut self.files)
                .map_err(|fault| OnnxError::Tensor { place: self.initializer(id), fault })?;
            let typed = self.top().value(id).ty != ValueType::Unknown;
            let ty = ValueType::of(&data);
            self.top().edit_value(id, |v| {
                v.data = Some(data);
                if !typed {
                    v.ty = ty;
                }
            });
        }
        for mut proto in sparse {
            let name = proto.values.as_mut().and_then(|v| v.name.take()).unwrap_or_default();
            let id = self.initialized(name)?;
            let data = tensor::sparse(proto, &mut self.files)
                .map_err(|fault| OnnxError::Tensor { place: self.initializer(id), fault })?;
            let shape = Some(data.dims.iter().map(|&d| crate::ir::Dim::Known(d)).collect());
            let ty = ValueType::SparseTensor { dtype: Some(data.values.dtype()), shape };
            self.top().edit_value(id, |v| {
                v.sparse = Some(Arc::new(data));
                if v.ty == ValueType::Unknown {
                    v.ty = ty;
                }
            });
        }
        Ok(())
    }

    /// The value that an initializer defines: a new one, or an input that has none yet.
    fn initialized(&mut self, name: String) -> Result<ValueId, OnnxError> {
        let Some(id) = self.top().find(&name) else {
            return self.new_value(name, || "an initializer".to_owned());
        };
        let value = self.top().value(id);
        if value.data.is_some() || value.sparse.is_some() {
            return Err(IrError::DuplicateValue { name, place: self.top().label() }.into());
        }
        Ok(id)
    }

    fn initializer(&mut self, id: ValueId) -> String {
        let graph = self.top();
        format!("initializer `{}` of {}", graph.value(id).name, graph.label())
    }

    /// Before IR 4 an initializer is a constant, and is listed as an input only because it has to be.
    fn take_off_constants(&mut self, inputs: &mut Vec<ValueId>) {
        let graph = self.top();
        let given = |id: ValueId| graph.value(id).data.is_some() || graph.value(id).sparse.is_some();
        let listed: Vec<_> = inputs.iter().copied().filter(|&v| given(v)).collect();
        let all = graph.values().filter(|&v| given(v)).count();
        inputs.retain(|&v| !given(v));
        graph.listed = match listed.len() {
            n if n == all => ListedConstants::All,
            0 => ListedConstants::None,
            _ => ListedConstants::Some(listed),
        };
    }

    fn declare_outputs_of(&mut self, nodes: &[NodeProto]) -> Result<(), OnnxError> {
        for name in nodes.iter().flat_map(|n| &n.output).filter(|n| !n.is_empty()) {
            self.top().add_value(Value::named(name.clone()))?;
        }
        Ok(())
    }

    /// Applies declarations of values. Returns those that name no value so far.
    fn infos(&mut self, protos: Vec<ValueInfoProto>) -> Vec<ValueInfoProto> {
        let mut late = Vec::new();
        for proto in protos {
            match self.top().find(proto.name()) {
                Some(id) => self.apply(id, proto),
                None => late.push(proto),
            }
        }
        late
    }

    /// Applies declarations of values that a body captures, and reports those that name no value at all.
    fn late_infos(&mut self, protos: Vec<ValueInfoProto>) {
        let stale = self.infos(protos);
        if let Some(first) = stale.first() {
            let (graph, first) = (self.top().label(), first.name().to_owned());
            self.warnings.push(Warning::StaleInfo { graph, first, more: stale.len() - 1 });
        }
    }

    /// Declares a value, unless an earlier entry did.
    fn apply(&mut self, id: ValueId, proto: ValueInfoProto) {
        if self.top().value(id).declared {
            return;
        }
        let mut read = proto.r#type.map(ReadType::of).unwrap_or_default();
        let info = ValueInfo {
            doc: proto.doc_string.filter(|d| !d.is_empty()),
            metadata: metadata(proto.metadata_props),
            ..read.info()
        };
        let info = (info != ValueInfo::default()).then(|| Box::new(info));
        if let Some(what) = read.lost {
            let graph = self.top();
            let place = format!("value `{}` of {}", graph.value(id).name, graph.label());
            self.warnings.push(Warning::Lost { what, place });
        }
        self.top().edit_value(id, |v| {
            v.declared = read.ty != ValueType::Unknown || info.is_some();
            v.info = info;
            if read.ty != ValueType::Unknown {
                v.ty = read.ty;
            }
        });
    }

    fn outputs(&mut self, names: Vec<String>) -> Result<(), OnnxError> {
        let mut outputs = Vec::with_capacity(names.len());
        for name in names {
            match self.resolve(&name) {
                Some(id) => outputs.push(id),
                None => {
                    return Err(IrError::OutputWithoutProducer { name, place: self.top().label() }.into());
                }
            }
        }
        self.top().set_outputs(outputs);
        Ok(())
    }

    /// The value of that name: of the innermost graph, or captured from one of those around it.
    fn resolve(&mut self, name: &str) -> Option<ValueId> {
        let level = self.scopes.iter().rposition(|g| g.find(name).is_some())?;
        for at in level + 1..self.scopes.len() {
            let (outer, inner) = self.scopes.split_at_mut(at);
            let (outer, inner) = (outer.last()?, inner.first_mut()?);
            let id = outer.find(name)?;
            let value = outer.value(id);
            let captured = Value {
                ty: value.ty.clone(),
                data: outer.constant(id).cloned(),
                sparse: value.sparse.clone(),
                origin: Origin::Captured,
                ..Value::named(name)
            };
            inner.add_value(captured).ok()?;
        }
        self.scopes.last()?.find(name)
    }

    fn nodes(&mut self, protos: Vec<NodeProto>) -> Result<(), OnnxError> {
        for (position, proto) in (0..).zip(protos) {
            self.node(proto, position)?;
        }
        Ok(())
    }

    fn node(&mut self, proto: NodeProto, position: u64) -> Result<(), OnnxError> {
        if proto.op_type().is_empty() {
            let place = format!("node {position} of {}", self.top().label());
            return Err(OnnxError::Malformed { place, what: "it has no op_type".to_owned() });
        }
        let op = OpName::new(proto.domain(), proto.op_type());
        let mut node = Node::new(op, proto.name.unwrap_or_default(), crate::ir::Attrs::new());
        node.position = position;
        let extra = NodeExtra {
            overload: proto.overload.filter(|o| !o.is_empty()),
            doc: proto.doc_string.filter(|d| !d.is_empty()),
            metadata: metadata(proto.metadata_props),
            device: proto.device_configurations.iter().map(|d| d.encode_to_vec().into()).collect(),
        };
        node.extra = (extra != NodeExtra::default()).then(|| Box::new(extra));
        let label = label(&node, &proto.output);
        let mut inputs = Slots::with_capacity(proto.input.len());
        for name in proto.input {
            let value = if name.is_empty() { None } else { Some(self.read_by(&label, &name)?) };
            inputs.push(value);
        }
        for attr in proto.attribute {
            let attr = self.attribute(attr, &|| label.clone())?;
            if node.attrs.get(&attr.name).is_some() {
                let what = format!("attribute `{}` is given twice", attr.name);
                return Err(OnnxError::Malformed { place: label, what });
            }
            node.attrs.push(attr);
        }
        let graph = self.top();
        let outputs: Slots = proto.output.iter().map(|name| graph.find(name)).collect();
        graph.add_node(node, &inputs, &outputs)?;
        Ok(())
    }

    fn read_by(&mut self, node: &str, name: &str) -> Result<ValueId, OnnxError> {
        if let Some(id) = self.resolve(name) {
            return Ok(id);
        }
        let place = self.top().label();
        Err(IrError::Dangling { node: node.to_owned(), name: name.to_owned(), place }.into())
    }
}

/// What messages call a node: by its name, or by what it makes. As [`Graph::node_label`], before it is in a graph.
fn label(node: &Node, outputs: &[String]) -> String {
    match outputs.iter().find(|o| !o.is_empty()) {
        Some(output) if node.name.is_empty() => format!("the {} node that makes `{output}`", node.op),
        _ => node.label(),
    }
}

fn annotation(proto: crate::onnx::proto::TensorAnnotation) -> QuantAnnotation {
    let params: Metadata = metadata(proto.quant_parameter_tensor_names);
    QuantAnnotation { tensor: proto.tensor_name, params }
}
