//! Scales and zero points, and the codes that floats on them have.

use crate::engine::EngineError;
use crate::engine::kernels::integer::nearest;
use crate::ir::{DType, Graph, NodeId, TensorData};

/// How a value is quantized to 8 bits.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Grid {
    /// One for all, or one for every place along `axis`.
    pub(super) scales: Vec<f32>,
    /// As many.
    pub(super) zeros: Vec<i16>,
    pub(super) axis: usize,
    /// uint8 or int8.
    pub(super) dtype: DType,
}

impl Grid {
    /// The one of a `QuantizeLinear` or `DequantizeLinear`, if it is constant and not by blocks.
    pub(super) fn of(graph: &Graph, id: NodeId) -> Option<Self> {
        let node = graph.node(id);
        if node.attrs.int("block_size").unwrap_or(0) != 0 || node.opaque.is_some() {
            return None;
        }
        let scales: Vec<f32> = graph.constant_input(id, 1)?.to_vec()?;
        let (zeros, dtype) = match graph.node_input(id, 2) {
            Some(value) => {
                let zeros = graph.constant(value)?;
                (zeros.to_i64s()?.into_iter().map(|z| z as i16).collect(), zeros.dtype())
            }
            None => (vec![0; scales.len()], without_zero(graph, id)?),
        };
        let axis = node.attrs.int("axis").unwrap_or(1);
        let fits = zeros.len() == scales.len() && matches!(dtype, DType::Uint8 | DType::Int8);
        let sound = scales.iter().all(|s| s.is_finite() && *s > 0.0);
        let axis = usize::try_from(axis).ok().or((scales.len() == 1).then_some(0))?;
        (fits && sound).then_some(Self { scales, zeros, axis, dtype })
    }

    /// Whether it is the same along every axis.
    pub(super) fn is_whole(&self) -> bool {
        self.scales.len() == 1
    }

    /// The same grid with unsigned codes, 128 above the signed ones.
    pub(super) fn unsigned(mut self) -> Self {
        if self.dtype == DType::Int8 {
            self.zeros.iter_mut().for_each(|z| *z += 128);
            self.dtype = DType::Uint8;
        }
        self
    }

    /// The least and the largest float on it, for one along all axes.
    pub(super) fn range(&self) -> Option<(f32, f32)> {
        let (&[scale], &[zero]) = (&*self.scales, &*self.zeros) else { return None };
        let (low, high) = self.ends();
        Some((scale * f32::from(low - zero), scale * f32::from(high - zero)))
    }

    fn ends(&self) -> (i16, i16) {
        if self.dtype == DType::Int8 { (-128, 127) } else { (0, 255) }
    }

    pub(super) fn scale_tensor(&self) -> TensorData {
        match *self.scales {
            [one] => TensorData::scalar(one),
            _ => TensorData::vector(&self.scales),
        }
    }

    pub(super) fn zero_tensor(&self) -> Result<TensorData, EngineError> {
        let dims = [self.zeros.len() as u64];
        let dims = if self.is_whole() { &[][..] } else { &dims[..] };
        let bytes: Vec<u8> = self.zeros.iter().map(|&z| z as u8).collect();
        TensorData::new(self.dtype, dims, bytes).map_err(|e| EngineError::Invalid(e.to_string()))
    }

    /// Runs of elements that share a scale: the scale and zero point of each, in order, and their length.
    fn runs(&self, dims: &[u64], len: usize) -> Option<(usize, impl Iterator<Item = (f32, i16)> + '_)> {
        let size = if self.is_whole() {
            len
        } else {
            let (own, inner) = dims.get(self.axis..)?.split_first()?;
            (*own == self.scales.len() as u64).then(|| inner.iter().product::<u64>() as usize)?
        };
        Some((size.max(1), self.scales.iter().copied().zip(self.zeros.iter().copied()).cycle()))
    }

    /// The codes of floats; `None` where they are no finite float32 or the scales do not fit.
    pub(super) fn codes(&self, x: &TensorData) -> Option<TensorData> {
        let items: Vec<f32> = x.to_vec()?;
        let (size, grids) = self.runs(x.dims(), items.len())?;
        let (low, high) = self.ends();
        let mut codes = Vec::with_capacity(items.len());
        let mut sound = true;
        for (run, (scale, zero)) in items.chunks(size).zip(grids) {
            sound &= run.iter().all(|x| !x.is_nan());
            let (least, most) = (f32::from(low - zero), f32::from(high - zero));
            let code = |x: &f32| (nearest((x / scale).clamp(least, most)) as i16).wrapping_add(zero) as u8;
            codes.extend(run.iter().map(code));
        }
        sound.then(|| TensorData::new(self.dtype, x.dims(), codes).ok())?
    }

    /// The floats of codes.
    pub(super) fn values(&self, codes: &TensorData) -> Option<TensorData> {
        let bytes = codes.bytes()?;
        let (size, grids) = self.runs(codes.dims(), bytes.len())?;
        let signed = self.dtype == DType::Int8;
        let mut items: Vec<f32> = Vec::with_capacity(bytes.len());
        for (run, (scale, zero)) in bytes.chunks(size).zip(grids) {
            let code = |b: u8| if signed { i16::from(b.cast_signed()) } else { i16::from(b) };
            items.extend(run.iter().map(|&b| f32::from(code(b) - zero) * scale));
        }
        TensorData::from_slice(codes.dims(), &items).ok()
    }
}

/// The type of the codes of a node without a zero point.
fn without_zero(graph: &Graph, id: NodeId) -> Option<DType> {
    let node = graph.node(id);
    if node.is("QuantizeLinear") {
        let asked = node.attrs.int("output_dtype").filter(|&code| code != 0);
        return asked.map_or(Some(DType::Uint8), |code| DType::from_code(i32::try_from(code).ok()?));
    }
    let codes = graph.node_input(id, 0)?;
    let made = graph.producer(codes).filter(|(from, _)| graph.node(*from).is("QuantizeLinear"));
    match (graph.constant(codes), made) {
        (Some(data), _) => Some(data.dtype()),
        (None, Some((from, _))) => match graph.constant_input(from, 2) {
            Some(zero) => Some(zero.dtype()),
            None => without_zero(graph, from),
        },
        (None, None) => graph.value(codes).ty.dtype(),
    }
}
