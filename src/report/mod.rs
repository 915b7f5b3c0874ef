//! What a run did, for people and for programs.

mod advice;
mod channels;
mod layers;
mod plot;
mod ranges;
mod stats;
mod svg;
mod terminal;
mod widths;

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use crate::engine::verify::Outcome;
use crate::ir::{Graph, Model};
use crate::pipeline::RunLog;

pub use channels::{ChannelAxis, ChannelGroup};
pub use ranges::{RangeFormat, ranges};
pub use stats::Stats;

/// The version of the JSON form. It grows when a field changes its meaning or goes.
pub const REPORT_VERSION: u32 = 1;

/// A run, with the model before and after.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// [`REPORT_VERSION`].
    pub version: u32,
    /// `onnxpress` and its version.
    pub tool: &'static str,
    /// The recipe's name.
    pub recipe: String,
    /// The file that was read, as it was named.
    pub input: Option<String>,
    /// The file that was written, as it was named.
    pub output: Option<String>,
    /// The original.
    pub before: Stats,
    /// The result.
    pub after: Stats,
    /// The run.
    #[serde(flatten)]
    pub run: RunLog,
    /// For every node that a pass made: the pass, and the nodes of the original that it stands for.
    pub provenance: Vec<NodeOrigin>,
}

/// Where a node of the result came from.
#[derive(Debug, Clone, Serialize)]
pub struct NodeOrigin {
    /// The node's name; its first output where it has none.
    pub node: String,
    /// Its operator.
    pub op: String,
    /// The pass that made it.
    pub pass: &'static str,
    /// Nodes of the original, in its order.
    pub from: Vec<String>,
}

impl Report {
    /// The report of a run.
    pub fn new(original: &Model, result: &Model, recipe: &str, run: RunLog) -> Self {
        let mut provenance = Vec::new();
        origins(&result.graph, &mut provenance);
        Self {
            version: REPORT_VERSION,
            tool: concat!("onnxpress ", env!("CARGO_PKG_VERSION")),
            recipe: recipe.to_owned(),
            input: None,
            output: None,
            before: Stats::of(original),
            after: Stats::of(result),
            run,
            provenance,
        }
    }

    /// Whether the answers were compared and found equal. "Could not be run" is not equal.
    pub fn is_equal(&self) -> bool {
        matches!(&self.run.verification, Some(v) if v.outcome == Outcome::Equal)
    }

    /// Whether the answers were compared and differ.
    pub fn differs(&self) -> bool {
        matches!(&self.run.verification, Some(v) if matches!(v.outcome, Outcome::NotEqual { .. }))
    }

    /// Adds the names and sizes of the files. A result has a size though it may not have been written.
    pub fn set_files(&mut self, input: (&Path, u64), output: (Option<&Path>, u64)) {
        self.input = Some(input.0.display().to_string());
        self.before.file_bytes = Some(input.1);
        self.output = output.0.map(|path| path.display().to_string());
        self.after.file_bytes = Some(output.1);
    }

    /// The report as JSON.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }

    /// The report as a compact table for a terminal, without colour.
    pub fn to_table(&self) -> String {
        terminal::table(self)
    }

    /// The layers of the last step that measured some, and the trade-off where forms were weighed, as an SVG; `None`
    /// where there is nothing to draw.
    pub fn to_svg(&self) -> Option<String> {
        plot::plot(self)
    }
}

fn origins(graph: &Graph, into: &mut Vec<NodeOrigin>) {
    for id in graph.nodes() {
        let node = graph.node(id);
        let made = node.made_by.as_ref().map(|made| (made.pass, made.from.clone()));
        let former = node.formerly.as_ref().filter(|_| node.name.is_empty());
        let unnamed = || former.map(|name| ("shorten-names", vec![Arc::clone(name)]));
        if let Some((pass, from)) = made.or_else(unnamed) {
            let output = || graph.node_output(id, 0).map(|v| graph.value(v).name.clone()).unwrap_or_default();
            into.push(NodeOrigin {
                node: if node.name.is_empty() { output() } else { node.name.clone() },
                op: node.op.to_string(),
                pass,
                from: from.iter().map(ToString::to_string).collect(),
            });
        }
        node.attrs.graphs().for_each(|body| origins(body, into));
    }
}
