//! What is expected of channels, against known moments.

use super::*;

fn of(text: &str, name: &str) -> Spread {
    let model = crate::onnx::from_text(text).unwrap().model;
    let facts = Facts::of(&model.graph, &InferContext::default());
    let cx = PassContext::with_kernels(&model);
    let expected = Expected::of(&model.graph, &facts, &cx).unwrap();
    expected.get(model.graph.find(name).unwrap()).unwrap().clone()
}

const HEAD: &str = r#"<ir_version: 10, opset_import: ["" : 21]> g (float[N,2,8,8] x) => (float[N,2,H,W] y)"#;

#[test]
fn layers_spread_what_they_read() {
    let found = of(
        &format!(
            "{HEAD} <float[2,2,1,1] w = {{3, 4, 4, -3}}, float[2] b = {{1, 2}}> {{ y = Conv(x, w, b) }}"
        ),
        "y",
    );
    assert_eq!(found.mean, [1.0, 2.0]);
    assert!((found.covariance[[0, 0]] - 25.0).abs() < 1e-9 && found.covariance[[0, 1]].abs() < 1e-9);
    assert!(!found.anchored);
}

#[test]
fn a_rectified_gaussian_has_its_known_moments() {
    let found =
        of(&format!("{HEAD} <float[2,2,1,1] w = {{1, 0, 0.8, 0.6}}> {{ c = Conv(x, w)  y = Relu(c) }}"), "y");
    let pi = std::f64::consts::PI;
    let mean = (2.0 * pi).sqrt().recip();
    assert!((found.mean[0] - mean).abs() < 2e-3, "{:?}", found.mean);
    assert!((found.covariance[[0, 0]] - (0.5 - mean * mean)).abs() < 2e-3, "{:?}", found.covariance);
    // The arc-cosine kernel of order 1 (Cho 2009) at ρ = 0.8.
    let rho: f64 = 0.8;
    let product = ((1.0 - rho * rho).sqrt() + rho * (pi - rho.acos())) / (2.0 * pi);
    let gap = found.covariance[[0, 1]] - (product - mean * mean);
    assert!(gap.abs() < 5e-3, "{:?}", found.covariance);
}

#[test]
fn normalizations_say_mean_and_deviation() {
    let found = of(
        &format!(
            "{HEAD} <float[2,2,1,1] w = {{1, 0, 0.8, 0.6}}, float[2] s = {{2, -3}}, float[2] b = {{1, 5}}, \
             float[2] m = {{7, 7}}, float[2] v = {{9, 9}}> \
             {{ c = Conv(x, w)  n = BatchNormalization(c, s, b, m, v)  y = MaxPool <kernel_shape = [2, 2]> (n) }}"
        ),
        "y",
    );
    assert!(found.anchored);
    assert_eq!(found.mean, [1.0, 5.0]);
    assert!((found.covariance[[0, 1]] + 4.8).abs() < 1e-6, "{:?}", found.covariance);
}

#[test]
fn functions_of_the_same_value_are_one_function() {
    let found = of(&format!("{HEAD} {{ s = Sigmoid(x)  y = Mul(x, s) }}"), "y");
    // E[z·sigmoid(z)], by numerical integration.
    assert!((found.mean[0] - 0.206_621).abs() < 1e-3, "{:?}", found.mean);
}
