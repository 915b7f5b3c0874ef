//! Topological order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use petgraph::Direction::{Incoming, Outgoing};
use petgraph::visit::NodeIndexable;

use super::{Graph, IrError, NodeId};

impl Graph {
    /// The nodes in topological order; ties go by the place in the file, then by creation.
    ///
    /// # Errors
    /// [`IrError::Cycle`] with the node of the cycle that comes first in the file.
    pub fn order(&self) -> Result<Vec<NodeId>, IrError> {
        let mut waits = vec![0u32; self.topo.node_bound()];
        let mut ready = BinaryHeap::new();
        let mut total = 0;
        for id in self.nodes() {
            total += 1;
            let inputs = self.topo.neighbors_directed(id.0, Incoming);
            let waiting =
                inputs.filter(|&v| self.topo.neighbors_directed(v, Incoming).next().is_some()).count();
            waits[id.0.index()] = waiting as u32;
            if waiting == 0 {
                ready.push(Reverse((self.node(id).position, id)));
            }
        }
        let mut order = Vec::with_capacity(total);
        while let Some(Reverse((_, id))) = ready.pop() {
            order.push(id);
            for value in self.topo.neighbors_directed(id.0, Outgoing) {
                for user in self.topo.neighbors_directed(value, Outgoing) {
                    let left = &mut waits[user.index()];
                    *left -= 1;
                    if *left == 0 {
                        ready.push(Reverse((self.node(NodeId(user)).position, NodeId(user))));
                    }
                }
            }
        }
        if order.len() == total { Ok(order) } else { Err(self.cycle(&waits)) }
    }

    fn cycle(&self, waits: &[u32]) -> IrError {
        let stuck = self.nodes().filter(|n| waits[n.0.index()] > 0);
        // A node that waits may only follow a cycle; one that also feeds a waiting node is closer to it.
        let on_cycle = stuck.filter(|n| self.reaches_itself(*n)).min_by_key(|n| (self.node(*n).position, *n));
        let node = on_cycle.map_or_else(|| "its nodes".to_owned(), |n| self.node_label(n));
        IrError::Cycle { node, place: self.label() }
    }

    fn reaches_itself(&self, start: NodeId) -> bool {
        let mut seen = vec![false; self.topo.node_bound()];
        let mut stack: Vec<_> = self.topo.neighbors_directed(start.0, Outgoing).collect();
        while let Some(at) = stack.pop() {
            if at == start.0 {
                return true;
            }
            if !std::mem::replace(&mut seen[at.index()], true) {
                stack.extend(self.topo.neighbors_directed(at, Outgoing));
            }
        }
        false
    }

    /// Larger than every index of a vertex: the length of a table indexed by id.
    pub(crate) fn index_bound(&self) -> usize {
        self.topo.node_bound()
    }
}
