//! Quantization annotations, which the text syntax has no place for: what they name stays, under its name.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use onnxpress::ir::{Model, QuantAnnotation};
use onnxpress::onnx;
use onnxpress::pass::{PassContext, run_set};
use onnxpress::passes::AnyPass;

/// Runs a pass on a model in which an annotation names these values; says how often it applied, and the result.
fn run(id: &str, text: &str, tensor: &str, scale: &str) -> (usize, Model) {
    let mut fill = |name: &str, dtype, dims: &[u64]| {
        let count = dims.iter().product::<u64>();
        let items: Vec<f64> = (0..count).map(|i| 0.5 + (i + name.len() as u64) as f64 / 8.0).collect();
        onnxpress::ir::TensorData::from_f64s(dtype, dims, &items)
    };
    let mut model = onnx::from_text_with(text, &mut fill).unwrap().model;
    model.graph.annotations.push(QuantAnnotation {
        tensor: Some(tensor.to_owned()),
        params: vec![("SCALE_TENSOR".to_owned(), scale.to_owned())],
    });
    let pass = AnyPass::named(id).unwrap();
    let mut cx = PassContext::with_kernels(&model);
    let report = run_set(&mut model, &[pass.as_pass()], &mut cx).unwrap();
    model.check().unwrap();
    for name in [tensor, scale] {
        assert!(model.graph.find(name).is_some(), "{id}: `{name}` is gone, though an annotation names it");
    }
    (report[pass.as_pass().meta().id].applied, model)
}

const HEAD: &str = "<ir_version: 8, opset_import: [\"\" : 17]>\n";

#[test]
fn dead_values_stay_where_an_annotation_names_them() {
    let text =
        format!("{HEAD}g (float[2] x) => (float[2] y) <float s, float d> {{ y = Neg (x) z = Sin (x) }}");
    let (applied, model) = run("drop-dead", &text, "z", "s");
    assert_eq!(applied, 1, "`d` alone is dead");
    assert!(model.graph.find("d").is_none());
}

#[test]
fn identities_hand_their_names_on() {
    let text = format!(
        "{HEAD}g (float[2] x) => (float[2] y) <float s> {{ a = Sin (x) b = Identity (a) y = Neg (b) }}"
    );
    let (applied, model) = run("drop-identity", &text, "b", "s");
    assert_eq!((applied, model.graph.nodes().count()), (1, 2));
    // Both names are wanted: neither can stand for the other.
    let (applied, _) = run("drop-identity", &text, "a", "s");
    assert_eq!(applied, 1);
    let both = format!("{HEAD}g (float[2] x) => (float[2] y) {{ a = Sin (x) b = Identity (a) y = Neg (b) }}");
    assert_eq!(run("drop-identity", &both, "a", "b").0, 0);
}

#[test]
fn a_fusion_does_not_swallow_an_annotated_value() {
    let text = format!(
        "{HEAD}g (float[N,2,4] x) => (float[N,3,2] y) <float[3,2,3] w, float[3,1] k, float s> \
         {{ c = Conv (x, w) y = Mul (c, k) }}"
    );
    assert_eq!(run("fuse-conv-affine", &text, "c", "s").0, 0);
    // An annotated weight stays, unused, beside the new one.
    let (applied, model) = run("fuse-conv-affine", &text, "w", "s");
    assert_eq!(applied, 1);
    assert!(model.graph.find("w").is_some_and(|w| model.graph.use_count(w) == 0));
}

#[test]
fn equal_things_are_not_merged_away() {
    let text = format!(
        "{HEAD}g (float[2] x) => (float[2] y) <float[1] s = {{2}}, float[1] t = {{2}}> \
         {{ a = Sin (x) b = Sin (x) c = Mul (a, s) d = Mul (b, t) y = Add (c, d) }}"
    );
    assert_eq!(run("share-equal-initializers", &text, "a", "s").0, 0);
    assert_eq!(run("merge-equal-nodes", &text, "a", "b").0, 0);
    assert_eq!(run("merge-equal-nodes", &text, "b", "s").0, 1);
}

#[test]
fn a_folded_value_keeps_its_elements() {
    let text = format!(
        "{HEAD}g (float[2] x) => (float[2] y) <float[2] w, float[2] v> {{ a = Add (w, v) b = Sin (a) y = Mul (x, b) }}"
    );
    let (applied, model) = run("fold-constants", &text, "a", "w");
    assert_eq!(applied, 2);
    let folded = model.graph.find("a").and_then(|a| model.graph.constant(a));
    assert!(folded.is_some(), "`a` is a constant now");
}

#[test]
fn an_inlined_branch_takes_its_annotations_along() {
    let text = format!(
        "{HEAD}g (float[2] x) => (float[2] y) <bool on = {{1}}, float s> {{
           y = If (on) <then_branch = t () => (float[2] p) {{ a = Sin (x) p = Neg (a) }},
                        else_branch = e () => (float[2] q) {{ q = Cos (x) }}>
         }}"
    );
    assert_eq!(run("inline-constant-if", &text, "y", "s").0, 1);
}
