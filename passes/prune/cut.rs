//! Taking channels out of a graph: slices of constants, sizes of activations, and what operators say about both.

use std::collections::BTreeMap;

use crate::prelude::*;

use super::adjust::adjust;

/// The indices that go, by axis, ascending.
#[derive(Debug, Clone)]
pub(super) struct Cut {
    /// The pass that takes them out.
    pub pass: &'static str,
    gone: BTreeMap<Axis, Vec<u32>>,
}

impl Cut {
    /// What goes with some atoms of some groups.
    pub fn of<'a>(pass: &'static str, chosen: impl IntoIterator<Item = (&'a Group, &'a Atom)>) -> Self {
        let mut gone: BTreeMap<Axis, Vec<u32>> = BTreeMap::new();
        for (group, atom) in chosen {
            for (axis, indices) in group.axes.iter().zip(&atom.0) {
                gone.entry(*axis).or_default().extend(indices);
            }
        }
        gone.values_mut().for_each(|indices| {
            indices.sort_unstable();
            indices.dedup();
        });
        Self { pass, gone }
    }

    /// What goes with this and then with another, which counts what is left; in indices of the graph before both.
    pub fn then(&self, next: &Self, before: &Graph, facts: &Facts) -> Self {
        let mut gone = self.gone.clone();
        for (axis, indices) in &next.gone {
            if !before.contains_value(axis.value) {
                continue;
            }
            let size = channels::elements(facts, *axis).unwrap_or(0);
            let left = self.kept(*axis, u64::from(size));
            let all = gone.entry(*axis).or_default();
            all.extend(indices.iter().filter_map(|&i| left.get(i as usize)));
            all.sort_unstable();
        }
        Self { pass: self.pass, gone }
    }

    /// The indices of an axis that go.
    pub fn gone(&self, axis: Axis) -> &[u32] {
        self.gone.get(&axis).map(Vec::as_slice).unwrap_or_default()
    }

    /// Whether anything of a value goes.
    pub fn touches(&self, value: ValueId) -> bool {
        self.gone.range(Axis { value, axis: 0 }..).next().is_some_and(|(axis, _)| axis.value == value)
    }

    /// How many indices of an axis before `end` stay.
    pub fn kept_before(&self, axis: Axis, end: u64) -> u64 {
        end - self.gone(axis).iter().filter(|&&i| u64::from(i) < end).count() as u64
    }

    /// The indices of an axis of this size that stay.
    pub fn kept(&self, axis: Axis, size: u64) -> Vec<u32> {
        let gone = self.gone(axis);
        (0..size as u32).filter(|i| gone.binary_search(i).is_err()).collect()
    }

    /// A tensor without what goes.
    pub fn of_tensor(&self, value: ValueId, data: &TensorData) -> Option<TensorData> {
        (0..data.rank()).try_fold(data.clone(), |data, axis| {
            let axis = Axis { value, axis };
            if self.gone(axis).is_empty() {
                return Some(data);
            }
            data.take(axis.axis, &self.kept(axis, *data.dims().get(axis.axis)?))
        })
    }

    /// Takes the channels out.
    pub fn apply(&self, scope: &mut Scope<'_>) -> anyhow::Result<()> {
        for node in scope.graph.order()? {
            adjust(self, scope, node)?;
        }
        let values: Vec<ValueId> = scope.graph.values().filter(|&v| self.touches(v)).collect();
        for value in values {
            let known = scope.graph.value(value);
            if let Some(data) = &known.data {
                let name = known.name.clone();
                let cut = self.of_tensor(value, data);
                let cut =
                    cut.ok_or_else(|| anyhow::anyhow!("constant `{name}` has no slices to take out"))?;
                scope.set_constant_and_type(value, cut);
            } else {
                let gone = |axis| self.gone(Axis { value, axis }).len() as u64;
                scope.resize(value, |axis, size| size.saturating_sub(gone(axis)));
            }
        }
        Ok(())
    }
}
