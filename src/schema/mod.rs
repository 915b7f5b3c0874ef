//! The operators of the ONNX standard, every version of each: names, types, attributes and defaults.
//!
//! The table is generated from the standard's own schemas by `tools/gen_schema.py` and sorted by domain, name and
//! version, so that every question is a binary search. Element types are `TensorProto.DataType` codes. The domain
//! `"ai.onnx"` is another spelling of `""`.

#[rustfmt::skip]
#[allow(clippy::all, clippy::pedantic, reason = "generated")]
mod generated;
mod op;
mod target;
#[cfg(test)]
mod tests;

use generated::SCHEMAS;
pub use op::{AttrDef, AttrDefault, AttrKind, OpSchema, Param, ParamOption, TypeSet, UNBOUNDED};
pub use target::Target;

/// Newest opset of the default domain that the table knows.
pub const NEWEST_OPSET: i64 = generated::NEWEST_OPSET;

/// Oldest IR version that a release of the standard wrote.
pub const OLDEST_IR_VERSION: i64 = 3;

/// Newest opset of `ai.onnx.ml` that the table knows.
pub const NEWEST_ML_OPSET: i64 = generated::NEWEST_ML_OPSET;

/// A release of the standard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Release {
    /// Version of the onnx package.
    pub version: &'static str,
    /// Newest IR version of the release.
    pub ir_version: i64,
    /// Newest opset of the default domain.
    pub opset: i64,
    /// Newest opset of `ai.onnx.ml`.
    pub ml_opset: i64,
}

/// The releases of the standard, oldest first.
pub fn releases() -> &'static [Release] {
    &generated::RELEASES
}

/// The IR version that goes with an opset of the default domain: that of the first release which has the opset.
///
/// An opset beyond [`NEWEST_OPSET`] gives the newest IR version known.
pub fn ir_version_for_opset(opset: i64) -> i64 {
    ir_version_of(releases().iter().find(|r| r.opset >= opset))
}

/// The IR version that goes with an opset of `ai.onnx.ml`, as [`ir_version_for_opset`] for the default domain.
pub fn ir_version_for_ml_opset(opset: i64) -> i64 {
    ir_version_of(releases().iter().find(|r| r.ml_opset >= opset))
}

fn ir_version_of(release: Option<&Release>) -> i64 {
    release.or(releases().last()).map_or(0, |r| r.ir_version)
}

/// The operator as a model with this opset has it: its newest version not newer than `opset`.
///
/// `None` when the standard has no such operator at that opset. An operator withdrawn at that opset is found, with
/// `deprecated` set.
pub fn lookup(domain: &str, name: &str, opset: i64) -> Option<&'static OpSchema> {
    let all = all_versions(domain, name);
    let known = all.partition_point(|s| s.since_version <= opset);
    all.get(..known)?.last()
}

/// The newest version of an operator.
pub fn newest(domain: &str, name: &str) -> Option<&'static OpSchema> {
    all_versions(domain, name).last()
}

/// Every version of an operator, oldest first; nothing when the standard has no such operator.
pub fn versions(domain: &str, name: &str) -> impl Iterator<Item = &'static OpSchema> + use<> {
    all_versions(domain, name).iter()
}

/// Every version of every operator, sorted by domain, name and version.
pub fn schemas() -> &'static [OpSchema] {
    &SCHEMAS
}

fn all_versions(domain: &str, name: &str) -> &'static [OpSchema] {
    let domain = if domain == "ai.onnx" { "" } else { domain };
    let wanted = (domain, name);
    let start = SCHEMAS.partition_point(|s| (s.domain, s.name) < wanted);
    let tail = SCHEMAS.get(start..).unwrap_or_default();
    let len = tail.partition_point(|s| (s.domain, s.name) == wanted);
    tail.get(..len).unwrap_or_default()
}

/// Whether two runs of the operator on the same inputs may differ because it draws random numbers.
///
/// `Dropout` is not among them: whether it draws depends on its attributes and inputs.
pub fn is_random(domain: &str, name: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
        && matches!(
            name,
            "Bernoulli"
                | "Multinomial"
                | "RandomNormal"
                | "RandomNormalLike"
                | "RandomUniform"
                | "RandomUniformLike"
        )
}
