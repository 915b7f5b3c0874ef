//! Inline the branch of an `If` whose condition is constant.

use crate::prelude::*;

/// Replace an `If` whose condition is constant by the operators of the branch that is taken.
///
/// The branch's outputs take over the `If`'s names; names of the branch's own values survive where they are free.
///
/// *Left alone:* an `If` whose condition is not known before the model runs, or has more than one element, and one
/// whose branch is missing or has too few outputs.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct InlineConstantIf {}

const META: PassMeta = PassMeta::exact("inline-constant-if", Family::Simplify);

impl Pass for InlineConstantIf {
    fn meta(&self) -> &'static PassMeta {
        &META
    }

    fn run(&self, model: &mut Model, cx: &mut PassContext<'_>) -> anyhow::Result<Summary> {
        let mut summary = Summary::default();
        each_bare_graph(model, cx, &mut |scope, _| {
            // A branch may hold further Ifs, whose order among each other does not matter.
            let mut open: Vec<NodeId> = scope.graph.order()?.into_iter().rev().collect();
            while let Some(node) = open.pop() {
                if !scope.graph.node(node).is("If") {
                    continue;
                }
                let Some(condition) = scope.graph.constant_input(node, 0) else {
                    summary.skip("the condition is not constant");
                    continue;
                };
                let Some(&[taken]) = condition.to_vec::<bool>().as_deref() else {
                    summary.skip("the condition is not one boolean");
                    continue;
                };
                let branch = if taken { "then_branch" } else { "else_branch" };
                let Some(body) = scope.graph.node(node).attrs.graph(branch).cloned() else {
                    summary.skip("the branch is missing");
                    continue;
                };
                if body.outputs().len() < scope.graph.node(node).output_count() {
                    summary.skip("the branch has fewer outputs than the If");
                    continue;
                }
                open.extend(scope.splice(node, body, &Slots::new(), META.id)?);
                summary.applied += 1;
            }
            Ok(())
        })?;
        Ok(summary)
    }
}
