//! Transposed bytes, at the speed of memory: weights are transposed on the way into the file.

use super::index::{Offsets, strides};

/// Side of the square tiles that are transposed at once: their lines stay in the cache.
const TILE: usize = 32;

/// The elements of a tensor of these dims with its axes in another order; `None` for elements that are no 1, 2, 4 or 8
/// bytes. `perm` is a permutation of the axes.
pub(super) fn permuted(bytes: &[u8], width: usize, dims: &[u64], perm: &[usize]) -> Option<Vec<u8>> {
    match width {
        1 => Some(moved::<1>(bytes, dims, perm)),
        2 => Some(moved::<2>(bytes, dims, perm)),
        4 => Some(moved::<4>(bytes, dims, perm)),
        8 => Some(moved::<8>(bytes, dims, perm)),
        _ => None,
    }
}

/// An axis of the output: its size, and how far apart its elements are in the input and in the output.
#[derive(Clone, Copy)]
struct Axis {
    size: usize,
    from: usize,
    to: usize,
}

fn moved<const W: usize>(bytes: &[u8], dims: &[u64], perm: &[usize]) -> Vec<u8> {
    let (source, _) = bytes.as_chunks::<W>();
    if source.is_empty() {
        return Vec::new();
    }
    let mut moved = vec![0; bytes.len()];
    let (out, _) = moved.as_chunks_mut::<W>();
    let mut axes = merged(dims, perm);
    // The axis along which the input lies in one piece, and the one along which the output does.
    let inner = axes.iter().position(|a| a.from == 1);
    let (Some(last), Some(inner)) = (axes.pop(), inner) else {
        return bytes.to_vec();
    };
    let whole = inner == axes.len();
    let tile = if whole { Axis { size: 1, from: 0, to: 0 } } else { axes.remove(inner) };
    let outer: Vec<u64> = axes.iter().map(|a| a.size as u64).collect();
    let along = |f: fn(&Axis) -> usize| -> Vec<isize> { axes.iter().map(|a| f(a) as isize).collect() };
    let from = Offsets::new(&outer, &along(|a| a.from), 0);
    let to = Offsets::new(&outer, &along(|a| a.to), 0);
    for (from, to) in from.zip(to) {
        if whole {
            out[to..to + last.size].copy_from_slice(&source[from..from + last.size]);
        } else {
            transpose(&source[from..], &mut out[to..], tile, last);
        }
    }
    moved
}

/// One matrix, tile by tile: `row` lies in one piece in the input, `column` in the output.
fn transpose<const W: usize>(source: &[[u8; W]], out: &mut [[u8; W]], row: Axis, column: Axis) {
    for top in (0..row.size).step_by(TILE) {
        let bottom = (top + TILE).min(row.size);
        for left in (0..column.size).step_by(TILE) {
            let right = (left + TILE).min(column.size);
            for r in top..bottom {
                for c in left..right {
                    out[r * row.to + c] = source[r + c * column.from];
                }
            }
        }
    }
}

/// The axes of the output, without those of size 1, and with neighbours in one where they are neighbours in the input.
fn merged(dims: &[u64], perm: &[usize]) -> Vec<Axis> {
    let from = strides(dims);
    let sizes: Vec<u64> = perm.iter().map(|&axis| dims[axis]).collect();
    let to = strides(&sizes);
    let mut axes: Vec<Axis> = Vec::with_capacity(perm.len());
    for (at, &axis) in perm.iter().enumerate().filter(|(_, axis)| dims[**axis] != 1) {
        let next = Axis { size: dims[axis] as usize, from: from[axis], to: to[at] };
        match axes.last_mut() {
            Some(before) if before.from == next.from * next.size => {
                *before = Axis { size: before.size * next.size, ..next };
            }
            _ => axes.push(next),
        }
    }
    axes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_definition() {
        let cases: &[(&[u64], &[usize])] = &[
            (&[3, 70], &[1, 0]),
            (&[2, 3, 4, 5], &[0, 2, 3, 1]),
            (&[2, 3, 4, 5], &[3, 1, 0, 2]),
            (&[2, 1, 4, 5], &[1, 0, 3, 2]),
            (&[4, 6], &[0, 1]),
            (&[1, 1], &[1, 0]),
            (&[5], &[0]),
            (&[3, 0, 2], &[2, 0, 1]),
            (&[], &[]),
        ];
        for (dims, perm) in cases {
            let count: usize = dims.iter().product::<u64>() as usize;
            let data: Vec<u8> = (0..count as u16).flat_map(u16::to_le_bytes).collect();
            let sizes: Vec<u64> = perm.iter().map(|&k| dims[k]).collect();
            let steps: Vec<isize> = perm.iter().map(|&k| strides(dims)[k] as isize).collect();
            let want: Vec<u8> =
                Offsets::new(&sizes, &steps, 0).flat_map(|at| data[2 * at..2 * at + 2].to_vec()).collect();
            assert_eq!(permuted(&data, 2, dims, perm), Some(want), "{dims:?} {perm:?}");
        }
    }
}
