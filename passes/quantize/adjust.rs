//! Rounding a weight: which grids, which codes, and what that takes from the mean of the results.

use ndarray::{Array2, Axis};

use crate::prelude::PairReport;
use crate::prelude::descent::{Problem, RowGrid, fit_rows};

use super::blocks::{Codes, ErrorOf, Gridded, Layout, ScaleSearch, Scales};
use super::codes::Rows;
use super::moments::Inputs;
use super::rounding::{Rounding, Steps, pair_order};

/// The share of the mean power of the inputs that is added to each: what the samples do not show.
const DAMPING: f64 = 0.02;

/// How weights are rounded.
pub(super) struct Adjust {
    /// The integers.
    pub codes: Codes,
    /// How scales are chosen.
    pub search: ScaleSearch,
    /// How codes are.
    pub rounding: Rounding,
}

/// What the rows of a group are multiplied with.
struct Seen {
    products: Array2<f64>,
    mean: Vec<f64>,
}

impl Adjust {
    /// Rounds a weight. `inputs`: what its readers multiply it with, where that was measured, and whether all of them
    /// give the mean back.
    pub fn weight(&self, rows: &Rows, layout: &Layout, inputs: Option<(&Inputs, bool)>) -> Gridded {
        let width = rows.items.first().map_or(0, Vec::len);
        let blocks = layout.blocks(width);
        let groups = inputs.map_or(1, |(inputs, _)| inputs.groups());
        let each = (rows.items.len() / groups.max(1)).max(1);
        let seen: Vec<Option<Seen>> =
            (0..groups).map(|group| Some(Seen::of(inputs?, group, width))).collect();
        let of_row = |row: usize| seen.get(row / each).and_then(Option::as_ref);
        let mut grids = if layout.scales == Scales::Tensor {
            let grid = self.common(rows, of_row);
            vec![grid; rows.items.len()]
        } else {
            let places = places(&blocks);
            let parts: Vec<Vec<Array2<f64>>> =
                (seen.iter().flatten()).map(|s| places.iter().map(|p| s.within(p)).collect()).collect();
            let row = |(at, items): (usize, &Vec<f64>)| {
                self.row(items, &places, parts.get(at / each).map(Vec::as_slice))
            };
            rows.items.iter().enumerate().map(row).collect()
        };
        if self.rounding == Rounding::Nearest || inputs.is_none() {
            return Gridded::nearest(rows, grids, &blocks);
        }
        let fit = |step: f64| self.codes.fit(step);
        let free = self.search != ScaleSearch::MinMax && layout.scales != Scales::Tensor;
        let mut codes = Vec::new();
        for ((group, part), grids) in rows.items.chunks(each).enumerate().zip(grids.chunks_mut(each)) {
            let Some(Some(seen)) = seen.get(group) else { continue };
            let problem = Problem { blocks: &blocks, products: &seen.products, damping: 0.0 };
            codes.extend(fit_rows(part, grids, &problem, free.then_some(&fit)));
        }
        Gridded { grids, codes }
    }

    /// Rounds the weight of a matrix product of unsigned and signed bytes on kernels that add two neighbouring products in
    /// 16 bits: so that no pair overflows them. Says how many would have.
    pub fn weight_in_pairs(
        &self,
        rows: &Rows,
        layout: &Layout,
        inputs: Option<(&Inputs, bool)>,
    ) -> (Gridded, Option<PairReport>) {
        let first = Self { rounding: Rounding::Nearest, ..*self }.weight(rows, layout, inputs);
        let step = |grid: &RowGrid| grid.steps.first().map_or(1.0, |&step| step as f32);
        let on = Steps {
            by_row: first.grids.iter().map(step).collect(),
            apart: layout.scales != Scales::Tensor,
            bounds: (self.codes.bounds.0 as i8, self.codes.bounds.1 as i8),
            pairs: pair_order((false, 1), rows),
        };
        let inputs = inputs.filter(|_| self.rounding == Rounding::Compensated);
        let rounded = on.round(rows, inputs, |_, _| 1.0);
        let grid = |&step: &f32| RowGrid { steps: vec![f64::from(step)], bounds: vec![self.codes.bounds] };
        let codes = |row: &Vec<i32>| row.iter().map(|&code| f64::from(code)).collect();
        let made = Gridded {
            grids: rounded.steps.iter().map(grid).collect(),
            codes: rounded.codes.iter().map(codes).collect(),
        };
        (made, rounded.pairs())
    }

    /// The grid of all rows together.
    fn common<'s>(&self, rows: &Rows, seen: impl Fn(usize) -> Option<&'s Seen>) -> RowGrid {
        let powers: Vec<f64> = (rows.items.iter().enumerate())
            .flat_map(|(at, row)| match seen(at) {
                Some(seen) => seen.powers(),
                None => vec![1.0; row.len()],
            })
            .collect();
        let error = |gaps: &[f64]| gaps.iter().zip(&powers).map(|(g, p)| g * g * p).sum();
        let items = rows.items.concat();
        let (step, bounds) = self.codes.grid(&items, self.searched(&error));
        RowGrid { steps: vec![step], bounds: vec![bounds] }
    }

    /// The grids of a row: `places` of each block, and the products of the inputs there.
    fn row(&self, items: &[f64], places: &[Vec<usize>], products: Option<&[Array2<f64>]>) -> RowGrid {
        let one = |(block, places): (usize, &Vec<usize>)| {
            let items: Vec<f64> = places.iter().map(|&at| items[at]).collect();
            let products = products.and_then(|p| p.get(block));
            let error = |gaps: &[f64]| self.error(gaps, products);
            self.codes.grid(&items, self.searched(&error))
        };
        let (steps, bounds) = places.iter().enumerate().map(one).unzip();
        RowGrid { steps, bounds }
    }

    /// The error of a block by which its grid is chosen.
    fn error(&self, gaps: &[f64], products: Option<&Array2<f64>>) -> f64 {
        let Some(products) = products else { return gaps.iter().map(|g| g * g).sum() };
        if self.search == ScaleSearch::Mse {
            return gaps.iter().enumerate().map(|(at, g)| g * g * products[[at, at]]).sum();
        }
        let line = |(at, line): (usize, ndarray::ArrayView1<'_, f64>)| -> f64 {
            gaps[at] * line.iter().zip(gaps).map(|(h, g)| h * g).sum::<f64>()
        };
        products.outer_iter().enumerate().map(line).sum()
    }

    fn searched<'e, 'f>(&self, error: &'e ErrorOf<'f>) -> Option<&'e ErrorOf<'f>> {
        (self.search != ScaleSearch::MinMax).then_some(error)
    }
}

impl Seen {
    fn of((inputs, centred): (&Inputs, bool), group: usize, width: usize) -> Self {
        let (mut products, mean) = inputs.of_group(group, &vec![1.0; width], centred);
        let added = DAMPING * products.diag().mean().unwrap_or(0.0);
        products.diag_mut().mapv_inplace(|x| x + added);
        Self { products, mean }
    }

    fn powers(&self) -> Vec<f64> {
        self.products.diag().to_vec()
    }

    fn within(&self, places: &[usize]) -> Array2<f64> {
        self.products.select(Axis(0), places).select(Axis(1), places)
    }
}

/// The places of every block.
fn places(blocks: &[usize]) -> Vec<Vec<usize>> {
    let mut places = vec![Vec::new(); blocks.iter().max().map_or(0, |most| most + 1)];
    blocks.iter().enumerate().for_each(|(at, &block)| places[block].push(at));
    places
}

/// What rounding takes from the mean of every output channel of a reader with these inputs.
pub(super) fn shifts(rows: &Rows, made: &Gridded, layout: &Layout, inputs: &Inputs) -> Vec<f64> {
    let width = rows.items.first().map_or(0, Vec::len);
    let blocks = layout.blocks(width);
    let each = (rows.items.len() / inputs.groups().max(1)).max(1);
    let means: Vec<Vec<f64>> =
        (0..inputs.groups()).map(|group| Seen::of((inputs, true), group, width).mean).collect();
    let shift = |(at, row): (usize, &Vec<f64>)| {
        let numbers = made.grids[at].numbers(&made.codes[at], &blocks);
        row.iter().zip(numbers).zip(&means[at / each]).map(|((w, q), m)| (w - q) * m).sum()
    };
    rows.items.iter().enumerate().map(shift).collect()
}
