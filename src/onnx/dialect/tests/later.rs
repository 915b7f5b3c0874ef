//! Changes of the later opsets.

use super::*;
use In::{Const, None as No, Of, Unknown};

const F: DType = DType::Float;

fn a() -> Attrs {
    Attrs::new()
}

/// A node of the newest form as an opset says it.
fn lowered(op: &str, attrs: Attrs, inputs: Vec<In>, opset: i64) -> Result<String, String> {
    let model = one_node(28, op, attrs, inputs, 1);
    written_text(&model.graph, only_node(&model.graph), opset).map_err(|e| e.what)
}

/// A node as it was read and its newest form, `None` where it has none.
fn raised(opset: i64, op: &str, attrs: Attrs, inputs: Vec<In>) -> (String, Option<String>) {
    let mut model = one_node(opset, op, attrs, inputs, 1);
    let id = only_node(&model.graph);
    let before = node_text(&model.graph, id);
    upgrade(&mut model).unwrap();
    (before, model.graph.node(id).opaque.is_none().then(|| node_text(&model.graph, id)))
}

/// Pictures of 2, 3 and 4 pixels a side.
const SIZES: [&[u64]; 3] = [&[1, 1, 2, 2], &[1, 1, 3, 3], &[1, 1, 4, 4]];

#[test]
fn a_pool_whose_last_window_may_begin_in_the_padding_stays_on_its_side_of_22() {
    let pool = |kernel: i64, stride: i64, pad: i64| {
        let two = |x| vec![x, x];
        a().with("ceil_mode", 1)
            .with("kernel_shape", two(kernel))
            .with("strides", two(stride))
            .with("pads", vec![pad; 4])
    };
    let sized = |n: usize| Some(SIZES[n - 2]);
    let cases = [
        (pool(3, 2, 0), None, true),
        (pool(3, 2, 1), None, true),
        (pool(3, 3, 1), None, false),
        (pool(1, 2, 0), None, false),
        // Windows begin at 0 and at 2, where a dim of 2 ends.
        (pool(1, 2, 0), sized(2), false),
        (pool(1, 2, 0), sized(3), true),
        // With the padding before them, 2 elements end at 3, where the second window would begin.
        (pool(3, 3, 1), sized(2), false),
        (pool(3, 3, 1), sized(3), true),
        (pool(3, 3, 1), sized(4), true),
        (pool(3, 3, 1).with("ceil_mode", 0), None, true),
        (pool(3, 3, 1).with("auto_pad", "SAME_UPPER"), None, true),
    ];
    for (attrs, dims, exact) in cases {
        for op in ["MaxPool", "AveragePool"] {
            let input = dims.map_or(Unknown, |dims| Of(F, dims));
            let (before, newest) = raised(21, op, attrs.clone(), vec![input]);
            assert_eq!(newest.is_some(), exact, "{before} of {dims:?}");
        }
    }
    let refused = lowered("MaxPool", pool(1, 2, 0), vec![Unknown], 21).unwrap_err();
    assert!(refused.contains("its last window may begin in the padding"), "{refused}");
}

#[test]
fn axes_of_resize_become_all_axes() {
    let axes = |axes: Vec<i64>| a().with("axes", axes);
    let x = || Of(F, &[1, 3, 4, 4]);
    let floats = Const(TensorData::vector(&[2.0f32, 3.0]));
    assert_eq!(
        lowered("Resize", axes(vec![3, -2]), vec![x(), No, floats], 17).unwrap(),
        "Resize{}(a, -, float:[1.0, 1.0, 3.0, 2.0])"
    );
    let sizes = || Const(TensorData::vector(&[8i64, 12]));
    assert_eq!(
        lowered("Resize", axes(vec![2, 3]), vec![x(), No, No, sizes()], 17).unwrap(),
        "Resize{}(a, -, -, int64:[1, 3, 8, 12])"
    );
    let unknown = lowered("Resize", axes(vec![2, 3]), vec![Unknown, No, No, sizes()], 17);
    assert_eq!(unknown.unwrap_err(), "its rank is not known");
    let computed = lowered("Resize", axes(vec![2, 3]), vec![x(), No, Unknown], 17);
    assert_eq!(computed.unwrap_err(), "its input `scales` is no constant");
    let cropped = axes(vec![2, 3]).with("coordinate_transformation_mode", "tf_crop_and_resize");
    assert_eq!(
        lowered("Resize", cropped, vec![x(), No, No, sizes()], 17).unwrap_err(),
        "its `axes` bear on its `roi`"
    );
}

#[test]
fn what_an_older_opset_says_with_another_operator() {
    let like = |ty: In| vec![Of(F, &[2]), ty];
    let int32 = || Of(DType::Int32, &[1]);
    assert_eq!(lowered("CastLike", a(), like(int32()), 15).unwrap(), "CastLike{}(a, b)");
    assert_eq!(lowered("CastLike", a(), like(int32()), 14).unwrap(), "Cast{to=6}(a)");
    let refused = lowered("CastLike", a(), like(Unknown), 14).unwrap_err();
    assert_eq!(refused, "the type that it casts to is not known");
    let refused = lowered("CastLike", a(), like(Of(DType::Bfloat16, &[1])), 12).unwrap_err();
    assert_eq!(refused, "its output `output` must not be bfloat16 there");
    assert_eq!(lowered("Celu", a(), vec![Of(F, &[2])], 11).unwrap(), "Elu{}(a)");
    assert!(lowered("Celu", a().with("alpha", 2.0), vec![Of(F, &[2])], 11).is_err());
}

#[test]
fn a_mask_that_is_filled_up_is_refused_where_it_would_not_be() {
    let keys = |mask: &'static [u64]| {
        let [q, k, v] = [2u64, 4, 4].map(|_| Of(F, &[1, 2, 4, 8]));
        vec![q, k, v, Of(F, mask)]
    };
    assert!(lowered("Attention", a(), keys(&[4, 4]), 23).is_ok());
    assert_eq!(
        lowered("Attention", a(), keys(&[4, 3]), 23).unwrap_err(),
        "its mask is shorter than its keys"
    );
    assert!(lowered("Attention", a(), keys(&[4, 3]), 24).is_ok());
}
