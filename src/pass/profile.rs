//! What a runtime on some hardware computes fast, and how.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ir::DType;

/// A runtime on some hardware: what it takes, what it computes in integers, and in which arithmetic. Profiles are data
/// (`profiles/*.yaml`), each fact with its source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Profile {
    /// What recipes and reports call it.
    #[serde(skip)]
    pub name: String,
    /// Runtime, version and hardware in a line.
    pub about: String,
    /// Where the facts come from.
    pub sources: Vec<String>,
    /// The newest opset of `ai.onnx` that it reads; `None` where there is no bound.
    #[serde(default)]
    pub opset: Option<i64>,
    /// Integer type of activations.
    pub activations: ActivationType,
    /// Integer type of weights.
    pub weights: WeightType,
    /// Whether zero points of activations must be in the middle of their range.
    #[serde(default)]
    pub symmetric: bool,
    /// Layers (`Conv`, `ConvTranspose`, `Gemm`, `MatMul`) that it computes in integers.
    #[serde(default = "layers")]
    pub layers: Vec<String>,
    /// Operators whose weight may have a scale for each output channel.
    pub per_channel: Vec<String>,
    /// Operators whose integer kernel gives integers, so that their result has to be quantized too.
    pub integer_results: Vec<String>,
    /// Operators without weights that compute in integers.
    #[serde(default)]
    pub between: Vec<String>,
    /// How many elements such an operator has to read or make, for a batch of one, to compute in integers: below, floats
    /// cost little and are more precise.
    #[serde(default)]
    pub between_from: u64,
    /// The same of an `Add` of results of convolutions that only convolutions read besides: their channels share factors,
    /// so that it takes them as they are, and rounds less. By default as for the others.
    #[serde(default)]
    pub sums_from: Option<u64>,
    /// Operators of the standard that it lacks, or that it takes apart into slower ones: their parts stay as they are.
    #[serde(default)]
    pub lacks: Vec<String>,
    /// The domains of operators that it has besides those of the standard.
    #[serde(default)]
    pub domains: Vec<String>,
    /// Whether floats may be scaled channel by channel (`Mul`, `Add`) before `QuantizeLinear` and after
    /// `DequantizeLinear`.
    #[serde(default)]
    pub channel_scales: bool,
    /// How a bias is stored.
    pub bias: BiasForm,
    /// What its integer kernels do to large sums.
    #[serde(default)]
    pub accumulation: Accumulation,
    /// How weights of matrix products are stored where activations stay float.
    #[serde(default)]
    pub weight_only: WeightOnly,
    /// Channels come in multiples of this.
    #[serde(default = "one")]
    pub channel_multiple: u32,
}

impl Profile {
    /// How many elements an `Add` in a stream has to make to compute in integers.
    pub fn sums_from(&self) -> u64 {
        self.sums_from.unwrap_or(self.between_from)
    }
}

fn one() -> u32 {
    1
}

fn layers() -> Vec<String> {
    ["Conv", "Gemm", "MatMul"].map(str::to_owned).to_vec()
}

/// Integer types of activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum ActivationType {
    Uint8,
    Int8,
    Uint16,
    Int16,
}

/// Integer types of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum WeightType {
    Int8,
    Uint8,
}

/// How the bias of a quantized layer is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BiasForm {
    /// As int32, on the product of the scales of input and weight.
    Int32,
    /// As it was.
    Float,
}

/// How integer kernels add products.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Accumulation {
    /// In 32 bits.
    #[default]
    Exact,
    /// Two neighbouring products of an unsigned and a signed byte in 16 bits, which saturate; the rest in 32.
    Pairs,
}

/// The form of a weight whose activations stay float.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WeightOnly {
    /// `DequantizeLinear`, of the standard.
    #[default]
    Dequantize,
    /// `MatMulNBits` of onnxruntime, for matrix products; `DequantizeLinear` for the rest.
    #[serde(rename = "matmul-nbits")]
    MatMulNBits,
}

impl ActivationType {
    /// As an element type.
    pub const fn dtype(self) -> DType {
        match self {
            Self::Uint8 => DType::Uint8,
            Self::Int8 => DType::Int8,
            Self::Uint16 => DType::Uint16,
            Self::Int16 => DType::Int16,
        }
    }
}

impl WeightType {
    /// As an element type.
    pub const fn dtype(self) -> DType {
        match self {
            Self::Int8 => DType::Int8,
            Self::Uint8 => DType::Uint8,
        }
    }
}

impl Default for Profile {
    /// What every runtime of quantized models takes: uint8 activations, int8 weights by output channel, one scale for
    /// every activation.
    fn default() -> Self {
        let list = |ops: &[&str]| ops.iter().map(|&op| op.to_owned()).collect();
        Self {
            name: "generic".to_owned(),
            about: "any runtime that reads QuantizeLinear and DequantizeLinear".to_owned(),
            sources: Vec::new(),
            opset: None,
            activations: ActivationType::Uint8,
            weights: WeightType::Int8,
            symmetric: false,
            layers: layers(),
            per_channel: list(&["Conv", "Gemm", "MatMul"]),
            integer_results: list(&["Conv", "Gemm", "MatMul"]),
            between: list(&["Add", "AveragePool", "Concat", "GlobalAveragePool", "MaxPool", "Mul", "Resize"]),
            between_from: 0,
            sums_from: None,
            lacks: Vec::new(),
            domains: Vec::new(),
            channel_scales: false,
            bias: BiasForm::Int32,
            accumulation: Accumulation::Exact,
            weight_only: WeightOnly::Dequantize,
            channel_multiple: 1,
        }
    }
}
