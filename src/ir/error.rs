//! What can be wrong with a model as such.

/// A violated invariant of the IR. Every message names the node or value that it is about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IrError {
    /// A name is produced twice.
    #[error("value `{name}` is defined twice in {place}; names must be unique")]
    DuplicateValue {
        /// The value's name.
        name: String,
        /// The graph that holds it.
        place: String,
    },
    /// A node reads a name that nothing produces.
    #[error("{node} reads `{name}`, which nothing in {place} or around it produces")]
    Dangling {
        /// The node that reads.
        node: String,
        /// The missing value's name.
        name: String,
        /// The graph that holds the node.
        place: String,
    },
    /// A graph output that nothing produces.
    #[error("output `{name}` of {place} has no producer")]
    OutputWithoutProducer {
        /// The output's name.
        name: String,
        /// The graph that promises it.
        place: String,
    },
    /// The graph is not acyclic.
    #[error("{place} has a cycle through {node}")]
    Cycle {
        /// A node on the cycle.
        node: String,
        /// The graph that holds it.
        place: String,
    },
    /// Tensor bytes do not fit the tensor's dims.
    #[error("tensor of {dtype}{dims:?} needs {needed} bytes, but has {found}")]
    WrongLength {
        /// Element type.
        dtype: super::DType,
        /// Dims.
        dims: Vec<u64>,
        /// Bytes (or strings) that the dims ask for.
        needed: u64,
        /// Bytes (or strings) that are there.
        found: u64,
    },
    /// The number of elements or bytes overflows.
    #[error("tensor of {dtype}{dims:?} is larger than any memory")]
    Overflow {
        /// Element type.
        dtype: super::DType,
        /// Dims.
        dims: Vec<u64>,
    },
    /// More slots than an edge can number.
    #[error("{node} has {count} inputs or outputs; at most 65535 are supported")]
    TooManySlots {
        /// The node.
        node: String,
        /// How many.
        count: usize,
    },
    /// A structural invariant that only a bug in a pass can break.
    #[error("invariant broken in {place}: {what}")]
    Invariant {
        /// What.
        what: String,
        /// The graph.
        place: String,
    },
}
