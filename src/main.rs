//! x
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let t = std::time::Instant::now();
    let mut m = match onnxpress::onnx::load(&a[1]) {
        Ok(m) => m,
        Err(e) => {
            eprintln!("error: {e}");
            std::process::exit(1)
        }
    };
    let t1 = t.elapsed();
    let ids = [
        "fold-constants",
        "drop-dead",
        "drop-identity",
        "merge-equal-nodes",
        "share-equal-initializers",
        "fuse-conv-bn",
        "fuse-conv-affine",
        "fuse-matmul-add",
        "inline-constant-if",
        "resolve-cast-like",
    ];
    if a.get(3).map(String::as_str) != Some("none") {
        if let Err(e) = onnxpress::scratch::simplify(&mut m.model, &ids) {
            eprintln!("error: {e:#}");
            std::process::exit(1)
        }
    }
    let t2 = t.elapsed();
    let c = match m.model.check() {
        Ok(c) => c,
        Err(e) => {
            eprintln!("error: {e}");
            std::process::exit(1)
        }
    };
    if let Err(e) = onnxpress::onnx::save(c, &a[2], &Default::default()) {
        eprintln!("error: {e}");
        std::process::exit(1)
    }
    eprintln!("load {t1:?} passes {:?} save {:?}", t2 - t1, t.elapsed() - t2);
}
