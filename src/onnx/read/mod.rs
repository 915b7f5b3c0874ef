//! Protobuf → IR.
//!
//! Nothing is dropped in silence: what the IR has no place for is a [`Warning`], what contradicts itself is an error.

mod attr;
mod graph;
mod tensor;
mod types;

#[cfg(test)]
pub(in crate::onnx) mod tests;

use std::collections::HashSet;

use prost::Message;

pub(in crate::onnx) use tensor::{tensor, typed_field};

use crate::ir::{AttrValue, Attrs, Function, Graph, Metadata, Model, ModelMeta, OpName, OpsetId};
use crate::onnx::Loaded;
use crate::onnx::dialect;
use crate::onnx::error::OnnxError;
use crate::onnx::external::ExternalFiles;
use crate::onnx::proto::tensor_proto::DataLocation;
use crate::onnx::proto::{
    FunctionProto, GraphProto, ModelProto, OperatorSetIdProto, StringStringEntryProto, Version,
};
use crate::onnx::visit;
use crate::onnx::warning::Warning;
use crate::schema::{NEWEST_ML_OPSET, NEWEST_OPSET};

/// Reads a decoded file. The bytes counted are those of external files.
pub(in crate::onnx) fn read(mut proto: ModelProto, files: ExternalFiles) -> Result<Loaded, OnnxError> {
    let graph = proto.graph.take();
    let graph = graph.ok_or_else(|| OnnxError::NoGraph { path: "the model".to_owned() })?;
    let ir_version = proto.ir_version();
    let known = Version::IrVersion as i64;
    let mut reader = Reader { scopes: Vec::new(), files, warnings: Vec::new() };
    if ir_version > known {
        reader.warnings.push(Warning::NewerIr { found: ir_version, known });
    }
    let mut opsets = opsets(std::mem::take(&mut proto.opset_import), "the model")?;
    reader.judge_opsets(&opsets);
    let graph = reader.main_graph(graph, ir_version)?;
    let functions = reader.functions(std::mem::take(&mut proto.functions))?;
    if !opsets.iter().any(|o| o.domain.is_empty()) && uses_standard(&graph) {
        reader.warnings.push(Warning::AssumedOpset { version: 1 });
        opsets.push(OpsetId { domain: String::new(), version: 1 });
    }
    let meta = reader.meta(proto)?;
    let mut model = Model { graph, opsets, functions, meta };
    dialect::upgrade(&mut model)?;
    Ok(Loaded { model, warnings: reader.warnings, bytes: reader.files.total() })
}

/// The state of reading one file.
struct Reader {
    /// The graphs around the place where the reader is, the innermost last.
    scopes: Vec<Graph>,
    files: ExternalFiles,
    warnings: Vec<Warning>,
}

impl Reader {
    fn judge_opsets(&mut self, opsets: &[OpsetId]) {
        for (domain, known) in [("", NEWEST_OPSET), ("ai.onnx.ml", NEWEST_ML_OPSET)] {
            for found in opsets.iter().filter(|o| o.domain == domain && o.version > known) {
                self.warnings.push(Warning::NewerOpset { domain, found: found.version, known });
            }
        }
    }

    fn functions(&mut self, protos: Vec<FunctionProto>) -> Result<Vec<Function>, OnnxError> {
        let mut functions: Vec<Function> = Vec::with_capacity(protos.len());
        let mut seen = HashSet::new();
        for proto in protos {
            let function = self.function(proto)?;
            if !seen.insert(function.key()) {
                let what = "it is defined twice".to_owned();
                return Err(OnnxError::Malformed { place: format!("function `{}`", function.op), what });
            }
            functions.push(function);
        }
        Ok(functions)
    }

    fn function(&mut self, mut proto: FunctionProto) -> Result<Function, OnnxError> {
        let op = OpName::new(proto.domain(), proto.name());
        let place = format!("function `{op}`");
        let mut defaults = Attrs::new();
        for attr in std::mem::take(&mut proto.attribute_proto) {
            defaults.push(self.attribute(attr, &|| place.clone())?);
        }
        Ok(Function {
            overload: proto.overload.take().unwrap_or_default(),
            attributes: std::mem::take(&mut proto.attribute),
            opsets: opsets(std::mem::take(&mut proto.opset_import), &place)?,
            doc: proto.doc_string.take(),
            metadata: metadata(std::mem::take(&mut proto.metadata_props)),
            graph: self.function_body(proto)?,
            op,
            defaults,
        })
    }

    fn meta(&mut self, proto: ModelProto) -> Result<ModelMeta, OnnxError> {
        let mut training = Vec::with_capacity(proto.training_info.len());
        for mut info in proto.training_info {
            // Carried as bytes, which must not point to files beside the old place of the model.
            for graph in [&mut info.initialization, &mut info.algorithm].into_iter().flatten() {
                self.bring_in(graph)?;
            }
            training.push(info.encode_to_vec().into());
        }
        Ok(ModelMeta {
            ir_version: proto.ir_version.unwrap_or(0),
            producer_name: proto.producer_name,
            producer_version: proto.producer_version,
            domain: proto.domain,
            model_version: proto.model_version,
            doc: proto.doc_string,
            metadata: metadata(proto.metadata_props),
            training,
            configuration: proto.configuration.iter().map(|c| c.encode_to_vec().into()).collect(),
        })
    }

    /// Replaces external data by the bytes themselves.
    fn bring_in(&mut self, graph: &mut GraphProto) -> Result<(), OnnxError> {
        visit::tensors(graph, &mut |proto, _| {
            if proto.data_location() == DataLocation::External {
                let data = tensor(proto.clone(), &mut self.files).map_err(|fault| {
                    let place = format!("tensor `{}` of the training information", proto.name());
                    OnnxError::Tensor { place, fault }
                })?;
                proto.raw_data = data.bytes().cloned();
                proto.data_location = None;
                proto.external_data.clear();
            }
            Ok(())
        })
    }
}

fn opsets(protos: Vec<OperatorSetIdProto>, place: &str) -> Result<Vec<OpsetId>, OnnxError> {
    let mut opsets: Vec<OpsetId> = Vec::with_capacity(protos.len());
    for proto in protos {
        let version = proto.version();
        let domain = proto.domain.filter(|d| d != "ai.onnx").unwrap_or_default();
        match opsets.iter().find(|o| o.domain == domain) {
            None => opsets.push(OpsetId { domain, version }),
            Some(first) if first.version == version => {}
            Some(first) => {
                let what =
                    format!("domain `{domain}` is imported as opset {} and as {version}", first.version);
                return Err(OnnxError::Malformed { place: place.to_owned(), what });
            }
        }
    }
    Ok(opsets)
}

fn metadata(protos: Vec<StringStringEntryProto>) -> Metadata {
    protos.into_iter().map(|e| (e.key.unwrap_or_default(), e.value.unwrap_or_default())).collect()
}

/// Whether an operator of the standard's own domain occurs, in bodies too.
fn uses_standard(graph: &Graph) -> bool {
    graph.nodes().map(|id| graph.node(id)).any(|node| {
        node.op.domain.is_empty()
            || node.attrs.iter().map(|a| &a.value).flat_map(AttrValue::graphs).any(uses_standard)
    })
}
