use super::*;
use crate::ir::{Graph, ModelMeta, Value};

fn model(inputs: &[(&str, DType, &[&str])]) -> Model {
    let mut graph = Graph::named("g");
    let mut ids = Vec::new();
    for (name, dtype, dims) in inputs {
        let dims = dims.iter().map(|d| d.parse().map_or_else(|_| Dim::Symbol((*d).into()), Dim::Known));
        ids.push(
            graph.add_value(Value { ty: ValueType::tensor(*dtype, dims), ..Value::named(*name) }).unwrap(),
        );
    }
    graph.set_inputs(ids);
    Model { graph, opsets: Vec::new(), functions: Vec::new(), meta: ModelMeta::default() }
}

fn floats(dims: &[u64]) -> TensorData {
    let count = dims.iter().product::<u64>();
    TensorData::from_slice(dims, &(0..count).map(|i| i as f32).collect::<Vec<_>>()).unwrap()
}

fn load(arrays: &[(&str, TensorData)], model: &Model) -> Result<Dataset, String> {
    let arrays: Vec<_> = arrays.iter().map(|(n, a)| ((*n).to_owned(), a.clone())).collect();
    Dataset::of(&arrays, model, &Bindings::new())
}

#[test]
fn a_fixed_batch_splits_the_samples_and_leaves_the_rest_out() {
    let model = model(&[("x", DType::Float, &["2", "3"])]);
    let data = load(&[("x", floats(&[5, 3]))], &model).unwrap();
    let batches = data.batches(u64::MAX, BATCH);
    assert_eq!(batches.len(), 2);
    assert_eq!(batches[1][0].to_f64s().unwrap(), [6.0, 7.0, 8.0, 9.0, 10.0, 11.0]);
    assert_eq!(data.batches(1, 1).len(), 1);
    assert!(load(&[("x", floats(&[1, 3]))], &model).unwrap_err().contains("one batch of the model takes 2"));
    assert_eq!(load(&[("x", floats(&[2, 3]))], &model).unwrap().batches(9, 1).len(), 1);
}

#[test]
fn an_open_batch_takes_at_most_as_many_as_asked() {
    let model = model(&[("x", DType::Float, &["N", "3"])]);
    let data = load(&[("x", floats(&[70, 3]))], &model).unwrap();
    let sizes = |b: Vec<Vec<TensorData>>| b.iter().map(|b| b[0].dims()[0]).collect::<Vec<_>>();
    assert_eq!(sizes(data.batches(u64::MAX, BATCH)), [32, 32, 6]);
    assert_eq!(sizes(data.batches(2, 1)), [1, 1]);
    assert_eq!(data.batches(3, 1)[2][0].to_f64s().unwrap(), [6.0, 7.0, 8.0]);
}

#[test]
fn one_input_takes_the_array_that_fits_and_never_labels() {
    let model = model(&[("input", DType::Float, &["N", "3"])]);
    let y = TensorData::vector(&[1i64, 2]);
    let x = TensorData::from_slice(&[2, 3], &[1f64, 2.0, 3.0, 4.0, 5.0, 6.5]).unwrap();
    let data = load(&[("x", x.clone()), ("y", y.clone()), ("labels", floats(&[2, 3]))], &model).unwrap();
    let batch = &data.batches(2, 2)[0][0];
    assert_eq!((batch.dtype(), batch.to_f64s()), (DType::Float, x.to_f64s()));
    let both = load(&[("a", x.clone()), ("b", x)], &model).unwrap_err();
    assert!(both.contains("`a` and `b` both fit"), "{both}");
    let images = TensorData::new(DType::Uint8, &[2, 3], vec![0; 6]).unwrap();
    let scale = load(&[("images", images), ("y", y)], &model).unwrap_err();
    assert!(scale.contains("uint8 is not converted to float: scale it first"), "{scale}");
    let wrong = load(&[("x", floats(&[2, 4]))], &model).unwrap_err();
    assert!(wrong.contains("`x` is float[2, 4]: its dims do not fit float[N,3]"), "{wrong}");
}

#[test]
fn several_inputs_go_by_name() {
    let model =
        model(&[("a", DType::Float, &["N", "2"]), ("rate", DType::Int64, &[]), ("b", DType::Int32, &["N"])]);
    let ids = TensorData::vector(&[7i64, 8, 9]);
    let rate = TensorData::scalar(16000i64);
    let all = [("a", floats(&[3, 2])), ("b", ids.clone()), ("rate", rate.clone())];
    let data = load(&all, &model).unwrap();
    let batch = &data.batches(3, 2)[1];
    assert_eq!(batch[0].to_f64s().unwrap(), [4.0, 5.0]);
    assert_eq!((batch[1].rank(), batch[1].to_i64()), (0, Some(16000)));
    assert_eq!(batch[2].to_vec::<i32>(), Some(vec![9]));
    assert!(load(&all[..2], &model).unwrap_err().contains("no array for input `rate`, only `a`, `b`"));
    let uneven = [("a", floats(&[4, 2])), ("b", ids), ("rate", rate)];
    assert!(load(&uneven, &model).unwrap_err().contains("`b` holds 3 samples"));
    let per_sample =
        [("a", floats(&[3, 2])), ("b", floats(&[3])), ("rate", TensorData::vector(&[1i64, 2, 3]))];
    assert!(load(&per_sample, &model).unwrap_err().contains("array `b` is float[3]"));
}

#[test]
fn an_array_with_one_axis_more_holds_an_input_a_sample() {
    let model = model(&[("image", DType::Float, &["3", "h"])]);
    let data = load(&[("x", floats(&[2, 3, 4]))], &model).unwrap();
    let batches = data.batches(9, BATCH);
    assert_eq!((batches.len(), batches[1][0].dims()), (2, &[3, 4][..]));
    assert_eq!(batches[1][0].to_f64s().unwrap()[0].to_bits(), 12f64.to_bits());
}

#[test]
fn integers_are_narrowed_only_where_they_fit() {
    let wide = TensorData::vector(&[-1i64, 255, -128]);
    assert!(convert(&wide, DType::Int8).is_none());
    assert_eq!(convert(&wide, DType::Int16).unwrap().to_vec::<i16>(), Some(vec![-1, 255, -128]));
    assert!(convert(&wide, DType::Uint64).is_none());
    assert!(convert(&TensorData::vector(&[true]), DType::Int64).is_none());
}
