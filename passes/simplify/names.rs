//! Names as short as they can be.

use std::collections::HashSet;

use crate::prelude::*;

/// Give inner values short names, and take the names of operators away.
///
/// Names are a third of the file of a small quantized model, and no runtime computes with them. Inputs and outputs of the
/// model, which callers name, stay; everything else is called `a`, `b`, … `z`, `aa`, `ba`, … in the order of the graph,
/// also in bodies and functions. The JSON report says under `provenance` what each operator was called; in messages of a
/// runtime, and to who looks at the file, the old names are lost: run it last, and only where bytes count.
///
/// *Left alone:* what a quantization annotation or a device configuration names; names of graphs, functions and symbolic dims.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ShortenNames {}

const ID: &str = "shorten-names";

impl Pass for ShortenNames {
    fn meta(&self) -> &'static PassMeta {
        const { &PassMeta::exact(ID, Family::Simplify) }
    }

    fn run(&self, model: &mut Model, cx: &mut PassContext<'_>) -> anyhow::Result<Summary> {
        let mut summary = Summary::default();
        let promised: Vec<ValueId> = [model.graph.inputs(), model.graph.outputs()].concat();
        let devices = device_configurations(model, cx)?;
        let is_named = |graph: &Graph, value: ValueId, is_main: bool| {
            let name = graph.value(value).name.as_bytes();
            let told = |device: &[u8]| device.windows(name.len().max(1)).any(|part| part == name);
            (is_main && promised.contains(&value))
                || is_annotated(graph, value)
                || devices.iter().any(|d| told(d))
        };

        // First every name that goes is out of the way, in all graphs: no body may hide what it reads from outside.
        let (mut taken, mut going, mut order, mut is_main) = (HashSet::new(), Vec::new(), Vec::new(), true);
        each_bare_graph(model, cx, &mut |scope, _| {
            for node in scope.graph.order()? {
                summary.applied += usize::from(scope.unname(node));
            }
            let mut renamed = Vec::new();
            for value in in_order(scope.graph)? {
                let (name, uses) = (scope.graph.value(value).name.clone(), scope.graph.use_count(value));
                if is_named(scope.graph, value, is_main) {
                    taken.insert(name);
                    continue;
                }
                scope.rename(value, &format!("\u{0}{}", going.len()))?;
                going.push((name, uses + 1));
                renamed.push(value);
            }
            order.push(renamed);
            is_main = false;
            Ok(())
        })?;

        let (mut names, mut order) = (new_names(&going, &taken).into_iter().zip(&going), order.into_iter());
        each_bare_graph(model, cx, &mut |scope, _| {
            for value in order.next().unwrap_or_default() {
                let Some((name, (old, _))) = names.next() else { break };
                scope.rename(value, &name)?;
                let is_written = scope.graph.value(value).origin == Origin::Local;
                summary.applied += usize::from(is_written && name != *old);
            }
            Ok(())
        })?;
        Ok(summary)
    }
}

/// New names for these, of which each stands so often in the file; their own, where they are as short.
fn new_names(old: &[(String, usize)], taken: &HashSet<String>) -> Vec<String> {
    let new = (0..).map(short).filter(|name| !taken.contains(name));
    let new: Vec<String> = new.take(old.len()).collect();
    let saved =
        old.iter().zip(&new).map(|((old, times), new)| (old.len() as i64 - new.len() as i64) * *times as i64);
    if saved.sum::<i64>() > 0 { new } else { old.iter().map(|(old, _)| old.clone()).collect() }
}

/// The encoded device configurations of all operators.
fn device_configurations(model: &mut Model, cx: &mut PassContext<'_>) -> anyhow::Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    each_bare_graph(model, cx, &mut |scope, _| {
        for node in scope.graph.nodes() {
            let extra = scope.graph.node(node).extra.as_ref();
            found.extend(extra.into_iter().flat_map(|extra| &extra.device).map(|device| device.to_vec()));
        }
        Ok(())
    })?;
    Ok(found)
}

/// Whether a quantization annotation names a value, or is about it.
fn is_annotated(graph: &Graph, value: ValueId) -> bool {
    let name = &graph.value(value).name;
    let names =
        |a: &QuantAnnotation| a.tensor.as_ref() == Some(name) || a.params.iter().any(|(_, v)| v == name);
    graph.annotations.iter().any(names)
}

/// The values that a graph names itself, as its operators meet them; last those which are attributes in the file.
fn in_order(graph: &Graph) -> Result<Vec<ValueId>, IrError> {
    let mut met = Vec::new();
    for node in graph.order()? {
        met.extend(graph.node_inputs(node).into_iter().chain(graph.node_outputs(node)).flatten());
    }
    met.extend(graph.values());
    let mut seen = HashSet::new();
    met.retain(|&value| seen.insert(value) && graph.value(value).origin != Origin::Captured);
    met.sort_by_key(|&value| graph.value(value).origin == Origin::Synthetic);
    Ok(met)
}

/// `a` to `z`, then two characters, and so on: a letter first, so that it is an identifier, then letters and digits.
fn short(count: usize) -> String {
    const CHARACTERS: &[u8; 36] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    let mut name = char::from(CHARACTERS[count % 26]).to_string();
    let mut rest = count / 26;
    while rest > 0 {
        rest -= 1;
        name.push(char::from(CHARACTERS[rest % 36]));
        rest /= 36;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::NodeExtra;

    #[test]
    fn what_is_named_elsewhere_keeps_its_name() {
        let text = r#"<ir_version: 11, opset_import: ["": 21]> g (float[2] x) => (float[2] y)
            { [first] one = Neg (x)  two = Abs (one)  three = Relu (two)  [last] y = Exp (three) }"#;
        let mut model = crate::onnx::from_text(text).unwrap().model;
        let params = vec![("SCALE_TENSOR".to_owned(), "one".to_owned())];
        model.graph.annotations = vec![QuantAnnotation { tensor: Some("three".to_owned()), params }];
        let shorten = |model: &Model| {
            let (mut model, mut cx) = (model.clone(), PassContext::with_kernels(model));
            ShortenNames {}.run(&mut model, &mut cx).unwrap();
            model.check().unwrap();
            ["one", "two", "three"].map(|name| model.graph.find(name).is_some())
        };
        assert_eq!(shorten(&model), [true, false, true]);
        let node = model.graph.nodes().next().unwrap();
        let device = vec![b"\x0a\x03gpu\x12\x03two".to_vec().into()];
        model.graph.node_mut(node).extra = Some(Box::new(NodeExtra { device, ..NodeExtra::default() }));
        assert_eq!(shorten(&model), [true, true, true]);
    }

    #[test]
    fn names_that_are_as_short_stay() {
        let taken = ["a".to_owned()].into();
        let names = |old: &[(&str, usize)]| {
            new_names(&old.iter().map(|&(name, times)| (name.to_owned(), times)).collect::<Vec<_>>(), &taken)
        };
        assert_eq!(names(&[("Z", 2), ("0", 2)]), ["Z", "0"]);
        assert_eq!(names(&[("Z", 2), ("00", 2)]), ["b", "c"]);
        let many: Vec<String> = ('A'..='Z').map(String::from).collect();
        let many: Vec<_> = many.iter().map(|name| (name.as_str(), 1)).collect();
        assert_eq!(names(&many)[..2], ["A", "B"], "the last one would become two letters");
    }

    #[test]
    fn names_are_short_and_differ() {
        let names: Vec<String> = (0..50_000).map(short).collect();
        assert_eq!((&*names[0], &*names[25], &*names[26], &*names[27]), ("a", "z", "aa", "ba"));
        let length = |count| names.iter().filter(|name| name.len() == count).count();
        assert_eq!((length(1), length(2), length(3)), (26, 26 * 36, 26 * 36 * 36));
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
        assert!(names.iter().all(|name| name.starts_with(|c: char| c.is_ascii_lowercase())));
    }
}
