use super::super::tests::{floats, model};
use super::super::{DataSource, Dataset, Origin, in_order};
use super::*;
use crate::engine::Bindings;
use crate::ir::Model;

/// The samples of files, each given by its arrays.
fn load_all(files: &[&[(&str, TensorData)]], model: &Model) -> Result<Dataset, String> {
    let named =
        |arrays: &[(&str, TensorData)]| arrays.iter().map(|(n, a)| ((*n).to_owned(), a.clone())).collect();
    let files: Vec<_> =
        files.iter().enumerate().map(|(at, arrays)| (format!("{at}.npz"), named(arrays))).collect();
    let inputs = Wanted::all(model, &Bindings::new()).unwrap();
    let columns = columns(&files, &inputs).and_then(|columns| in_order(columns, &inputs));
    columns
        .and_then(|columns| Dataset::of(columns, &DataSource::of(Origin::Random(1))))
        .map_err(|e| e.to_string())
}

fn load(arrays: &[(&str, TensorData)], model: &Model) -> Result<Dataset, String> {
    load_all(&[arrays], model)
}

fn batches(data: &Dataset) -> Vec<Vec<TensorData>> {
    (0..data.batches()).map(|at| data.batch(at).unwrap()).collect()
}

#[test]
fn a_fixed_batch_splits_the_samples_and_leaves_the_rest_out() {
    let model = model(&[("x", DType::Float, &["2", "3"])]);
    let data = load(&[("x", floats(&[5, 3]))], &model).unwrap();
    let batches = batches(&data);
    assert_eq!(batches.len(), 2);
    assert_eq!(batches[1][0].to_f64s().unwrap(), [6.0, 7.0, 8.0, 9.0, 10.0, 11.0]);
    assert_eq!(data.first(1).unwrap().len(), 1);
    assert!(load(&[("x", floats(&[1, 3]))], &model).unwrap_err().contains("one batch of the model takes 2"));
    assert_eq!(load(&[("x", floats(&[2, 3]))], &model).unwrap().batches(), 1);
}

#[test]
fn an_open_batch_takes_one_sample() {
    let model = model(&[("x", DType::Float, &["N", "3"])]);
    let data = load(&[("x", floats(&[7, 3]))], &model).unwrap();
    assert_eq!((data.rows(), data.batches(), data.first(2).unwrap().len()), (7, 7, 2));
    let third = &data.batch(2).unwrap()[0];
    assert_eq!((third.dims(), third.to_f64s().unwrap()), (&[1, 3][..], vec![6.0, 7.0, 8.0]));
}

#[test]
fn one_input_takes_the_array_that_fits_and_never_labels() {
    let model = model(&[("input", DType::Float, &["N", "3"])]);
    let y = TensorData::vector(&[1i64, 2]);
    let x = TensorData::from_slice(&[2, 3], &[1f64, 2.0, 3.0, 4.0, 5.0, 6.5]).unwrap();
    let data = load(&[("x", x.clone()), ("y", y.clone()), ("labels", floats(&[2, 3]))], &model).unwrap();
    let second = &data.batch(1).unwrap()[0];
    assert_eq!((second.dtype(), second.to_f64s()), (DType::Float, Some(vec![4.0, 5.0, 6.5])));
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
    let batch = data.batch(2).unwrap();
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
    let batches = batches(&data);
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

#[test]
fn several_files_are_one_after_another_and_fill_batches_together() {
    let one = |from: f32| ("x", TensorData::from_slice(&[1, 2], &[from, from + 1.0]).unwrap());
    let two = ("x", TensorData::from_slice(&[2, 2], &[10f32, 11.0, 12.0, 13.0]).unwrap());
    let open = model(&[("x", DType::Float, &["N", "2"])]);
    let data = load_all(&[&[one(0.0)], std::slice::from_ref(&two), &[one(20.0)]], &open).unwrap();
    let first: Vec<f64> = batches(&data).iter().map(|b| b[0].to_f64s().unwrap()[0]).collect();
    assert_eq!(first, [0.0, 10.0, 12.0, 20.0]);
    let fixed = model(&[("x", DType::Float, &["2", "2"])]);
    let data = load_all(&[&[one(0.0)], std::slice::from_ref(&two), &[one(20.0)]], &fixed).unwrap();
    assert_eq!(data.batches(), 2);
    assert_eq!(data.batch(0).unwrap()[0].to_f64s().unwrap(), [0.0, 1.0, 10.0, 11.0]);
    assert_eq!(data.batch(1).unwrap()[0].to_f64s().unwrap(), [12.0, 13.0, 20.0, 21.0]);
    // Every file fills the model's batch: a sample each.
    let data = load_all(&[std::slice::from_ref(&two), std::slice::from_ref(&two)], &fixed).unwrap();
    assert_eq!((data.batches(), data.batch(1).unwrap()[0].dims()), (2, &[2, 2][..]));
}

#[test]
fn what_serves_a_whole_file_goes_with_its_samples() {
    let model = model(&[("x", DType::Float, &["N", "2"]), ("rate", DType::Int64, &[])]);
    let file = |rate: i64, rows: u64| [("x", floats(&[rows, 2])), ("rate", TensorData::scalar(rate))];
    let data = load_all(&[&file(7, 2), &file(9, 1)], &model).unwrap();
    let rates: Vec<_> = batches(&data).iter().map(|b| b[1].to_i64().unwrap()).collect();
    assert_eq!(rates, [7, 7, 9]);
}

#[test]
fn files_with_samples_along_other_axes_are_refused() {
    let model = model(&[("image", DType::Float, &["3", "h"])]);
    let error = load_all(&[&[("x", floats(&[2, 3, 4]))], &[("x", floats(&[3, 4]))]], &model).unwrap_err();
    assert_eq!(error, "1.npz: its samples lie along another axis than in other files");
}

#[test]
fn a_number_that_is_not_finite_names_file_and_sample() {
    let model = model(&[("x", DType::Float, &["N", "2"])]);
    let bad = TensorData::from_slice(&[3, 2], &[0f32, 1.0, 2.0, 3.0, 4.0, f32::NAN]).unwrap();
    let data = load_all(&[&[("x", floats(&[2, 2]))], &[("x", bad)]], &model).unwrap();
    assert!(data.batch(3).is_ok());
    let error = data.batch(4).unwrap_err().to_string();
    assert_eq!(error, "1.npz, sample 2: element 1 of `x` is NaN: mend the sample, or leave it out");
    let bad = TensorData::from_slice(&[1, 2], &[f64::INFINITY, 0.0]).unwrap();
    let error = load(&[("x", bad)], &model).unwrap().batch(0).unwrap_err().to_string();
    assert!(error.starts_with("0.npz: element 0 of `x` is inf"), "{error}");
}

#[test]
fn an_empty_array_is_an_empty_data_set() {
    let model = model(&[("x", DType::Float, &["N", "2"])]);
    assert_eq!(load(&[("x", floats(&[0, 2]))], &model).unwrap_err(), "the data set is empty");
    let error = load(&[], &model).unwrap_err();
    assert_eq!(error, "0.npz: no array fits input `x`, float[N,2]: nothing");
}
