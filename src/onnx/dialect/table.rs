//! Every change of an operator between two versions, in both directions.

use std::collections::HashMap;
use std::sync::LazyLock;

use super::draft::{Draft, Outcome};
use super::{axes, elementwise, normalize, pool, resize, values};

/// Changes a form, or refuses where no form of the other version means exactly the same.
pub(super) type StepFn = fn(&mut Draft<'_>) -> Outcome;

/// Operator, the two versions, the way up and the way down.
pub(super) type Row = (&'static str, i64, i64, StepFn, StepFn);

/// The form stays as it is.
pub(super) fn same(_: &mut Draft<'_>) -> Outcome {
    Ok(())
}

/// Both directions of one change.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub up: StepFn,
    pub down: StepFn,
}

/// An operator that goes on under another name.
#[derive(Debug)]
pub(super) struct Renaming {
    /// The old name, and its last version.
    pub old: (&'static str, i64),
    /// The new name, and the version whose form the step up makes.
    pub new: (&'static str, i64),
}

/// Operators that go on under another name. The step up leads from the last version of the old to the given version of
/// the new; the step down from the first version of the new.
pub(super) const RENAMINGS: [Renaming; 2] = [
    Renaming { old: ("Upsample", 9), new: ("Resize", 11) },
    Renaming { old: ("Scatter", 9), new: ("ScatterElements", 11) },
];

/// Operators that an older opset says with another one: the step makes the newest form of that.
pub(super) const SUBSTITUTES: [(&str, StepFn); 2] =
    [("CastLike", values::cast_like_down), ("Celu", elementwise::celu_down)];

pub(super) const FAMILIES: [&[Row]; 6] =
    [axes::STEPS, elementwise::STEPS, normalize::STEPS, pool::STEPS, resize::STEPS, values::STEPS];

static STEPS: LazyLock<HashMap<(&str, i64), Step>> = LazyLock::new(|| {
    FAMILIES
        .iter()
        .copied()
        .flatten()
        .map(|&(op, from, _, up, down)| ((op, from), Step { up, down }))
        .collect()
});

/// The change that follows a version of an operator; `None` where nodes of that version stay as they are.
pub(super) fn step_after(op: &str, version: i64) -> Option<Step> {
    STEPS.get(&(op, version)).copied()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::as_is::AS_IS;
    use super::*;
    use crate::schema;

    /// Every pair of consecutive versions in the standard, as (operator, newer version).
    fn changes() -> BTreeSet<(&'static str, i64, i64)> {
        let all = schema::schemas().windows(2);
        let pairs = all.filter_map(|pair| match pair {
            [a, b] if a.domain.is_empty() && b.domain.is_empty() && a.name == b.name => {
                Some((a.name, a.since_version, b.since_version))
            }
            _ => None,
        });
        pairs.collect()
    }

    #[test]
    fn every_change_of_the_standard_is_judged_exactly_once() {
        let steps: Vec<_> = FAMILIES.iter().copied().flatten().map(|r| (r.0, r.1, r.2)).collect();
        let unique: BTreeSet<_> = steps.iter().copied().collect();
        assert_eq!(unique.len(), steps.len(), "a step is listed twice");
        let as_is: BTreeSet<_> =
            AS_IS.iter().flat_map(|(op, versions)| versions.iter().map(move |&v| (*op, v))).collect();
        let mut judged = unique.clone();
        for &(op, from, to) in &changes() {
            let kept = as_is.contains(&(op, to));
            assert!(kept != unique.contains(&(op, from, to)), "{op} {from} -> {to}: enter it in one table");
            judged.insert((op, from, to));
        }
        assert_eq!(judged, changes(), "a step is none of the standard");
        assert_eq!(judged.len(), unique.len() + as_is.len(), "an entry of `AS_IS` is none of the standard");
    }

    #[test]
    fn renamings_lead_from_withdrawn_operators_to_live_ones() {
        for Renaming { old, new } in &RENAMINGS {
            assert!(step_after(old.0, old.1).is_some());
            assert!(schema::newest("", old.0).is_some_and(|s| s.deprecated));
            assert!(
                schema::lookup("", new.0, new.1).is_some_and(|s| s.since_version == new.1 && !s.deprecated)
            );
        }
    }
}
