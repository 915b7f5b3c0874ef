//! What a file has that deserves a word, but does not keep it from being read.

use std::fmt;

/// A remark about a file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[allow(missing_docs)] // The messages say what the fields are.
pub enum Warning {
    /// A field that this version of the format does not have. It is not written again.
    UnknownField { number: u32, place: String, more: u64 },
    /// A newer version of the file format.
    NewerIr { found: i64, known: i64 },
    /// A newer version of a domain of operators.
    NewerOpset { domain: &'static str, found: i64, known: i64 },
    /// No version of the standard's operators is imported.
    AssumedOpset { version: i64 },
    /// `value_info` entries that name no value of their graph.
    StaleInfo { graph: String, first: String, more: usize },
    /// Something else that the intermediate representation has no place for.
    Lost { what: &'static str, place: String },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownField { number, place, more } => {
                write!(f, "unknown field {number} in `{place}`")?;
                more_places(f, *more)?;
                f.write_str(": it will be lost")
            }
            Self::NewerIr { found, known } => {
                write!(f, "the file has ir_version {found}, newer than {known}: parts of it may be lost")
            }
            Self::NewerOpset { domain, found, known } => {
                let domain = if domain.is_empty() { "ai.onnx" } else { domain };
                write!(f, "the file asks for opset {found} of {domain}, newer than {known}: ")?;
                f.write_str("operators that changed since are taken for their older form")
            }
            Self::AssumedOpset { version } => {
                write!(f, "the file names no opset of ai.onnx: opset {version} is assumed")
            }
            Self::StaleInfo { graph, first, more } => {
                write!(f, "value_info `{first}` of {graph}")?;
                more_places(f, *more as u64)?;
                f.write_str(" names no value: it will be lost")
            }
            Self::Lost { what, place } => write!(f, "{place}: {what} will be lost"),
        }
    }
}

fn more_places(f: &mut fmt::Formatter<'_>, more: u64) -> fmt::Result {
    if more == 0 { Ok(()) } else { write!(f, " (and {more} more)") }
}
