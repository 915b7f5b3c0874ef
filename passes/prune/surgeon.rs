//! In which order channels go, by what their loss costs the layers that read them when these make up for it: optimal brain
//! surgeon (Hassibi 1993), for whole blocks of columns, each removal updating the rest exactly.

use std::collections::BTreeMap;

use ndarray::{Array2, Axis as Dim, s};

use crate::prelude::*;

use super::seen::Reader;

/// One matrix of weights, with the inverse of the moments of its inputs.
struct Side {
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
            let factor = inverse_factor(&products)?;
            let inverse = factor.t().dot(&factor);
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
        for &(_, atom) in costs.iter().take(batch) {
            // What went before in this batch has changed the cost.
            total += sides.iter().map(|side| side.cost(atom)).sum::<f64>();
            sides.iter_mut().for_each(|side| side.remove(atom));
            found.atoms.push(atom);
            found.lost.push(total);
            left.retain(|&other| other != atom);
        }
    }
    found.atoms.extend(left);
    found
}

impl Side {
    /// The block of the inverse at the columns of an atom, inverted.
    fn block(&self, atom: usize) -> Option<Array2<f64>> {
        let columns = &self.columns[atom];
        let block = self.inverse.select(Dim(0), columns).select(Dim(1), columns);
        let factor = inverse_factor(&block)?;
        Some(factor.t().dot(&factor))
    }

    /// What it costs to remove an atom: `Σ w·(H⁻¹)⁻¹·wᵀ` over its columns, by the power of the answers.
    fn cost(&self, atom: usize) -> f64 {
        let Some(block) = self.block(atom) else { return f64::INFINITY };
        let weights = self.weights.select(Dim(1), &self.columns[atom]);
        (&weights * &weights.dot(&block)).sum() / self.power
    }

    /// Removes an atom; the other weights make up for it, and the inverse forgets it.
    fn remove(&mut self, atom: usize) {
        let Some(block) = self.block(atom) else { return };
        let columns = &self.columns[atom];
        let rows = self.inverse.select(Dim(0), columns);
        let weights = self.weights.select(Dim(1), columns);
        self.weights -= &weights.dot(&block).dot(&rows);
        let update = rows.t().dot(&block.dot(&rows));
        self.inverse -= &update;
        for &column in columns {
            self.weights.column_mut(column).fill(0.0);
            self.inverse.row_mut(column).fill(0.0);
            self.inverse.column_mut(column).fill(0.0);
            self.inverse[[column, column]] = 1.0;
        }
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
    fn updated_weights_are_those_of_least_squares() {
        let mut all = sides();
        let side = &mut all[0];
        let before = side.weights.clone();
        let factor = inverse_factor(&side.inverse).unwrap();
        let products = factor.t().dot(&factor);
        side.remove(1);
        // The kept columns of the solution of the normal equations.
        let kept = [0, 2, 3];
        let inner = products.select(Dim(0), &kept).select(Dim(1), &kept);
        let factor = inverse_factor(&inner).unwrap();
        let wanted = before.dot(&products.select(Dim(1), &kept)).dot(&factor.t().dot(&factor));
        for (at, &column) in kept.iter().enumerate() {
            for row in 0..2 {
                assert!((side.weights[[row, column]] - wanted[[row, at]]).abs() < 1e-6);
            }
        }
    }
}
