//! Merge slices of slices.

use super::axes::integers;
use crate::prelude::*;

/// Merge a `Slice` of a `Slice` into one, with constant starts, ends and steps.
///
/// Along different axes the two stand side by side. Along one axis they are computed together: where its size is known, or
/// where all numbers count from the front and steps are positive.
///
/// *Left alone:* numbers that are not constant, an axis of unknown size that is cut from the back twice, and a first
/// `Slice` that something else than such a `Slice` reads.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MergeSlices {}

impl Rule for MergeSlices {
    const META: PassMeta = PassMeta::exact("merge-slices", Family::Simplify);

    fn build(&self, p: &mut PatternBuilder) -> RuleFn {
        let inner = p.op_with_any_inputs(&["Slice"]);
        let inner = p.shared(inner);
        let (starts, ends, axes, steps) = (p.any(), p.any(), p.optional(), p.optional());
        let outer = p.op("Slice", (inner, starts, ends, axes, steps));
        rule_fn(move |m, rw| {
            let (x, middle, output) = (m.input(inner, 0)?, m.output(inner, 0)?, m.output(outer, 0)?);
            let first = cuts(m, m.id(inner))?;
            let second = cuts(m, m.id(outer))?;
            let stays = m.graph().is_pinned(middle)
                || m.graph().uses(middle).iter().any(|&(user, slot)| {
                    slot != Some(0) || !m.graph().node(user).is("Slice") || cuts(m, user).is_err()
                });
            Skip::unless(!stays, "something else reads the first Slice")?;
            let mut all = first;
            for cut in second {
                match all.iter_mut().find(|other| other.axis == cut.axis) {
                    Some(other) => {
                        let size = m.facts().known_dim(x, cut.axis);
                        *other = other.then(&cut, size).ok_or_else(|| {
                            Skip::because(
                                "an axis is cut twice, from the back or backwards, and its size is not known",
                            )
                        })?;
                    }
                    None => all.push(cut),
                }
            }
            let list = |of: fn(&Cut) -> i64| TensorData::vector(&all.iter().map(of).collect::<Vec<_>>());
            let mut inputs = vec![Operand::Old(x)];
            inputs.push(rw.constant("slice_starts", list(|cut| cut.start)));
            inputs.push(rw.constant("slice_ends", list(|cut| cut.end)));
            inputs.push(rw.constant("slice_axes", list(|cut| cut.axis as i64)));
            if all.iter().any(|cut| cut.step != 1) {
                inputs.push(rw.constant("slice_steps", list(|cut| cut.step)));
            }
            rw.emit("Slice", Attrs::new(), inputs, output);
            Ok(())
        })
    }
}

/// What a `Slice` takes of one axis.
#[derive(Debug, Clone, Copy)]
struct Cut {
    axis: usize,
    start: i64,
    end: i64,
    step: i64,
}

fn cuts(m: &Match<'_>, id: NodeId) -> Result<Vec<Cut>, Skip> {
    let list = |slot: usize| match m.graph().node_input(id, slot) {
        Some(_) => {
            integers(m, id, slot).map(Some).ok_or_else(|| Skip::because("its numbers are not constant"))
        }
        None => Ok(None),
    };
    let (starts, ends, axes, steps) = (list(1)?, list(2)?, list(3)?, list(4)?);
    let (starts, ends) = (starts.unwrap_or_default(), ends.unwrap_or_default());
    let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let negative = axes.iter().any(|&axis| axis < 0);
    let x = m.graph().node_input(id, 0).ok_or_else(Skip::no_concern)?;
    let rank = m.facts().rank(x);
    Skip::unless(rank.is_some() || !negative, "the rank is not known")?;
    let axes = axes_of(&axes, rank.unwrap_or(usize::MAX >> 1)).ok_or_else(Skip::no_concern)?;
    let steps = steps.unwrap_or_else(|| vec![1; starts.len()]);
    if starts.len() != ends.len()
        || starts.len() != axes.len()
        || starts.len() != steps.len()
        || steps.contains(&0)
    {
        return Err(Skip::no_concern());
    }
    let each = axes.into_iter().zip(starts).zip(ends).zip(steps);
    Ok(each.map(|(((axis, start), end), step)| Cut { axis, start, end, step }).collect())
}

impl Cut {
    /// This cut, and another one of what it leaves; `size` is that of the axis.
    fn then(&self, next: &Self, size: Option<i64>) -> Option<Self> {
        let forwards = self.step > 0 && next.step > 0;
        let from_front = [self.start, self.end, next.start, next.end].iter().all(|&n| n >= 0);
        if !forwards || !from_front && size.is_none() {
            return None;
        }
        let (first, second) = match size {
            Some(size) => {
                let first = self.within(size)?;
                (first, next.within(first.count())?)
            }
            None => (*self, *next),
        };
        let at = |index: i64| first.start.saturating_add(index.saturating_mul(first.step));
        Some(Self {
            axis: self.axis,
            start: at(second.start),
            end: first.end.min(at(second.end)),
            step: first.step.checked_mul(second.step)?,
        })
    }

    /// The same with the start and the end in an axis of a size.
    fn within(&self, size: i64) -> Option<Self> {
        let place = |at: i64| if at < 0 { at.saturating_add(size) } else { at }.clamp(0, size);
        (size >= 0).then(|| Self { start: place(self.start), end: place(self.end), ..*self })
    }

    /// How many elements lie between a start and an end that are in place.
    fn count(&self) -> i64 {
        (self.end - self.start).max(0).div_euclid(self.step)
            + i64::from((self.end - self.start).max(0) % self.step != 0)
    }
}
