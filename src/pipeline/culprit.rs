//! Which pass changed the answers.

use super::{Around, members_of, run_step};
use crate::engine::verify::{Outcome, Verifier};
use crate::ir::Model;
use crate::pass::{Member, run_members};
use crate::recipe::Step;
use crate::rewrite::Select;

/// Runs the exact steps again, step by step, and the step that breaks the answers pass by pass: the first one with which
/// they differ. `None` where no single pass does it.
pub(super) fn find(
    start: &Model,
    steps: &[Step],
    verifier: &mut Verifier<'_>,
    around: &Around<'_>,
) -> Option<String> {
    let mut differs = |model: &Model| matches!(verifier.check(model).outcome, Outcome::NotEqual { .. });
    if differs(start) {
        return Some("binding dims or changing the opset, before the first step".to_owned());
    }
    let mut model = start.clone();
    for step in steps {
        let before = model.clone();
        run_step(&mut model, step, around, &mut Vec::new()).ok()?;
        if !differs(&model) {
            continue;
        }
        let mut passes = Vec::new();
        members_of(step, &Select::default(), &mut passes);
        let members: Vec<_> = passes.iter().map(|(pass, select)| Member { pass: *pass, select }).collect();
        for count in 1..members.len() {
            let mut trial = before.clone();
            let mut cx = around.context(&trial);
            if run_members(&mut trial, &members[..count], &mut cx).is_err() {
                continue;
            }
            if differs(&trial) {
                return Some(members[count - 1].pass.meta().id.to_owned());
            }
        }
        return Some(members.last().map_or_else(|| step.id.clone(), |m| m.pass.meta().id.to_owned()));
    }
    None
}
