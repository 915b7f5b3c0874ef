//! The driver: tries rules where they might apply, until nothing changes.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::commit::{Applied, Committer, Refusal};
use super::matcher::match_at;
use super::{Match, Outcome, PatternBuilder, Rewrite, Scope, Select, Skip};
use crate::ir::{Graph, IrError, NodeId};

/// The closure of a rule: reads the match, records the rewrite.
pub type RuleFn = Box<dyn Fn(&Match<'_>, &mut Rewrite) -> Outcome + Send + Sync>;

/// A rule, ready to run.
pub struct CompiledRule {
    pub(crate) id: &'static str,
    pub(crate) select: Select,
    pub(crate) pattern: PatternBuilder,
    pub(crate) run: RuleFn,
}

/// How often a rule fired, and why it nearly fired elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RuleReport {
    /// Sites rewritten.
    pub applied: usize,
    /// Near misses by reason, counted on the graph as it is now.
    pub skipped: BTreeMap<String, usize>,
}

/// The reports of a set of rules, by pass id.
pub type SetReport = BTreeMap<&'static str, RuleReport>;

/// How far downstream of a change a pattern may reach: a node this many steps away is looked at again.
const REACH: usize = 4;

/// Runs a set of rules over one graph until none applies. Rewrites may grow the file by the budget, and use it up. Bodies are graphs of their own: see `visit_graphs`.
pub(crate) fn run_rules(
    scope: &mut Scope<'_>,
    rules: &[CompiledRule],
    budget: &mut u64,
) -> Result<SetReport, IrError> {
    let mut by_root: HashMap<&'static str, Vec<usize>> = HashMap::new();
    for (index, rule) in rules.iter().enumerate() {
        for name in rule.pattern.root().map(|(_, op)| op.names.as_slice()).unwrap_or_default() {
            by_root.entry(name).or_default().push(index);
        }
    }
    let mut report = SetReport::new();
    let mut misses: BTreeMap<(NodeId, usize), Skip> = BTreeMap::new();
    let mut queue = Queue::of(scope.graph)?;
    while let Some(node) = queue.pop() {
        if !scope.graph.contains_node(node) {
            continue;
        }
        let Some(candidates) = by_root.get(&*scope.graph.node(node).op.name) else { continue };
        for &index in candidates {
            let rule = &rules[index];
            misses.remove(&(node, index));
            match try_rule(scope, rule, budget, node)? {
                Tried::No => {}
                Tried::Missed(skip) => drop(misses.insert((node, index), skip)),
                Tried::Applied(applied) => {
                    report.entry(rule.id).or_default().applied += 1;
                    queue.after(scope.graph, &applied);
                    if scope.graph.contains_node(node) {
                        queue.push(node);
                    }
                    break;
                }
            }
        }
    }
    for ((node, index), skip) in misses {
        if scope.graph.contains_node(node) {
            let rule = report.entry(rules[index].id).or_default();
            *rule.skipped.entry(skip.0.into_owned()).or_default() += 1;
        }
    }
    Ok(report)
}

enum Tried {
    No,
    Missed(Skip),
    Applied(Applied),
}

fn try_rule(
    scope: &mut Scope<'_>,
    rule: &CompiledRule,
    budget: &mut u64,
    node: NodeId,
) -> Result<Tried, IrError> {
    let Scope { graph, target, facts, names } = scope;
    let Some(found) = match_at(&rule.pattern, graph, node) else { return Ok(Tried::No) };
    let mut rewrite = Rewrite::default();
    let outcome = (rule.run)(&found.read(graph, facts, target), &mut rewrite);
    if !rule.select.is_all() {
        let ops = found.ops(&rule.pattern);
        let replaced = ops.iter().filter(|(_, stays)| !stays).map(|&(n, _)| n);
        let replaced: Vec<NodeId> = replaced.chain(rewrite.removed.iter().copied()).collect();
        if !rule.select.allows(graph, &replaced) {
            return Ok(Tried::No);
        }
    }
    if let Err(skip) = outcome {
        return Ok(if skip == Skip::no_concern() { Tried::No } else { Tried::Missed(skip) });
    }
    let mut committer = Committer { graph, facts, names, pass: rule.id, budget };
    match committer.commit(&rule.pattern, &found, rewrite) {
        Ok(applied) => Ok(Tried::Applied(applied)),
        Err(Refusal::Skip(skip)) => Ok(Tried::Missed(skip)),
        Err(Refusal::Broken(error)) => Err(error),
    }
}

/// Nodes to look at, each at most once at a time.
struct Queue {
    nodes: VecDeque<NodeId>,
    waiting: std::collections::HashSet<NodeId>,
}

impl Queue {
    fn of(graph: &Graph) -> Result<Self, IrError> {
        let nodes: VecDeque<NodeId> = graph.order()?.into();
        let waiting = nodes.iter().copied().collect();
        Ok(Self { nodes, waiting })
    }

    fn pop(&mut self) -> Option<NodeId> {
        let node = self.nodes.pop_front()?;
        self.waiting.remove(&node);
        Some(node)
    }

    fn push(&mut self, node: NodeId) {
        if self.waiting.insert(node) {
            self.nodes.push_back(node);
        }
    }

    /// Queues what may match now: the producers and readers around a change, and what lies a pattern's depth below.
    fn after(&mut self, graph: &Graph, applied: &Applied) {
        let mut front: Vec<NodeId> = applied.nodes.clone();
        for &value in &applied.values {
            front.extend(graph.producer(value).map(|(n, _)| n));
            front.extend(graph.uses(value).iter().map(|&(n, _)| n));
        }
        for _ in 0..REACH {
            front.sort_unstable();
            front.dedup();
            front.iter().for_each(|&n| self.push(n));
            let outputs = front.iter().flat_map(|&n| graph.node_outputs(n).into_iter().flatten());
            let below: Vec<NodeId> = outputs
                .filter(|&v| graph.use_count(v) <= 8)
                .flat_map(|v| graph.uses(v).into_iter().map(|(n, _)| n))
                .collect();
            front = below;
        }
    }
}
