//! A layer whose weights get zeros.

use ndarray::{Array2, Axis as Dim, s};

use crate::prelude::*;

use super::candidates::line;
use super::layers::{Bias, Layer};
use super::seen::Reader;
use super::sparse::sparse;

/// A layer, and where its zeros go.
pub(super) struct Thin {
    pub layer: Layer,
    pub zeros: Zeros,
}

/// What became of a layer.
pub(super) struct Thinned {
    /// Whether any number is another one.
    pub changed: bool,
    /// Weights, and those that are zero.
    pub weights: usize,
    pub zeros: usize,
    /// The share of the power of its answers that is lost, where it was measured.
    pub lost: Option<f64>,
    /// The numbers of a row.
    pub row: usize,
}

/// Whether a constant bias can take up the mean of what is lost.
pub(super) fn has_bias(layer: &Layer) -> bool {
    matches!(layer.bias, Bias::Slot(Some(_)) | Bias::After(..))
}

impl Thin {
    /// Puts the zeros in; the others make up for them where it is known what the layer multiplies.
    pub fn run(&self, scope: &mut Scope<'_>, seen: Option<&Reader>) -> anyhow::Result<Thinned> {
        let fault = || anyhow::anyhow!("`{}` is no matrix", scope.graph.value(self.layer.weight).name);
        let data = scope.graph.constant(self.layer.weight).cloned().ok_or_else(fault)?;
        let before = self.layer.matrix(&data).ok_or_else(fault)?;
        let order = channels_last(before.ncols(), self.layer.each(&data));
        let measured = seen.and_then(|reader| self.compensated(&before, reader, &order));
        let lost = measured.as_ref().map(|(_, lost)| *lost);
        let made = measured.map_or_else(
            || back(&zero_least(&before.select(Dim(1), &order), self.zeros), &order),
            |(made, _)| made,
        );
        let tensor = self.layer.tensor(&made, &data).ok_or_else(fault)?;
        let changed = made != before;
        if changed {
            if let Some(reader) = seen.filter(|_| has_bias(&self.layer)) {
                self.layer.add(scope, &means(&(&before - &made), reader), data.dtype())?;
            }
            scope.set_constant_and_type(self.layer.weight, tensor);
        }
        let zeros = made.iter().filter(|x| **x == 0.0).count();
        Ok(Thinned { changed, weights: made.len(), zeros, lost, row: made.ncols() })
    }

    /// The weights group by group, and the share of the power of the answers that is lost.
    fn compensated(
        &self,
        before: &Array2<f64>,
        reader: &Reader,
        order: &[usize],
    ) -> Option<(Array2<f64>, f64)> {
        let groups = reader.groups();
        let rows = before.nrows() / groups.max(1);
        let (mut made, mut lost, mut power) = (before.clone(), 0.0, 0.0);
        for group in 0..groups {
            let mut part = made.slice_mut(s![group * rows..(group + 1) * rows, ..]);
            let weights = part.select(Dim(1), order);
            let products = reader.damped(group, has_bias(&self.layer));
            let products = products.select(Dim(0), order).select(Dim(1), order);
            let (found, loss) = zero_compensated(&weights, &products, self.zeros_of(group, groups))?;
            power += (&weights * &weights.dot(&products)).sum();
            lost += loss;
            part.assign(&back(&found, order));
        }
        Some((made, lost / power.max(f64::MIN_POSITIVE)))
    }

    /// The part of the zeros that a group of channels gets.
    fn zeros_of(&self, group: usize, groups: usize) -> Zeros {
        match self.zeros {
            Zeros::Count(all) => Zeros::Count(all * (group + 1) / groups - all * group / groups),
            pattern @ Zeros::Pattern { .. } => pattern,
        }
    }

    /// The entry in the report.
    pub fn told(&self, graph: &Graph, made: &Thinned) -> LayerReport {
        let share = made.zeros as f64 / made.weights.max(1) as f64;
        LayerReport { form: format!("{share:.3} zeros"), ..line(graph, self.layer.node) }
    }

    /// Stores the weight sparsely; its bytes then, or `None` where that would be no fewer.
    pub fn store(&self, scope: &mut Scope<'_>) -> Option<u64> {
        let data = sparse(scope.graph.constant(self.layer.weight)?)?;
        let bytes = data.values.byte_len() + data.indices.byte_len();
        scope.set_sparse(self.layer.weight, data);
        Some(bytes)
    }
}

/// The columns of a row with the input channels of each place of the window side by side.
fn channels_last(columns: usize, each: usize) -> Vec<usize> {
    (0..each).flat_map(|place| (place..columns).step_by(each)).collect()
}

/// Columns back from an order.
fn back(matrix: &Array2<f64>, order: &[usize]) -> Array2<f64> {
    let mut found = Array2::zeros(matrix.dim());
    for (column, &at) in matrix.columns().into_iter().zip(order) {
        found.column_mut(at).assign(&column);
    }
    found
}

/// The mean of what each row of a matrix adds to the answers.
fn means(rows: &Array2<f64>, reader: &Reader) -> Vec<f64> {
    let each = rows.nrows() / reader.groups().max(1);
    let means: Vec<Vec<f64>> = (0..reader.groups()).map(|group| reader.mean(group)).collect();
    let of = |(at, row): (usize, ndarray::ArrayView1<'_, f64>)| {
        row.iter().zip(&means[at / each.max(1)]).map(|(x, mean)| x * mean).sum()
    };
    rows.outer_iter().enumerate().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_at_a_place_of_the_window_become_neighbours_and_go_back() {
        let order = channels_last(6, 2);
        assert_eq!(order, [0, 2, 4, 1, 3, 5], "three channels, a window of two");
        let matrix = Array2::from_shape_fn((2, 6), |(r, c)| (r * 6 + c) as f64);
        assert_eq!(back(&matrix.select(Dim(1), &order), &order), matrix);
    }
}
