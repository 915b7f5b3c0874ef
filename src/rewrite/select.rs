//! Selectors: which nodes a step may change.
//!
//! They go by the names of the model that was loaded: a node that a pass made is called by the names of all nodes that
//! it stands for, so that a selector keeps its meaning after a fusion.

use std::sync::Arc;

use globset::{Glob, GlobMatcher};
use regex::Regex;

use crate::ir::{Graph, Model, NodeId, OpName};

/// One selector: `name`, a glob, `re:` with a regular expression, or `op:` with an operator.
///
/// A glob's `*` crosses every character. A regular expression may match anywhere in the name. A `?` at the end of any
/// form says that the selector may match nothing, and is no part of the pattern.
#[derive(Debug, Clone)]
pub struct Selector {
    text: String,
    may_miss: bool,
    test: Test,
}

#[derive(Debug, Clone)]
enum Test {
    /// The literal name, or the glob.
    Name(String, Option<GlobMatcher>),
    Pattern(Regex),
    Op(GlobMatcher),
}

/// Why a text is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{selector}` is no selector: {why}")]
pub struct SelectorError {
    /// The text.
    pub selector: String,
    /// What is wrong with it, on one line.
    pub why: String,
}

impl PartialEq for Selector {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Selector {}

impl Selector {
    /// Reads a selector.
    ///
    /// # Errors
    /// Where it is empty, or its glob or regular expression is malformed.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let wrong = |why: String| SelectorError { selector: text.to_owned(), why };
        let (body, may_miss) = text.strip_suffix('?').map_or((text, false), |body| (body, true));
        let glob = |body: &str| match Glob::new(body) {
            Ok(glob) => Ok(glob.compile_matcher()),
            Err(error) => Err(wrong(error.kind().to_string())),
        };
        let nothing = || wrong("there is nothing to match".to_owned());
        let test = if let Some(pattern) = body.strip_prefix("re:") {
            let reason =
                |e: &regex::Error| e.to_string().lines().last().unwrap_or_default().trim().to_owned();
            (!pattern.is_empty()).then_some(()).ok_or_else(nothing)?;
            Test::Pattern(Regex::new(pattern).map_err(|e| wrong(reason(&e)))?)
        } else if let Some(op) = body.strip_prefix("op:") {
            (!op.is_empty()).then_some(()).ok_or_else(nothing)?;
            Test::Op(glob(op)?)
        } else {
            (!body.is_empty()).then_some(()).ok_or_else(nothing)?;
            let is_glob = body.contains(['*', '?', '[', '{']);
            Test::Name(body.to_owned(), is_glob.then(|| glob(body)).transpose()?)
        };
        Ok(Self { text: text.to_owned(), may_miss, test })
    }

    /// The selector as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it may match nothing.
    pub fn may_miss(&self) -> bool {
        self.may_miss
    }

    /// Whether it selects a node that goes by these names and has this operator.
    pub fn matches(&self, names: &[Arc<str>], op: &OpName) -> bool {
        match &self.test {
            Test::Name(name, glob) => {
                names.iter().any(|n| **n == **name || glob.as_ref().is_some_and(|g| g.is_match(&**n)))
            }
            Test::Pattern(pattern) => names.iter().any(|n| pattern.is_match(n)),
            Test::Op(glob) => glob.is_match(op.to_string()),
        }
    }

    fn matches_in(&self, graph: &Graph) -> bool {
        graph.nodes().any(|id| {
            let node = graph.node(id);
            self.matches(&original_names(graph, id), &node.op)
                || node.attrs.graphs().any(|body| self.matches_in(body))
        })
    }
}

/// Which nodes a step may change: those that `only` names (all, where it is empty), without those of `ignore`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Select {
    /// Only these; empty for all.
    pub only: Vec<Selector>,
    /// Never these.
    pub ignore: Vec<Selector>,
}

impl Select {
    /// Whether it selects every node.
    pub fn is_all(&self) -> bool {
        self.only.is_empty() && self.ignore.is_empty()
    }

    /// The selection of a step inside another one: its own `only`, or else the outer one's; what either leaves alone.
    #[must_use]
    pub fn within(&self, outer: &Self) -> Self {
        let only = if self.only.is_empty() { &outer.only } else { &self.only };
        let ignore = self.ignore.iter().chain(&outer.ignore);
        Self { only: only.clone(), ignore: ignore.cloned().collect() }
    }

    /// Whether a change that replaces these nodes is wanted: one of them is meant, and none is to be left alone.
    pub fn allows(&self, graph: &Graph, nodes: &[NodeId]) -> bool {
        if self.is_all() {
            return true;
        }
        let hit = |selectors: &[Selector]| {
            nodes.iter().any(|&id| {
                let (names, op) = (original_names(graph, id), &graph.node(id).op);
                selectors.iter().any(|s| s.matches(&names, op))
            })
        };
        (self.only.is_empty() || hit(&self.only)) && !hit(&self.ignore)
    }

    /// The selectors that match no node of a model though they should.
    pub fn unmatched(&self, model: &Model) -> Vec<&Selector> {
        let graphs = || std::iter::once(&model.graph).chain(model.functions.iter().map(|f| &f.graph));
        let all = self.only.iter().chain(&self.ignore);
        all.filter(|s| !s.may_miss && !graphs().any(|g| s.matches_in(g))).collect()
    }
}

/// The names, in the model that was loaded, of what a node stands for: for a node without a name that of its first
/// output.
pub(crate) fn original_names(graph: &Graph, id: NodeId) -> Vec<Arc<str>> {
    let node = graph.node(id);
    match &node.made_by {
        Some(made) => made.from.clone(),
        None => Some(original_label(graph, id)).filter(|name| !name.is_empty()).into_iter().collect(),
    }
}

/// What reports call a node: its name, or that of its first output where it has none; as they were before names were
/// taken away.
pub(crate) fn original_label(graph: &Graph, id: NodeId) -> Arc<str> {
    let node = graph.node(id);
    let output = || graph.node_output(id, 0).map(|v| graph.value(v).name.as_str());
    let name = || Some(node.name.as_str()).filter(|name| !name.is_empty()).or_else(output);
    node.formerly.clone().unwrap_or_else(|| name().unwrap_or_default().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(selector: &str, name: &str, op: &str) -> bool {
        Selector::parse(selector).unwrap().matches(&[name.into()], &OpName::onnx(op))
    }

    #[test]
    fn a_plain_text_is_the_whole_name() {
        assert!(matches("/head/conv", "/head/conv", "Conv"));
        assert!(!matches("/head/conv", "/head/conv2", "Conv"));
        assert!(!matches("head", "/head/conv", "Conv"));
    }

    #[test]
    fn a_glob_crosses_slashes_and_a_name_with_brackets_is_also_itself() {
        assert!(matches("/head/*", "/head/a/b", "Conv"));
        assert!(!matches("/head/*", "/neck/head/a", "Conv"));
        assert!(matches("layers[0]", "layers[0]", "Conv"));
        assert!(matches("layers[01]", "layers1", "Conv"));
    }

    #[test]
    fn a_regular_expression_matches_anywhere() {
        assert!(matches("re:conv[0-9]+$", "/x/conv12", "Conv"));
        assert!(!matches("re:conv[0-9]+$", "/x/conv12/y", "Conv"));
    }

    #[test]
    fn an_operator_goes_by_domain_and_name() {
        assert!(matches("op:Conv", "x", "Conv"));
        assert!(!matches("op:Conv", "Conv", "ConvTranspose"));
        assert!(matches("op:Conv*", "x", "ConvTranspose"));
        let gelu = OpName::new("com.microsoft", "Gelu");
        assert!(Selector::parse("op:com.microsoft.Gelu").unwrap().matches(&[], &gelu));
        assert!(!Selector::parse("op:Gelu").unwrap().matches(&[], &gelu));
    }

    #[test]
    fn the_mark_at_the_end_is_no_part_of_the_pattern() {
        assert!(Selector::parse("head?").unwrap().may_miss());
        assert!(matches("head?", "head", "Conv"));
        assert!(!matches("head?", "heads", "Conv"));
        assert!(!Selector::parse("head").unwrap().may_miss());
    }

    #[test]
    fn what_is_no_selector_is_said_on_one_line() {
        for text in ["", "?", "re:", "op:", "re:(", "a[", "op:a{"] {
            let error = Selector::parse(text).unwrap_err().to_string();
            assert!(!error.contains('\n') && error.contains(&format!("`{text}`")), "{error}");
        }
    }
}
