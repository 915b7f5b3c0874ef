//! Whole models in tract: to verify, the typed graph, not decluttered, because tract's own fusions would hide the mistakes
//! of ours; to measure, as fast as tract can.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use tract_onnx::pb;
use tract_onnx::prelude::{
    Framework, InferenceFact, InferenceModelExt, IntoRunnable, IntoTValue, TValue, TVec, TypedSimplePlan,
};
use tract_onnx::tract_hir::internal::anyhow;

use super::node::{ONNX, tensor_of};
use super::{allow, convert, failed, guarded, unsupported};
use crate::engine::{EngineError, Session};
use crate::ir::{DType, Model, OpName, TensorData};

/// The most elements of an input that tract may be told beforehand.
const SMALL: usize = 64;

/// A graph that is ready to run, and what it was built for.
#[derive(Clone)]
struct Plan {
    keys: Vec<Key>,
    runnable: Arc<TypedSimplePlan>,
}

/// What a plan knows of an input.
#[derive(Clone)]
enum Key {
    /// Type and dims.
    Type(TensorType),
    /// Its very elements: it is a constant of the graph.
    Value(TensorData),
}

/// What tract may do to a graph by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Own {
    Nothing,
    Optimizations,
}

/// A model that tract has every operator of. Its graph is built for the dims of the first run, and again where they
/// change.
#[derive(Clone)]
pub(crate) struct TractSession(Arc<Ready>);

struct Ready {
    model: Model,
    own: Own,
    inputs: Vec<String>,
    outputs: Vec<(String, Option<DType>)>,
    state: Mutex<State>,
}

/// The last plan; before the first one, the graph as it was read.
enum State {
    Open,
    Read(Box<pb::ModelProto>),
    Planned(Plan),
}

type TensorType = (DType, Vec<u64>);

/// The model as tract reads it.
fn read(model: &Model) -> Result<pb::ModelProto, EngineError> {
    let checked = model.check().map_err(|e| EngineError::Invalid(e.to_string()))?;
    let bytes = crate::onnx::encode(checked).map_err(|e| EngineError::Invalid(e.to_string()))?;
    let mut proto = guarded(|| ONNX.proto_model_for_read(&mut &*bytes))?;
    proto.graph.iter_mut().for_each(mend);
    Ok(proto)
}

impl TractSession {
    /// Gets a model ready.
    ///
    /// # Errors
    /// [`EngineError::Unsupported`] with the names of all operators and types that tract lacks.
    pub(crate) fn of(model: &Model, own: Own) -> Result<Self, EngineError> {
        let proto = read(model)?;
        let functions: Vec<OpName> = model.functions.iter().map(|f| f.op.clone()).collect();
        let Some(graph) = &proto.graph else { return Err(EngineError::Invalid("no graph".to_owned())) };
        let mut lacks = BTreeSet::new();
        survey(graph, &functions, &mut lacks);
        if !lacks.is_empty() {
            return Err(unsupported(format!(
                "it lacks {}",
                lacks.into_iter().collect::<Vec<_>>().join(", ")
            )));
        }
        let constants: BTreeSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
        let inputs = graph.input.iter().filter(|i| !constants.contains(&*i.name));
        let inputs = inputs.map(|i| i.name.clone()).collect();
        let outputs = graph.output.iter().map(|o| (o.name.clone(), declared(o))).collect();
        let state = Mutex::new(State::Read(Box::new(proto)));
        Ok(Self(Arc::new(Ready { model: model.clone(), own, inputs, outputs, state })))
    }
}

impl Ready {
    /// The plan for these inputs.
    fn plan(&self, inputs: &[TensorData]) -> Result<Plan, EngineError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let State::Planned(plan) = &*state
            && plan.serves(inputs)
        {
            return Ok(plan.clone());
        }
        let mut proto = match std::mem::replace(&mut *state, State::Open) {
            State::Read(proto) => Some(*proto),
            _ => None,
        };
        // Declared types of inner values help the inference, and clash with concrete dims in some models. Small
        // inputs can be what tract needs to know beforehand: shapes, axes, scales.
        let attempts = [(self.own, false, false), (self.own, true, false), (self.own, true, true)];
        let plain = attempts.map(|(_, ignore, small)| (Own::Nothing, ignore, small));
        let attempts = attempts.into_iter().chain(plain.into_iter().filter(|_| self.own != Own::Nothing));
        let mut first = None;
        for attempt in attempts {
            // Whoever builds a graph has it alone: it is as large as all weights.
            let proto = proto.take().map_or_else(|| read(&self.model), Ok)?;
            match self.build(proto, inputs, attempt) {
                Ok(plan) => {
                    *state = State::Planned(plan.clone());
                    return Ok(plan);
                }
                Err(error) => drop(first.get_or_insert(error)),
            }
        }
        Err(first.unwrap_or_else(|| failed("no plan")))
    }

    /// Builds the graph for the dims of these inputs; with declared types ignored or not, and small inputs as constants or
    /// not.
    fn build(
        &self,
        mut proto: pb::ModelProto,
        inputs: &[TensorData],
        (own, ignore_value_info, small): (Own, bool, bool),
    ) -> Result<Plan, EngineError> {
        let constant = |input: &TensorData| small && input.rank() <= 1 && input.len() <= SMALL;
        let keys: Vec<Key> = inputs
            .iter()
            .map(|input| if constant(input) { Key::Value(input.clone()) } else { Key::Type(type_of(input)) })
            .collect();
        let mut facts = Vec::new();
        for (name, key) in self.inputs.iter().zip(&keys) {
            match key {
                Key::Type((dtype, dims)) => {
                    let dims: TVec<usize> = dims.iter().map(|&d| d as usize).collect();
                    facts.push((name, InferenceFact::dt_shape(convert::datum(*dtype)?, dims)));
                }
                Key::Value(tensor) => {
                    let constant = pb::TensorProto { name: name.clone(), ..tensor_of(tensor)? };
                    proto.graph.get_or_insert_default().initializer.push(constant);
                }
            }
        }
        let runnable = guarded(|| {
            let onnx = ONNX.clone().with_ignore_value_info(ignore_value_info);
            let parsed = onnx.parse(&proto, None)?;
            drop(proto);
            if !parsed.unresolved_inputs.is_empty() {
                return Err(anyhow!("nothing produces {:?}", parsed.unresolved_inputs));
            }
            let mut model = parsed.model;
            for (name, fact) in facts {
                let outlet =
                    parsed.outlets_by_name.get(name).ok_or_else(|| anyhow!("input {name} is lost"))?;
                model.set_outlet_fact(*outlet, fact)?;
            }
            let typed = model.into_typed()?;
            match own {
                Own::Nothing => typed.into_runnable(),
                Own::Optimizations => typed.into_optimized()?.into_runnable(),
            }
        });
        Ok(Plan { keys, runnable: runnable.map_err(limits)? })
    }
}

impl Plan {
    fn serves(&self, inputs: &[TensorData]) -> bool {
        inputs.len() == self.keys.len()
            && inputs.iter().zip(&self.keys).all(|(input, key)| match key {
                Key::Type(known) => *known == type_of(input),
                Key::Value(known) => known.same_data(input),
            })
    }
}

fn type_of(tensor: &TensorData) -> TensorType {
    (tensor.dtype(), tensor.dims().to_vec())
}

/// Tells what tract has no way to do, which says nothing about the model, from what it takes for a fault of the model.
fn limits(error: EngineError) -> EngineError {
    const LIMITS: &[&str] =
        &["Building node", "Translating node", "not supported", "nsupported", "not implemented"];
    match error {
        EngineError::Failed { what, .. } if LIMITS.iter().any(|text| what.contains(text)) => {
            unsupported(what)
        }
        other => other,
    }
}

impl Session for TractSession {
    fn fork(&self) -> Option<Box<dyn Session>> {
        Some(Box::new(self.clone()))
    }

    fn run(&self, inputs: &[TensorData]) -> Result<Vec<TensorData>, EngineError> {
        if inputs.len() != self.0.inputs.len() {
            let wanted = self.0.inputs.len();
            return Err(EngineError::Invalid(format!(
                "the model takes {wanted} inputs, not {}",
                inputs.len()
            )));
        }
        let plan = self.0.plan(inputs)?;
        let fed = inputs.iter().zip(&plan.keys).filter(|(_, key)| matches!(key, Key::Type(_)));
        let values: TVec<TValue> = fed
            .map(|(tensor, _)| convert::to_tract(tensor).map(IntoTValue::into_tvalue))
            .collect::<Result<_, _>>()?;
        let answers = guarded(|| plan.runnable.run(values)).map_err(limits)?;
        if answers.len() != self.0.outputs.len() {
            return Err(failed(&format!("it gave {} outputs, not {}", answers.len(), self.0.outputs.len())));
        }
        answers
            .iter()
            .zip(&self.0.outputs)
            .map(|(answer, (name, dtype))| output(answer, name, *dtype))
            .collect()
    }
}

/// An answer, in exactly the type that the model declares for it.
fn output(answer: &TValue, name: &str, dtype: Option<DType>) -> Result<TensorData, EngineError> {
    let answer = guarded(|| Ok(convert::from_tract(answer)))??;
    match dtype {
        Some(dtype) if dtype != answer.dtype() => Err(failed(&format!(
            "output `{name}` is declared as {dtype}, and came out as {}",
            answer.dtype()
        ))),
        _ => Ok(answer),
    }
}

fn declared(info: &pb::ValueInfoProto) -> Option<DType> {
    let Some(pb::type_proto::Value::TensorType(tensor)) = &info.r#type.as_ref()?.value else { return None };
    DType::from_code(tensor.elem_type)
}

/// Collects what the graph and its bodies need and tract lacks.
fn survey(graph: &pb::GraphProto, functions: &[OpName], lacks: &mut BTreeSet<String>) {
    for node in &graph.node {
        let op = OpName::new(&node.domain, &node.op_type);
        if functions.contains(&op) {
            lacks.insert(format!("the model's function {op}"));
        } else if !allow::runs(&op) || !ONNX.op_register.0.contains_key(&node.op_type) {
            lacks.insert(op.to_string());
        }
        for attr in &node.attribute {
            attr.g.iter().chain(&attr.graphs).for_each(|body| survey(body, functions, lacks));
            attr.t.iter().chain(&attr.tensors).for_each(|t| survey_type(t.data_type, lacks));
        }
    }
    graph.initializer.iter().for_each(|t| survey_type(t.data_type, lacks));
    if !graph.sparse_initializer.is_empty() {
        lacks.insert("sparse initializers".to_owned());
    }
}

fn survey_type(code: i32, lacks: &mut BTreeSet<String>) {
    match DType::from_code(code) {
        Some(dtype) if convert::datum(dtype).is_ok() => {}
        Some(dtype) => drop(lacks.insert(format!("element type {dtype}"))),
        None => drop(lacks.insert(format!("element type {code}"))),
    }
}

/// Says explicitly what tract would read otherwise than the standard means it.
fn mend(graph: &mut pb::GraphProto) {
    graph.initializer.iter_mut().for_each(mend_tensor);
    for node in &mut graph.node {
        if node.op_type == "ConstantOfShape" && node.attribute.iter().all(|a| a.name != "value") {
            // Without a value tract takes a zero of 64 bits, the standard one of 32.
            let zero = pb::TensorProto {
                dims: vec![1],
                data_type: DType::Float.code(),
                raw_data: vec![0; 4],
                ..pb::TensorProto::default()
            };
            node.attribute.push(pb::AttributeProto {
                name: "value".to_owned(),
                r#type: pb::attribute_proto::AttributeType::Tensor as i32,
                t: Some(zero),
                ..pb::AttributeProto::default()
            });
        }
        for attr in &mut node.attribute {
            attr.g.iter_mut().chain(&mut attr.graphs).for_each(mend);
            attr.t.iter_mut().chain(&mut attr.tensors).for_each(mend_tensor);
        }
    }
}

/// tract looks for unsigned integers of 32 and 64 bits in fields where the standard does not keep them.
fn mend_tensor(tensor: &mut pb::TensorProto) {
    let items = std::mem::take(&mut tensor.uint64_data);
    if tensor.data_type == DType::Uint32.code() {
        tensor.raw_data.extend(items.iter().flat_map(|&x| (x as u32).to_le_bytes()));
    } else if tensor.data_type == DType::Uint64.code() {
        tensor.raw_data.extend(items.iter().flat_map(|x| x.to_le_bytes()));
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
