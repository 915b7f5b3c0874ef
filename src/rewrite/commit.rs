//! Carrying out a recorded rewrite, or refusing it as a whole.

use std::sync::Arc;

use smallvec::SmallVec;

use super::alias::{alias, can_alias, remove_if_dead};
use super::matcher::Found;
use super::pattern::PatternBuilder;
use super::record::{NewNode, NewValue, Operand, Rewrite, Target};
use super::select::original_names;
use super::{Names, Outcome, Skip};
use crate::analysis::{Fact, Facts};
use crate::ir::{Graph, IrError, Node, NodeExtra, NodeId, Origin, Provenance, Value, ValueId, ValueType};

/// What a commit changed.
#[derive(Debug, Default)]
pub(crate) struct Applied {
    /// The nodes that it made.
    pub nodes: Vec<NodeId>,
    /// Values of the graph whose producer or readers changed.
    pub values: Vec<ValueId>,
}

/// Why a commit was not carried out.
pub(super) enum Refusal {
    /// The place does not allow it; the graph is unchanged.
    Skip(Skip),
    /// A bug: the graph may be half changed.
    Broken(IrError),
}

impl From<Skip> for Refusal {
    fn from(skip: Skip) -> Self {
        Self::Skip(skip)
    }
}

impl From<IrError> for Refusal {
    fn from(error: IrError) -> Self {
        Self::Broken(error)
    }
}

type Ops = SmallVec<[(NodeId, bool); 6]>;

pub(super) struct Committer<'a> {
    pub graph: &'a mut Graph,
    pub facts: &'a mut Facts,
    pub names: &'a mut Names,
    pub pass: &'static str,
    /// Bytes by which rewrites may still grow the file.
    pub budget: &'a mut u64,
}

/// Bytes of a `NodeProto` besides its names: an estimate from below.
const NODE_BYTES: i64 = 16;

impl Committer<'_> {
    pub(super) fn commit(
        &mut self,
        pattern: &PatternBuilder,
        found: &Found,
        rewrite: Rewrite,
    ) -> Result<Applied, Refusal> {
        let ops = removed_too(found.ops(pattern), &rewrite);
        self.check_privacy(&ops, found.root, &rewrite)?;
        self.check_root(&ops, found.root, &rewrite)?;
        for (old, with) in &rewrite.aliases {
            if let Operand::Old(new) = with {
                can_alias(self.graph, *old, *new)?;
            }
        }
        self.check_types(&rewrite)?;
        let growth = self.growth(&ops, &rewrite);
        let left = self.budget.checked_sub(u64::try_from(growth).unwrap_or(0));
        *self.budget = left.ok_or_else(|| Skip::because("the new constants would grow the file"))?;
        Ok(self.apply(&ops, found.root, rewrite)?)
    }

    /// The results inside the pattern must have no reader outside it, nor in what takes its place: they are about to
    /// vanish.
    fn check_privacy(&self, ops: &Ops, root: NodeId, rewrite: &Rewrite) -> Outcome {
        for &(node, shared) in ops {
            if node == root || shared {
                continue;
            }
            for value in self.graph.node_outputs(node).into_iter().flatten() {
                let op = &self.graph.node(node).op;
                if self.graph.is_pinned(value) {
                    return Err(Skip::because(format!("the result of {op} is an output of the graph")));
                }
                let foreign = |user: NodeId| !ops.iter().any(|&(n, shared)| n == user && !shared);
                let users = self.graph.uses(value);
                if users.iter().any(|&(user, slot)| slot.is_none() || foreign(user)) || reads(rewrite, value)
                {
                    return Err(Skip::because(format!("the result of {op} has other readers")));
                }
            }
        }
        Ok(())
    }

    /// Every output of the root that anything reads must be replaced.
    fn check_root(&self, ops: &Ops, root: NodeId, rewrite: &Rewrite) -> Outcome {
        if ops.iter().any(|&(n, shared)| n == root && shared) {
            return Ok(());
        }
        for value in self.graph.node_outputs(root).into_iter().flatten() {
            let taken = rewrite.nodes.iter().flat_map(|n| &n.outputs).flatten();
            let replaced = taken.into_iter().any(|t| matches!(t, Target::Takes(v) if *v == value))
                || rewrite.aliases.iter().any(|(old, _)| *old == value)
                || rewrite.constants.iter().any(|(old, _)| *old == value);
            if !replaced && (self.graph.use_count(value) > 0 || self.graph.is_pinned(value)) {
                return Err(Skip::because("another of its outputs is used"));
            }
        }
        Ok(())
    }

    /// Bytes of the constants and operators that a rewrite makes, less those that die with it.
    fn growth(&self, ops: &Ops, rewrite: &Rewrite) -> i64 {
        let made = rewrite.values.iter().filter_map(|v| v.data.as_ref());
        let made = made.chain(rewrite.constants.iter().map(|(_, data)| data));
        let made: i64 = made.map(|data| data.byte_len() as i64).sum();
        let gone: Vec<NodeId> = ops.iter().filter(|(_, shared)| !shared).map(|&(node, _)| node).collect();
        let mut read: Vec<ValueId> =
            gone.iter().flat_map(|&node| self.graph.node_inputs(node).into_iter().flatten()).collect();
        read.sort_unstable();
        read.dedup();
        let kept = |value: ValueId| {
            let read_elsewhere = self.graph.uses(value).iter().any(|(user, _)| !gone.contains(user));
            read_elsewhere
                || self.graph.is_pinned(value)
                || self.graph.value(value).origin != Origin::Local
                || reads(rewrite, value)
        };
        let dying = read.into_iter().filter(|&v| !kept(v)).filter_map(|v| self.graph.constant(v));
        let dying: i64 = dying.map(|data| data.byte_len() as i64).sum();
        made - dying + NODE_BYTES * (rewrite.nodes.len() as i64 - gone.len() as i64)
    }

    /// A value may only be taken over by one that can have its element type and dims.
    fn check_types(&self, rewrite: &Rewrite) -> Outcome {
        let mut made: Vec<Fact> =
            rewrite.values.iter().map(|v| v.data.as_ref().map_or(Fact::Unknown, Fact::constant)).collect();
        for (place, new) in rewrite.nodes.iter().enumerate() {
            let inputs: Vec<_> = (new.inputs.iter())
                .map(|operand| match operand {
                    Operand::Old(v) => Some((self.facts.known(*v), self.graph.constant(*v))),
                    Operand::New(NewValue(i)) => Some((&made[*i], rewrite.values[*i].data.as_ref())),
                    Operand::Absent => None,
                })
                .collect();
            let node = Node::new(new.op.clone(), "", new.attrs.clone()).with_outputs(new.outputs.len());
            let facts = self.facts.propose(place, &node, &inputs);
            for (target, fact) in new.outputs.iter().zip(facts) {
                match target {
                    Some(Target::New(NewValue(i))) => made[*i] = fact,
                    Some(Target::Takes(old)) => agree(&self.facts.ty(*old), &fact.ty())?,
                    None => {}
                }
            }
        }
        for (old, with) in &rewrite.aliases {
            match with {
                Operand::Old(new) => agree(&self.facts.ty(*old), &self.facts.ty(*new))?,
                Operand::New(NewValue(i)) => agree(&self.facts.ty(*old), &made[*i].ty())?,
                Operand::Absent => {}
            }
        }
        rewrite.constants.iter().try_for_each(|(old, data)| agree(&self.facts.ty(*old), &ValueType::of(data)))
    }

    fn apply(&mut self, ops: &Ops, root: NodeId, rewrite: Rewrite) -> Result<Applied, IrError> {
        let from = origins(self.graph, ops.iter().map(|&(n, _)| n));
        let made_by = Arc::new(Provenance { pass: self.pass, from });
        let mut applied = Applied::default();
        let mut orphans: Vec<ValueId> = Vec::new();
        let mut root_node = None;
        for &(node, shared) in ops {
            if shared {
                continue;
            }
            orphans.extend(self.graph.node_inputs(node).into_iter().flatten());
            orphans.extend(self.graph.captures(node));
            orphans.extend(self.graph.node_outputs(node).into_iter().flatten());
            let removed = self.graph.remove_node(node);
            if node == root {
                root_node = removed;
            }
        }
        let root_node = root_node.unwrap_or_else(|| self.graph.node(root).clone());
        self.bury(&orphans, &rewrite);
        let values = self.new_values(&rewrite)?;
        for node in rewrite.nodes {
            let id = self.add_node(node, &values, &root_node, &made_by)?;
            applied.values.extend(self.graph.node_outputs(id).into_iter().flatten());
            applied.nodes.push(id);
        }
        for (value, data) in rewrite.constants {
            self.graph.set_data(value, data);
            applied.values.push(value);
        }
        for (old, with) in rewrite.aliases {
            let new = match with {
                Operand::Old(v) => v,
                Operand::New(NewValue(i)) => values[i],
                Operand::Absent => continue,
            };
            applied.values.push(alias(self.graph, old, new)?);
        }
        applied.values.extend(orphans);
        applied.values.retain(|&v| self.graph.contains_value(v));
        let readers = applied.values.iter().flat_map(|&v| self.graph.uses(v)).map(|(node, _)| node);
        let stale: Vec<NodeId> = applied.nodes.iter().copied().chain(readers).collect();
        self.facts.refresh(self.graph, &stale);
        Ok(applied)
    }

    /// Removes what only the removed operators read, before anything new is named: so a new weight can have the name of
    /// the one that it replaces.
    fn bury(&mut self, orphans: &[ValueId], rewrite: &Rewrite) {
        let wanted = |value: ValueId| {
            reads(rewrite, value)
                || rewrite
                    .nodes
                    .iter()
                    .flat_map(|n| &n.outputs)
                    .any(|t| matches!(t, Some(Target::Takes(v)) if *v == value))
                || rewrite.aliases.iter().any(|(old, _)| *old == value)
                || rewrite.constants.iter().any(|(old, _)| *old == value)
        };
        for &value in orphans {
            if self.graph.contains_value(value) && !wanted(value) {
                remove_if_dead(self.graph, value, self.names);
            }
        }
    }

    fn new_values(&mut self, rewrite: &Rewrite) -> Result<Vec<ValueId>, IrError> {
        (rewrite.values.iter())
            .map(|spec| {
                let mut value = Value::named(self.names.fresh(&spec.name));
                if let Some(data) = &spec.data {
                    value.ty = ValueType::of(data);
                    value.data = Some(data.clone());
                }
                self.graph.add_value(value)
            })
            .collect()
    }

    fn add_node(
        &mut self,
        new: NewNode,
        values: &[ValueId],
        root: &Node,
        made_by: &Arc<Provenance>,
    ) -> Result<NodeId, IrError> {
        let inputs: Vec<Option<ValueId>> = (new.inputs.iter())
            .map(|operand| match operand {
                Operand::Old(v) => Some(*v),
                Operand::New(NewValue(i)) => Some(values[*i]),
                Operand::Absent => None,
            })
            .collect();
        let takes_over = new.outputs.iter().flatten().any(|t| matches!(t, Target::Takes(_)));
        let outputs: Vec<Option<ValueId>> = (new.outputs.iter())
            .map(|target| {
                target.map(|t| match t {
                    Target::Takes(v) => v,
                    Target::New(NewValue(i)) => values[i],
                })
            })
            .collect();
        let name = match outputs.first().copied().flatten() {
            Some(value) if !takes_over => self.graph.value(value).name.clone(),
            _ => root.name.clone(),
        };
        let mut node = Node::new(new.op, name, new.attrs);
        node.position = root.position;
        node.made_by = Some(Arc::clone(made_by));
        if takes_over {
            node.extra = root.extra.as_ref().and_then(|e| carried(e));
        }
        self.graph.add_node(node, &inputs, &outputs)
    }
}

/// The operators of a pattern, and those that the rule found by itself.
fn removed_too(mut ops: Ops, rewrite: &Rewrite) -> Ops {
    for &node in &rewrite.removed {
        match ops.iter_mut().find(|(known, _)| *known == node) {
            Some((_, shared)) => *shared = false,
            None => ops.push((node, false)),
        }
    }
    ops
}

/// Whether a value of the old graph is an operand of what a rewrite makes.
fn reads(rewrite: &Rewrite, value: ValueId) -> bool {
    let inputs = rewrite.nodes.iter().flat_map(|n| &n.inputs);
    inputs.chain(rewrite.aliases.iter().map(|(_, with)| with)).any(|o| *o == Operand::Old(value))
}

/// Documentation and metadata go with the value; the overload and the device of the old operator do not.
fn carried(extra: &NodeExtra) -> Option<Box<NodeExtra>> {
    let kept = NodeExtra { doc: extra.doc.clone(), metadata: extra.metadata.clone(), ..NodeExtra::default() };
    (kept != NodeExtra::default()).then(|| Box::new(kept))
}

/// The names of the nodes of the file that these nodes stand for.
pub(super) fn origins(graph: &Graph, nodes: impl Iterator<Item = NodeId>) -> Vec<Arc<str>> {
    let mut from: Vec<Arc<str>> = Vec::new();
    let mut sorted: Vec<NodeId> = nodes.collect();
    sorted.sort_by_key(|&n| (graph.node(n).position, n));
    for id in sorted {
        from.extend(original_names(graph, id));
    }
    let mut seen = std::collections::HashSet::new();
    from.retain(|name| seen.insert(Arc::clone(name)));
    from
}

fn agree(old: &ValueType, new: &ValueType) -> Outcome {
    if let (Some(a), Some(b)) = (old.dtype(), new.dtype())
        && a != b
    {
        return Err(Skip::because(format!("the element type would change from {a} to {b}")));
    }
    if let (Some(a), Some(b)) = (old.shape(), new.shape()) {
        let clash = a.iter().zip(b).any(|(a, b)| a.known().zip(b.known()).is_some_and(|(a, b)| a != b));
        if a.len() != b.len() || clash {
            return Err(Skip::because("the dims would change"));
        }
    }
    Ok(())
}
