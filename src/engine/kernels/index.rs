//! Dims, strides, broadcasting, and walking over elements in row-major order.

/// The number of elements; `None` where the product of the dims that are not zero overflows.
pub(crate) fn count(dims: &[u64]) -> Option<usize> {
    let product = dims.iter().filter(|&&d| d != 0).try_fold(1u64, |n, &d| n.checked_mul(d))?;
    let product = isize::try_from(product).ok()? as usize;
    Some(if dims.contains(&0) { 0 } else { product })
}

/// Row-major strides, in elements.
pub(crate) fn strides(dims: &[u64]) -> Vec<usize> {
    let mut strides = vec![1usize; dims.len()];
    for k in (1..dims.len()).rev() {
        strides[k - 1] = strides[k].saturating_mul(dims[k] as usize);
    }
    strides
}

/// The dims that several dims broadcast to, by the standard's multidirectional rule.
pub(crate) fn broadcast(shapes: &[&[u64]]) -> Option<Vec<u64>> {
    let rank = shapes.iter().map(|s| s.len()).max().unwrap_or(0);
    let mut out = vec![1u64; rank];
    for shape in shapes {
        for (to, &from) in out[rank - shape.len()..].iter_mut().zip(*shape) {
            match (*to, from) {
                (1, d) => *to = d,
                (_, 1) => {}
                (a, b) if a == b => {}
                _ => return None,
            }
        }
    }
    Some(out)
}

/// Strides that read a tensor of `dims` as if it had been broadcast to `out`; `None` where it does not broadcast.
pub(crate) fn broadcast_strides(dims: &[u64], out: &[u64]) -> Option<Vec<isize>> {
    let lead = out.len().checked_sub(dims.len())?;
    let mut result = vec![0isize; lead];
    for ((&d, &to), stride) in dims.iter().zip(&out[lead..]).zip(strides(dims)) {
        match d {
            1 => result.push(0),
            _ if d == to => result.push(stride as isize),
            _ => return None,
        }
    }
    Some(result)
}

/// The offsets of the elements of a tensor of some dims under given strides, in row-major order.
#[derive(Debug, Clone)]
pub(crate) struct Offsets {
    axes: Vec<Axis>,
    offset: isize,
    left: usize,
}

#[derive(Debug, Clone)]
struct Axis {
    at: u64,
    size: u64,
    stride: isize,
}

impl Offsets {
    /// Walks over `dims`, with one stride (which may be zero or negative) an axis, from the offset `start`.
    pub(crate) fn new(dims: &[u64], strides: &[isize], start: usize) -> Self {
        debug_assert_eq!(dims.len(), strides.len());
        let axes = dims.iter().zip(strides).map(|(&size, &stride)| Axis { at: 0, size, stride });
        Self { axes: axes.collect(), offset: start as isize, left: count(dims).unwrap_or(0) }
    }

    /// Walks over a tensor of `dims` as if it were broadcast to `out`.
    pub(crate) fn broadcast(dims: &[u64], out: &[u64]) -> Option<Self> {
        Some(Self::new(out, &broadcast_strides(dims, out)?, 0))
    }
}

impl Iterator for Offsets {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let offset = self.offset;
        for axis in self.axes.iter_mut().rev() {
            axis.at += 1;
            if axis.at < axis.size {
                self.offset += axis.stride;
                break;
            }
            self.offset -= axis.stride * (axis.size as isize - 1);
            axis.at = 0;
        }
        Some(offset as usize)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Offsets {}

/// The coordinates of the elements of a tensor of some dims, in row-major order.
#[derive(Debug, Clone)]
pub(crate) struct Odometer {
    dims: Vec<u64>,
    at: Vec<u64>,
    left: usize,
    started: bool,
}

impl Odometer {
    /// Walks over `dims`.
    pub(crate) fn new(dims: &[u64]) -> Self {
        Self { dims: dims.to_vec(), at: vec![0; dims.len()], left: count(dims).unwrap_or(0), started: false }
    }

    /// The next coordinates; `None` after the last.
    pub(crate) fn advance(&mut self) -> Option<&[u64]> {
        self.left = self.left.checked_sub(1)?;
        if self.started {
            for (at, &size) in self.at.iter_mut().zip(&self.dims).rev() {
                *at += 1;
                if *at < size {
                    break;
                }
                *at = 0;
            }
        }
        self.started = true;
        Some(&self.at)
    }
}

/// The tensor around one axis: `outer` blocks of `size` rows of `inner` elements each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Around {
    /// Product of the dims before the axis.
    pub(crate) outer: usize,
    /// The axis's own dim.
    pub(crate) size: usize,
    /// Product of the dims after it.
    pub(crate) inner: usize,
}

impl Around {
    /// Splits dims at an axis, which must be one of theirs.
    pub(crate) fn new(dims: &[u64], axis: usize) -> Option<Self> {
        let size = usize::try_from(*dims.get(axis)?).ok()?;
        Some(Self { outer: count(&dims[..axis])?, size, inner: count(&dims[axis + 1..])? })
    }

    /// The offset of the first element of every lane along the axis, in row-major order; step by `inner` within one.
    pub(crate) fn lanes(self) -> impl Iterator<Item = usize> {
        (0..self.outer).flat_map(move |o| (0..self.inner).map(move |i| o * self.size * self.inner + i))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_do_not_overflow() {
        assert_eq!(count(&[]), Some(1));
        assert_eq!(count(&[2, 0, 3]), Some(0));
        assert_eq!(count(&[1 << 40, 1 << 40]), None);
        assert_eq!(count(&[1 << 40, 1 << 40, 0]), None);
    }

    #[test]
    fn broadcasts_by_the_rule() {
        assert_eq!(broadcast(&[&[3, 1], &[4]]), Some(vec![3, 4]));
        assert_eq!(broadcast(&[&[0], &[1]]), Some(vec![0]));
        assert_eq!(broadcast(&[&[2], &[3]]), None);
        assert_eq!(broadcast_strides(&[3, 1], &[2, 3, 4]), Some(vec![0, 1, 0]));
        assert_eq!(broadcast_strides(&[2], &[4]), None);
        let offsets: Vec<_> = Offsets::broadcast(&[2, 1], &[2, 2, 3]).unwrap().collect();
        assert_eq!(offsets, [0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1, 1]);
    }

    #[test]
    fn walks_in_row_major_order() {
        let backwards: Vec<_> = Offsets::new(&[2, 3], &[3, -1], 2).collect();
        assert_eq!(backwards, [2, 1, 0, 5, 4, 3]);
        assert_eq!(Offsets::new(&[], &[], 7).collect::<Vec<_>>(), [7]);
        assert_eq!(Offsets::new(&[2, 0], &[1, 1], 0).count(), 0);
        let mut walk = Odometer::new(&[2, 2]);
        let mut seen = Vec::new();
        while let Some(at) = walk.advance() {
            seen.push(at.to_vec());
        }
        assert_eq!(seen, [[0, 0], [0, 1], [1, 0], [1, 1]]);
        let lanes: Vec<_> = Around::new(&[2, 3, 2], 1).unwrap().lanes().collect();
        assert_eq!(lanes, [0, 1, 6, 7]);
    }
}
