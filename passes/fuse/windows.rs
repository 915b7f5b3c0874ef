//! The places that a convolution or a pooling reads: kernel, strides, dilations and padding of its spatial axes.

use crate::prelude::*;

/// The windows of an operator with a sliding kernel, a number per spatial axis.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Windows {
    pub kernel: Vec<i64>,
    pub strides: Vec<i64>,
    pub dilations: Vec<i64>,
    /// What is padded before and after.
    pub before: Vec<i64>,
    pub after: Vec<i64>,
}

impl Windows {
    /// The windows of a node with this kernel; `None` where the attributes make no sense, or where the padding depends
    /// on the size of the input.
    pub(super) fn of(node: &Node, kernel: &[u64]) -> Option<Self> {
        let rank = kernel.len();
        let kernel: Vec<i64> = kernel.iter().map(|&k| i64::try_from(k).ok()).collect::<Option<_>>()?;
        let list = |name: &str| match node.attrs.ints(name) {
            None => Some(vec![1; rank]),
            Some(list) => {
                (list.len() == rank && list.iter().all(|&n| (1..1 << 31).contains(&n))).then(|| list.to_vec())
            }
        };
        let (strides, dilations) = (list("strides")?, list("dilations")?);
        let written = node.attrs.ints("kernel_shape").is_none_or(|shape| shape == kernel);
        if !written || kernel.iter().any(|k| !(1..1 << 31).contains(k)) {
            return None;
        }
        let (before, after) = match node.attrs.str("auto_pad").unwrap_or("NOTSET") {
            "NOTSET" | "" => match node.attrs.ints("pads") {
                None => (vec![0; rank], vec![0; rank]),
                Some(pads) if pads.len() == 2 * rank && pads.iter().all(|p| (0..1 << 31).contains(p)) => {
                    (pads[..rank].to_vec(), pads[rank..].to_vec())
                }
                Some(_) => return None,
            },
            "VALID" => (vec![0; rank], vec![0; rank]),
            same @ ("SAME_UPPER" | "SAME_LOWER") if strides.iter().all(|&s| s == 1) => {
                let total = kernel.iter().zip(&dilations).map(|(k, d)| (k - 1) * d);
                let (less, more) = total.map(|t| (t / 2, t - t / 2)).unzip();
                if same == "SAME_UPPER" { (less, more) } else { (more, less) }
            }
            _ => return None,
        };
        Some(Self { kernel, strides, dilations, before, after })
    }

    /// A window of one element that moves by one.
    pub(super) fn point(rank: usize) -> Self {
        let (ones, zeros) = (vec![1; rank], vec![0; rank]);
        Self {
            kernel: ones.clone(),
            strides: ones.clone(),
            dilations: ones,
            before: zeros.clone(),
            after: zeros,
        }
    }

    /// Whether every axis has a kernel of one.
    pub(super) fn is_point(&self) -> bool {
        self.kernel.iter().all(|&k| k == 1)
    }

    /// Elements of the kernel.
    pub(super) fn size(&self) -> usize {
        self.kernel.iter().product::<i64>() as usize
    }

    /// Whether nothing is padded.
    pub(super) fn is_unpadded(&self) -> bool {
        self.before.iter().chain(&self.after).all(|&p| p == 0)
    }

    /// How much longer the padding is than the reach of the kernel, per axis: with equal strides, what decides how many
    /// windows there are.
    pub(super) fn slack(&self) -> Vec<i64> {
        let reach = self.kernel.iter().zip(&self.dilations).map(|(k, d)| (k - 1) * d);
        self.before.iter().zip(&self.after).zip(reach).map(|((b, a), reach)| b + a - reach).collect()
    }

    /// Before and after, as the attribute has them.
    pub(super) fn pads(&self) -> Vec<i64> {
        self.before.iter().chain(&self.after).copied().collect()
    }

    /// For every element of a smaller kernel, in row-major order, the element of this one that reads the same place at
    /// every position; `None` where the two do not move alike or one of them reads what the other does not.
    pub(super) fn places_of(&self, small: &Self) -> Option<Vec<usize>> {
        if self.strides != small.strides || self.slack() != small.slack() {
            return None;
        }
        let mut places = vec![0usize];
        for axis in 0..self.kernel.len() {
            let shift = self.before[axis] - small.before[axis];
            let along: Vec<usize> = (0..small.kernel[axis])
                .map(|j| {
                    let offset = shift + j * small.dilations[axis];
                    let at = offset / self.dilations[axis];
                    let hit = offset % self.dilations[axis] == 0 && (0..self.kernel[axis]).contains(&at);
                    if hit { usize::try_from(at).ok() } else { None }
                })
                .collect::<Option<_>>()?;
            let size = self.kernel[axis] as usize;
            places = places.iter().flat_map(|&p| along.iter().map(move |&at| p * size + at)).collect();
        }
        Some(places)
    }
}
