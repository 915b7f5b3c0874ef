#![allow(clippy::float_cmp, reason = "exact numbers")]

use super::*;
use crate::engine::interpret::Interpreter;

const MODEL: &str = r#"
<ir_version: 8, opset_import: ["": 17]>
g (float[n, 2] x) => (float[n, 2] y) <float[2] two = {2, -2}>
{
  a = Mul (x, two)
  y = Relu (a)
}"#;

fn batch(items: &[f32]) -> Tensors {
    vec![
        TensorData::from_f64s(
            crate::ir::DType::Float,
            &[1, items.len() as u64],
            &items.iter().map(|&x| f64::from(x)).collect::<Vec<_>>(),
        )
        .unwrap(),
    ]
}

#[test]
fn observers_see_inputs_and_inner_values_in_order() {
    let model = crate::onnx::from_text(MODEL).unwrap().model;
    let engine = Interpreter::default();
    let batches: Vec<_> = (0..5u8).map(|i| batch(&[f32::from(i), 1.0])).collect();
    let samples = Samples::new(&engine, Bindings::new(), batches, Vec::new());
    let find = |name| model.graph.find(name).unwrap();
    let values = [find("a"), find("x"), find("a")];
    let mut seen = vec![Vec::new(); 3];
    let tap = Tap::of(&model, &values);
    samples
        .observe(tap, &mut seen, |o, t| {
            o.extend(t.to_f64s().unwrap());
            Ok(())
        })
        .unwrap();
    assert_eq!(seen[0], [0., -2., 2., -2., 4., -2., 6., -2., 8., -2.]);
    assert_eq!(seen[1], [0., 1., 1., 1., 2., 1., 3., 1., 4., 1.]);
    assert_eq!(seen[0], seen[2]);
}

#[test]
fn a_refusal_names_the_sample_and_the_value() {
    let model = crate::onnx::from_text(MODEL).unwrap().model;
    let engine = Interpreter::default();
    let batches: Vec<_> = (0..5u8).map(|i| batch(&[f32::from(i), 1.0])).collect();
    let samples = Samples::new(&engine, Bindings::new(), batches, Vec::new());
    let values = [model.graph.find("x").unwrap()];
    let tap = Tap::of(&model, &values);
    let refused = samples.observe(tap, &mut [()], |(), t| {
        if t.to_f64s().unwrap()[0] == 3.0 { Err("three".to_owned()) } else { Ok(()) }
    });
    assert_eq!(refused.unwrap_err().to_string(), "sample 3: `x`: three");
}

#[test]
fn loss_is_measured_on_what_is_held_out() {
    let model = crate::onnx::from_text(MODEL).unwrap().model;
    let other = crate::onnx::from_text(&MODEL.replace("-2}", "-2.02}")).unwrap().model;
    let engine = Interpreter::default();
    let samples = Samples::new(
        &engine,
        Bindings::new(),
        vec![batch(&[9.0, 9.0])],
        vec![batch(&[0.0, -1.0]), batch(&[1.0, 0.0])],
    );
    assert_eq!(samples.loss(&model, &model).unwrap().sqnr_db(), f64::INFINITY);
    let loss = samples.loss(&model, &other).unwrap();
    assert!(loss.held_out && loss.batches == 2);
    assert_eq!(loss.agreement(), Some(1.0));
    assert!((loss.sqnr_db() - 10.0 * (8.0f64 / 0.0004).log10()).abs() < 0.01, "{loss:?}");
}

#[test]
fn noise_is_a_share_of_the_signal_output_by_output() {
    let text = |two: &str| {
        let text = format!(
            r#"<ir_version: 8, opset_import: ["": 17]>
g (float[n, 2] x) => (float[n, 2] a, float[n, 2] b, float[n, 2] c) <float[2] two = {{{two}}}, float[1] no = {{0}}>
{{ a = Mul (x, two)  b = Neg (x)  d = Sub (x, x)  e = Sub (two, x)  f = Add (e, x)  c = Mul (f, no) }}"#
        );
        crate::onnx::from_text(&text).unwrap().model
    };
    let (model, other) = (text("2, -2"), text("2, -2.2"));
    let engine = Interpreter::default();
    let held_out = vec![batch(&[100.0, 0.0])];
    let batches = vec![batch(&[1.0, 1.0]), batch(&[3.0, -1.0]), batch(&[0.0, 9.0])];
    let samples = Samples::new(&engine, Bindings::new(), batches, held_out);
    let answers = samples.answers(&model, 2).unwrap();
    assert_eq!(answers.batches(), 2);
    assert_eq!(samples.answers(&model, 9).unwrap().batches(), 3);
    assert_eq!(samples.noise(&answers, &model).unwrap(), [0.0; 3]);
    let noise = samples.noise(&answers, &other).unwrap();
    assert!(
        (noise[0] - 0.08 / 48.0).abs() < 1e-6,
        "two errors of 0.2, over squares of 2, 2, 6 and 2: {noise:?}"
    );
    assert_eq!(noise[1..], [0.0; 2]);
    let broken = samples.noise(&answers, &text("2, inf")).unwrap();
    assert_eq!((broken[0], broken[1]), (f64::INFINITY, 0.0));
    assert_eq!(broken[2], f64::INFINITY, "not a number, where zero was said");
}

#[test]
fn every_batch_is_told_and_bad_ones_are_named() {
    use std::sync::Mutex;

    use crate::data::{DataSource, Dataset, Origin};

    let model = crate::onnx::from_text(MODEL).unwrap().model;
    let engine = Interpreter::default();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.bin");
    let items: Vec<f32> = (0..20u8).map(f32::from).collect();
    let write = |items: &[f32]| {
        std::fs::write(&path, items.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<_>>()).unwrap();
    };
    write(&items);
    let origin = Origin::Raw { files: vec![path.to_str().unwrap().to_owned()], inputs: Vec::new() };
    let data = Dataset::open(&DataSource::of(origin), &model, &Bindings::new()).unwrap();
    let told = Mutex::new(Vec::new());
    let tell = |done, all| told.lock().unwrap().push((done, all));
    let samples = Samples::of(&engine, Bindings::new(), &data).telling(&tell);
    assert_eq!((samples.count(Part::Calibration), samples.count(Part::HeldOut)), (8, 2));
    let values = [model.graph.find("x").unwrap()];
    let see = |o: &mut Vec<f64>, t: &TensorData| {
        o.push(t.to_f64s().unwrap()[0]);
        Ok(())
    };
    let mut seen = [Vec::new()];
    samples.observe(Tap::of(&model, &values), &mut seen, see).unwrap();
    assert_eq!(seen[0], [0.0, 2.0, 4.0, 8.0, 10.0, 12.0, 16.0, 18.0], "samples 3 and 7 are held out");
    let mut all = std::mem::take(&mut *told.lock().unwrap());
    all.sort_unstable();
    assert_eq!(all, (1..=8).map(|done| (done, 8)).collect::<Vec<_>>());
    let loss = samples.loss(&model, &model).unwrap();
    assert!(loss.held_out && loss.batches == 2);
    assert_eq!(*told.lock().unwrap(), [(1, 2), (2, 2)]);

    let all = Samples::of(&engine, Bindings::new(), &data).judged_by(&data);
    assert_eq!((all.count(Part::Calibration), all.count(Part::HeldOut)), (10, 10));
    write(&[&items[..11], &[f32::NAN], &items[12..]].concat());
    let bad = samples.observe(Tap::of(&model, &values), &mut seen, see).unwrap_err().to_string();
    assert!(
        bad.ends_with("x.bin, sample 5: element 1 of `x` is NaN: mend the sample, or leave it out"),
        "{bad}"
    );
}

#[test]
fn what_no_observer_needs_is_not_run() {
    let text = MODEL.replace("y = Relu (a)", "b = com.example.Unknown (a)  y = Relu (b)");
    let text = text.replace(r#"["": 17]"#, r#"["": 17, "com.example": 1]"#);
    let model = crate::onnx::from_text(&text).unwrap().model;
    let engine = Interpreter::default();
    let samples = Samples::new(&engine, Bindings::new(), vec![batch(&[3.0, 1.0])], Vec::new());
    let observe = |name: &str| {
        let (values, mut seen) = ([model.graph.find(name).unwrap()], [Vec::new()]);
        let tap = Tap::of(&model, &values);
        let see = |o: &mut Vec<f64>, t: &TensorData| {
            o.extend(t.to_f64s().unwrap());
            Ok(())
        };
        samples.observe(tap, &mut seen, see).map(|()| seen[0].clone())
    };
    assert_eq!(observe("a").unwrap(), [6.0, -2.0]);
    assert!(observe("y").unwrap_err().to_string().contains("Unknown"));
}

const LONG: &str = r#"
<ir_version: 8, opset_import: ["": 17]>
g (float[n, 2] x) => (float[n, 2] early, float[n, 2] y) <float[2] two = {2, -2}>
{
  a = Mul (x, two)
  early = Relu (a)
  b = Neg (a)
  c = Add (b, early)
  y = Add (c, x)
}"#;

#[test]
fn what_starts_later_answers_as_the_whole_model() {
    let model = crate::onnx::from_text(LONG).unwrap().model;
    let other = crate::onnx::from_text(&LONG.replace("Neg", "Abs")).unwrap().model;
    let engine = Interpreter::default();
    let batches: Vec<_> = (0..5u8).map(|i| batch(&[f32::from(i), 1.0])).collect();
    let samples = Samples::new(&engine, Bindings::new(), batches, Vec::new());
    let find = |name| model.graph.find(name).unwrap();
    let course = Course::of(&model.graph).unwrap();
    let place = course.place(model.graph.producer(find("b")).unwrap().0).unwrap();
    let needs = course.needs(&model.graph, place);
    assert_eq!(needs, [find("x"), find("a"), find("early")], "an output that is there already is kept");
    let mut answers = samples.answers(&model, 9).unwrap();
    let wanted = samples.divergence(&answers, &other).unwrap();
    samples.skip_to(&mut answers, &model, &needs).unwrap();
    assert!(wanted > 0.0);
    assert_eq!(samples.divergence(&answers, &other).unwrap(), wanted);
    assert_eq!(samples.divergences(&answers, &[model.clone(), other]).unwrap(), [0.0, wanted]);
}

#[test]
fn a_start_moves_on_where_what_is_there_can_be_held() {
    let model = crate::onnx::from_text(LONG).unwrap().model;
    let engine = Interpreter::default();
    let batches: Vec<_> = (0..3u8).map(|i| batch(&[f32::from(i), 1.0])).collect();
    let samples = Samples::new(&engine, Bindings::new(), batches, Vec::new());
    let find = |name| model.graph.find(name).unwrap();
    let mut start = samples.start(Part::Calibration);
    assert!(!samples.advance(&mut start, (&model, &[find("a")]), 5).unwrap(), "three batches of two");
    assert!(samples.advance(&mut start, (&model, &[find("a")]), 6).unwrap());
    let values = [find("b"), find("a")];
    let mut seen = vec![Vec::new(); 2];
    let tap = Tap { start: Some(&start), ..Tap::of(&model, &values) };
    let see = |seen: &mut Vec<f64>, tensors: &[&TensorData]| {
        seen.extend(tensors[0].to_f64s().unwrap());
        Ok(())
    };
    samples.observe_all(&[tap], &mut seen, see).unwrap();
    assert_eq!(seen, [[0., 2., -2., 2., -4., 2.], [0., -2., 2., -2., 4., -2.]]);
    // What comes before is gone: `x` cannot be had from here.
    let values = [find("y")];
    let tap = Tap { start: Some(&start), ..Tap::of(&model, &values) };
    assert!(samples.observe_all(&[tap], &mut seen[..1], see).is_err());
}
