//! Layers of full rank against the layers that they were made of.

use ndarray::Array2;

use super::factors::place;
use super::forms::{Choice, Form, Geometry, Parts};
use super::layers::layers;
use super::price::Open;
use super::tests::{answers, model};
use crate::prelude::*;

/// The only layer of a model in a form, with all ranks that it can have.
fn taken_apart(original: &Model, form: Form) -> (Model, Vec<usize>) {
    let mut changed = original.clone();
    let mut ranks = Vec::new();
    let mut cx = PassContext::with_kernels(original);
    main_graph(&mut changed, &mut cx, &mut |scope, _| {
        let all = layers(scope.graph)?;
        let layer = &all[0];
        let open = Open::of(scope.graph, scope.facts);
        let geometry = Geometry::of(scope.graph, scope.facts, &open, layer).unwrap();
        let weights = layer.matrix(scope.graph.constant(layer.weight).unwrap()).unwrap();
        let parts = Parts::of(weights, None, geometry, &[form]).unwrap();
        ranks = parts.full(form);
        place("test", scope, layer, &parts.factors(form, &ranks), None)
    })
    .unwrap();
    (changed, ranks)
}

fn same(text: &str, form: Form) -> Vec<usize> {
    let original = model(text, 3);
    let (changed, ranks) = taken_apart(&original, form);
    assert_eq!(changed.graph.nodes().count(), original.graph.nodes().count() + ranks.len());
    for (wanted, got) in answers(&original, 5).iter().zip(&answers(&changed, 5)) {
        assert_eq!(wanted.len(), got.len(), "{form:?} {text}");
        let scale = wanted.iter().fold(1e-3f64, |most, x| most.max(x.abs()));
        for (a, b) in wanted.iter().zip(got) {
            assert!((a - b).abs() < 1e-5 * scale, "{form:?}: {a} and {b}\n{text}");
        }
    }
    ranks
}

#[test]
fn convolutions_compute_the_same_in_every_form() {
    let attrs = [
        "pads = [0, 0, 0, 0]",
        "pads = [2, 0, 1, 3]",
        "strides = [2, 3], pads = [1, 2, 0, 1]",
        "dilations = [2, 1], strides = [1, 2], pads = [2, 1, 1, 0]",
        "auto_pad = \"SAME_UPPER\", strides = [2, 1]",
        "auto_pad = \"SAME_LOWER\", strides = [3, 2], kernel_shape = [3, 2]",
        "auto_pad = \"SAME_UPPER\", dilations = [1, 3]",
        "auto_pad = \"VALID\", strides = [2, 2], group = 1",
    ];
    for attrs in attrs {
        let text = format!(
            "g (float[N,3,9,8] x) => (float[N,5,H,W] y) <float[5,3,3,2] w, float[5] b> {{ y = Conv <{attrs}> (x, w, b) }}"
        );
        assert_eq!(same(&text, Form::Answers), [5]);
        assert_eq!(same(&text, Form::Inputs), [3]);
        assert_eq!(same(&text, Form::Tucker), [3, 5]);
        assert_eq!(same(&text, Form::Spatial), [9]);
    }
}

#[test]
fn one_axis_and_three_are_no_different() {
    let line = "g (float[N,3,9] x) => (float[N,4,L] y) <float[4,3,3] w> { y = Conv <strides = [2], pads = [1, 0]> (x, w) }";
    let space = "g (float[N,2,4,5,3] x) => (float[N,4,D,H,W] y) <float[4,2,2,3,1] w> { y = Conv <strides = [1, 2, 1], pads = [1, 0, 0, 0, 2, 0]> (x, w) }";
    for text in [line, space] {
        for form in [Form::Answers, Form::Inputs, Form::Tucker] {
            same(text, form);
        }
    }
}

#[test]
fn products_compute_the_same_in_both_layouts() {
    for text in [
        "g (float[N,7] x) => (float[N,5] y) <float[5,7] w, float[5] b> { y = Gemm <transB = 1> (x, w, b) }",
        "g (float[N,5] x) => (float[N,7] y) <float[5,7] w, float[7] b> { y = Gemm (x, w, b) }",
        "g (float[N,2,5] x) => (float[N,2,7] y) <float[5,7] w, float[7] b> { p = MatMul (x, w) y = Add (p, b) }",
    ] {
        assert_eq!(same(text, Form::Product), [5]);
    }
}

fn geometry(model: &Model) -> (Geometry, Array2<f64>) {
    let facts = Facts::of(&model.graph, &InferContext::default());
    let layer = &layers(&model.graph).unwrap()[0];
    let open = Open::of(&model.graph, &facts);
    let weights = layer.matrix(model.graph.constant(layer.weight).unwrap()).unwrap();
    (Geometry::of(&model.graph, &facts, &open, layer).unwrap(), weights)
}

const STRIDED: &str = "g (float[1,6,9,8] x) => (float[1,5,5,8] y) <float[5,6,3,2] w> { y = Conv <strides = [2, 1], pads = [1, 1, 1, 0]> (x, w) }";
const KERNELS: [Form; 4] = [Form::Answers, Form::Inputs, Form::Tucker, Form::Spatial];

#[test]
fn what_factors_cost_is_what_is_counted_of_the_model() {
    let product = "g (float[1,3,6] x) => (float[1,3,5] y) <float[6,5] w> { y = MatMul (x, w) }";
    let all = KERNELS.map(|form| (STRIDED, form));
    for (text, form) in all.into_iter().chain([(product, Form::Product)]) {
        let original = model(text, 1);
        let (changed, ranks) = taken_apart(&original, form);
        let counted = |model: &Model| {
            let facts = Facts::of(&model.graph, &InferContext::default());
            let macs = crate::analysis::cost::macs(&model.graph, &facts, &Sizes::default()).unwrap();
            (macs as f64, crate::analysis::cost::parameters(&model.graph).count as f64)
        };
        let (geometry, _) = geometry(&original);
        let cost = geometry.cost(&form.looks(geometry.kernel.len()), &ranks);
        assert_eq!((cost.macs, cost.params), counted(&changed), "{form:?}");
        assert_eq!((geometry.whole().macs, geometry.whole().params), counted(&original));
    }
}

#[test]
fn what_can_be_chosen_saves_products_and_weights() {
    let text = STRIDED.replace("strides = [2, 1]", "strides = [3, 3]").replace("5,5,8", "5,3,3");
    let (geometry, weights) = geometry(&model(&text, 1));
    let whole = geometry.whole();
    // A 1×1 before a kernel with strides looks at every place of the input.
    let dear = geometry.cost(&Form::Inputs.looks(2), &[4]);
    assert!(dear.macs > whole.macs && dear.params < whole.params, "{dear:?} {whole:?}");
    let parts = Parts::of(weights, None, geometry, &KERNELS).unwrap();
    let choices = parts.choices(1);
    assert!(KERNELS.iter().all(|form| choices.iter().any(|choice| choice.form == *form)));
    for Choice { form, ranks, cost, .. } in choices {
        assert!(cost.macs < whole.macs && cost.params < whole.params, "{form:?} {ranks:?}");
    }
}

#[test]
fn the_rank_that_says_least_goes_first() {
    let (geometry, mut weights) = geometry(&model(STRIDED, 1));
    // The answers are nearly one; it reads all inputs.
    weights.outer_iter_mut().skip(1).for_each(|mut row| row.mapv_inplace(|w| 1e-3 * w));
    let parts = Parts::of(weights, None, geometry, &[Form::Tucker]).unwrap();
    let ranks: Vec<Vec<usize>> = parts.choices(1).into_iter().map(|choice| choice.ranks).collect();
    assert!(ranks.contains(&vec![4, 1]) && !ranks.contains(&vec![1, 4]), "{ranks:?}");
}
