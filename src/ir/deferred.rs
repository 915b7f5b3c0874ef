//! Tensors that are computed when they are written.
//!
//! A transposed or rescaled weight has the size of the original: kept in memory, the changed weights of a model would
//! take as much memory as its file. So a large result of one cheap operation on one tensor is a recipe, carried out
//! when the elements are read, and by the writer without keeping them.

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use memmap2::MmapMut;

use super::tensor::{Payload, element_count};
use super::{DType, IrError, TensorData};

/// From the source's elements to those of the result.
type Compute = dyn Fn(&TensorData) -> Option<Bytes> + Send + Sync;

/// Elements that are computed from another tensor when they are needed.
pub(super) struct Deferred {
    source: TensorData,
    what: Vec<u64>,
    compute: Box<Compute>,
    len: u64,
    done: OnceLock<Bytes>,
    stand_in: OnceLock<Bytes>,
}

impl Deferred {
    /// The elements, computed at most once and kept.
    pub(super) fn bytes(&self) -> &Bytes {
        self.done.get_or_init(|| self.compute())
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// The elements. What `compute` cannot say is zero: its maker has checked that there is no such case.
    fn compute(&self) -> Bytes {
        let bytes = (self.compute)(&self.source).filter(|b| b.len() as u64 == self.len);
        debug_assert!(bytes.is_some(), "a deferred tensor could not be computed");
        bytes.unwrap_or_else(|| vec![0; self.len as usize].into())
    }

    /// Whether both are the same operation on the same elements. (Unequal recipes may still give equal elements.)
    pub(super) fn same(&self, other: &Self) -> bool {
        self.what == other.what && self.len == other.len && self.source.same_data(&other.source)
    }
}

impl fmt::Debug for Deferred {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} by {:?}", self.source, self.what)
    }
}

impl TensorData {
    /// A tensor whose elements are computed from another one when they are needed.
    ///
    /// `what` identifies the operation and its parameters: two tensors with equal `what` over the same source are taken
    /// for equal. `compute` must succeed, and give as many bytes as the dims ask for.
    ///
    /// # Errors
    /// [`IrError::Overflow`] where the dims have no size, or the type has none.
    pub(crate) fn deferred(
        dtype: DType,
        dims: &[u64],
        source: &TensorData,
        what: Vec<u64>,
        compute: impl Fn(&TensorData) -> Option<Bytes> + Send + Sync + 'static,
    ) -> Result<Self, IrError> {
        let len = element_count(dims).and_then(|n| dtype.byte_len(n)).filter(|_| dtype != DType::String);
        let len = len.ok_or_else(|| IrError::Overflow { dtype, dims: dims.to_vec() })?;
        let (source, compute) = (source.clone(), Box::new(compute));
        let deferred =
            Deferred { source, what, compute, len, done: OnceLock::new(), stand_in: OnceLock::new() };
        Ok(Self::from_payload(dtype, dims, Payload::Deferred(Arc::new(deferred))))
    }

    /// Whether the elements are still to be computed.
    pub(crate) fn is_deferred(&self) -> bool {
        matches!(&self.payload, Payload::Deferred(d) if d.done.get().is_none())
    }

    /// What the elements are still to be computed from, in the end.
    pub(crate) fn source(&self) -> Option<&Self> {
        let Payload::Deferred(d) = &self.payload else { return None };
        d.done.get().is_none().then(|| d.source.source().unwrap_or(&d.source))
    }

    /// The elements, computed without being kept.
    pub(crate) fn passing_bytes(&self) -> Option<Bytes> {
        match &self.payload {
            Payload::Deferred(d) => Some(d.done.get().cloned().unwrap_or_else(|| d.compute())),
            _ => self.bytes().cloned(),
        }
    }

    /// For a tensor that is still to be computed: bytes of the right length at an address of their own, which take no
    /// memory and mean nothing. The writer puts the elements in their place.
    pub(crate) fn stand_in(&self) -> Option<&Bytes> {
        let Payload::Deferred(d) = &self.payload else { return None };
        if let Some(stand_in) = d.stand_in.get() {
            return Some(stand_in);
        }
        let map = MmapMut::map_anon(usize::try_from(d.len).ok()?).ok()?;
        Some(d.stand_in.get_or_init(|| Bytes::from_owner(map)))
    }
}
