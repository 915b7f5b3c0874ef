//! In which order channels go, by what their loss costs the layers that read them when these make up for it: optimal brain
//! surgeon (Hassibi 1993), for whole blocks of columns, each removal updating the rest exactly.

use std::collections::BTreeMap;

use ndarray::linalg::general_mat_mul;
use ndarray::{Array2, Axis as Dim, s};

use crate::prelude::*;

use super::seen::Reader;

/// One matrix of weights, with the inverse of the moments of its inputs.
struct Side {
    /// `[inputs, outputs]`.
    weights: Array2<f64>,
    inverse: Array2<f64>,
    /// The columns of every atom.
    columns: Vec<Vec<usize>>,
    /// The power of all its answers.
    power: f64,
}

/// Atoms in the order in which they go, and what is lost until then: the share of the power of the answers of the layers
/// that read them.
pub(super) struct Order {
    pub atoms: Vec<usize>,
    pub lost: Vec<f64>,
}

/// The order of the atoms of a group; `None` where no layer with known inputs reads them.
pub(super) fn order(group: &Group, readers: &BTreeMap<ValueId, Reader>, most: usize) -> Option<Order> {
    let mut sides = Vec::new();
    for (place, axis) in group.axes.iter().enumerate() {
        let Some(reader) = readers.get(&axis.value).filter(|reader| reader.layer.sums == axis.axis) else {
            continue;
        };
        let columns: Vec<Vec<usize>> = (group.atoms.iter())
            .map(|atom| {
                let of = |&i: &u32| i as usize * reader.each..(i as usize + 1) * reader.each;
                atom.0[place].iter().flat_map(of).collect()
            })
            .collect();
        let rows = reader.weights.nrows() / reader.groups().max(1);
        for number in 0..reader.groups() {
            let weights = reader.weights.slice(s![number * rows..(number + 1) * rows, ..]).to_owned();
            let products = reader.products(number);
            let power = (&weights * &weights.dot(&products)).sum().max(f64::MIN_POSITIVE);
            let (inverse, weights) = (inverse(&products)?, weights.t().as_standard_layout().into_owned());
            sides.push(Side { weights, inverse, columns: columns.clone(), power });
        }
    }
    if sides.is_empty() { None } else { Some(run(sides, group.atoms.len(), most)) }
}

/// Scores by the order in which atoms go: what each of them adds to the loss, never less than one that went before.
pub(super) fn scores(group: &Group, readers: &BTreeMap<ValueId, Reader>) -> Option<Vec<f64>> {
    let order = order(group, readers, group.atoms.len())?;
    let mut scores = vec![f64::INFINITY; group.atoms.len()];
    let (mut before, mut least) = (0.0, 0.0);
    for (&atom, &lost) in order.atoms.iter().zip(&order.lost) {
        least = f64::max(least, lost - before);
        before = lost;
        scores[atom] = least;
    }
    Some(scores)
}

/// Removes atoms, the cheapest first, a few at a time where there are many.
fn run(mut sides: Vec<Side>, count: usize, most: usize) -> Order {
    let mut left: Vec<usize> = (0..count).collect();
    let mut found = Order { atoms: Vec::new(), lost: Vec::new() };
    let mut total = 0.0;
    while found.atoms.len() < most && left.len() > 1 {
        let mut costs: Vec<(f64, usize)> = (left.iter())
            .map(|&atom| (sides.iter().map(|side| side.cost(atom)).sum::<f64>(), atom))
            .collect();
        costs.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let batch = (left.len() / 64).max(1).min(most - found.atoms.len()).min(left.len() - 1);
        let gone: Vec<usize> = costs.iter().take(batch).map(|&(_, atom)| atom).collect();
        let mut lost = vec![0.0; batch];
        for side in &mut sides {
            lost.iter_mut().zip(side.remove(&gone)).for_each(|(sum, lost)| *sum += lost);
        }
        for lost in lost {
            total += lost;
            found.lost.push(total);
        }
        found.atoms.extend(&gone);
        left.retain(|atom| !gone.contains(atom));
    }
    found.atoms.extend(left);
    found
}

impl Side {
    /// What it costs to remove an atom: `Σ w·(H⁻¹)⁻¹·wᵀ` over its columns, by the power of the answers.
    fn cost(&self, atom: usize) -> f64 {
        let columns = &self.columns[atom];
        if let [column] = columns[..] {
            let weights = self.weights.row(column);
            return weights.dot(&weights) / self.inverse[[column, column]] / self.power;
        }
        let block = self.inverse.select(Dim(0), columns).select(Dim(1), columns);
        let Some(block) = inverse(&block) else { return f64::INFINITY };
        let weights = self.weights.select(Dim(0), columns);
        (&weights * &block.dot(&weights)).sum() / self.power
    }

    /// Removes atoms one after the other; the other weights make up for them, and the inverse forgets them. What each of
    /// them costs when those before it are gone.
    ///
    /// With `B` their columns and `L·Lᵀ` the block of the inverse there, `L⁻¹` takes the columns one by one: what is left
    /// of each when those before it are gone. So the costs are the squares of `w·L⁻ᵀ`, and one product of matrices updates
    /// everything.
    fn remove(&mut self, atoms: &[usize]) -> Vec<f64> {
        let columns: Vec<usize> = atoms.iter().flat_map(|&atom| self.columns[atom].iter().copied()).collect();
        let rows = self.inverse.select(Dim(0), &columns);
        let Some(root) = cholesky(rows.select(Dim(1), &columns)) else { return vec![0.0; atoms.len()] };
        let back = invert_lower(&root);
        let (moved, rows) = (back.dot(&self.weights.select(Dim(0), &columns)), back.dot(&rows));
        general_mat_mul(-1.0, &rows.t(), &moved, 1.0, &mut self.weights);
        general_mat_mul(-1.0, &rows.t(), &rows, 1.0, &mut self.inverse);
        for &column in &columns {
            self.weights.row_mut(column).fill(0.0);
            self.inverse.row_mut(column).fill(0.0);
            self.inverse.column_mut(column).fill(0.0);
            self.inverse[[column, column]] = 1.0;
        }
        let squares = moved.rows().into_iter().map(|row| row.dot(&row) / self.power);
        let mut squares = squares.collect::<Vec<f64>>().into_iter();
        atoms.iter().map(|&atom| squares.by_ref().take(self.columns[atom].len()).sum()).collect()
    }
}

/// Scores by the power of what a channel adds to the answers alone, without what others could make up for.
pub(super) fn powers(group: &Group, readers: &BTreeMap<ValueId, Reader>) -> Option<Vec<f64>> {
    let mut total = vec![0.0; group.atoms.len()];
    let mut any = false;
    for (place, axis) in group.axes.iter().enumerate() {
        let Some(reader) = readers.get(&axis.value).filter(|reader| reader.layer.sums == axis.axis) else {
            continue;
        };
        any = true;
        let rows = reader.weights.nrows() / reader.groups().max(1);
        for number in 0..reader.groups() {
            let products = reader.products(number);
            let weights = reader.weights.slice(s![number * rows..(number + 1) * rows, ..]);
            let power = (&weights * &weights.dot(&products)).sum().max(f64::MIN_POSITIVE);
            for (total, atom) in total.iter_mut().zip(&group.atoms) {
                for column in atom.0[place]
                    .iter()
                    .flat_map(|&i| i as usize * reader.each..(i as usize + 1) * reader.each)
                {
                    let square: f64 = weights.column(column).iter().map(|w| w * w).sum();
                    *total += square * products[[column, column]] / power;
                }
            }
        }
    }
    any.then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two columns that say the same, one that says much, one that says little.
    fn sides() -> Vec<Side> {
        let x = Array2::from_shape_fn((200, 4), |(i, j)| {
            let noise = |k: usize| ((i * 37 + k * 101 + i * i * 3) % 19) as f64 / 9.0 - 1.0;
            match j {
                0 => noise(1),
                1 => noise(1) + 0.01 * noise(2),
                2 => 3.0 * noise(3),
                _ => 0.1 * noise(4),
            }
        });
        let products = x.t().dot(&x) / 200.0 + Array2::<f64>::eye(4) * 1e-6;
        let factor = inverse_factor(&products).unwrap();
        let weights = Array2::from_shape_vec((2, 4), vec![1.0, 1.0, 1.0, 1.0, 2.0, -1.0, 1.0, 1.0]).unwrap();
        let power = (&weights * &weights.dot(&products)).sum();
        let columns = (0..4).map(|i| vec![i]).collect();
        let weights = weights.reversed_axes();
        vec![Side { weights, inverse: factor.t().dot(&factor), columns, power }]
    }

    #[test]
    fn what_others_say_too_goes_first_and_what_says_most_last() {
        let order = run(sides(), 4, 3);
        assert!(order.atoms[0] == 1 || order.atoms[0] == 0, "{:?}", order.atoms);
        assert_eq!(order.atoms[1], 3, "it says little");
        assert!(
            order.lost.windows(2).all(|pair| pair[0] <= pair[1]) && order.lost[0] < 1e-3,
            "{:?}",
            order.lost
        );
        assert_eq!(order.atoms.len(), 4);
    }

    #[test]
    fn atoms_that_go_together_cost_what_they_cost_one_by_one() {
        let (mut together, mut alone) = (sides().remove(0), sides().remove(0));
        let lost = together.remove(&[1, 3]);
        let first = alone.cost(1);
        alone.remove(&[1]);
        let second = alone.cost(3);
        alone.remove(&[3]);
        let near = |a: f64, b: f64| (a - b).abs() < 1e-9 * (1.0 + b.abs());
        assert!(near(lost[0], first) && near(lost[1], second), "{lost:?} {first} {second}");
        let pairs =
            together.inverse.iter().zip(&alone.inverse).chain(together.weights.iter().zip(&alone.weights));
        assert!(pairs.into_iter().all(|(&a, &b)| near(a, b)));
    }

    #[test]
    fn updated_weights_are_those_of_least_squares() {
        let mut all = sides();
        let side = &mut all[0];
        let before = side.weights.clone();
        let factor = inverse_factor(&side.inverse).unwrap();
        let products = factor.t().dot(&factor);
        side.remove(&[1]);
        // The kept columns of the solution of the normal equations.
        let kept = [0, 2, 3];
        let inner = products.select(Dim(0), &kept).select(Dim(1), &kept);
        let factor = inverse_factor(&inner).unwrap();
        let wanted = before.t().dot(&products.select(Dim(1), &kept)).dot(&factor.t().dot(&factor));
        for (at, &column) in kept.iter().enumerate() {
            for row in 0..2 {
                assert!((side.weights[[column, row]] - wanted[[row, at]]).abs() < 1e-6);
            }
        }
    }
}
