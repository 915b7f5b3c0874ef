//! Data sets of every kind, from files in a directory.

use std::fs;
use std::path::PathBuf;

use super::*;
use crate::ir::{DType, Dim, Graph, ModelMeta, Value, ValueType};

/// A model with these inputs; a dim that is no number is a symbol.
pub(super) fn model(inputs: &[(&str, DType, &[&str])]) -> Model {
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

/// The numbers from 0.
pub(super) fn floats(dims: &[u64]) -> TensorData {
    let count = dims.iter().product::<u64>();
    TensorData::from_slice(dims, &(0..count).map(|i| i as f32).collect::<Vec<_>>()).unwrap()
}

/// A directory with files in it.
pub(super) struct Folder(tempfile::TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), bytes).unwrap();
        self.text(name)
    }

    /// An `.npy` file.
    pub fn npy(&self, name: &str, tensor: &TensorData) -> String {
        let descr = match tensor.dtype() {
            DType::Float => "<f4",
            DType::Int64 => "<i8",
            other => panic!("{other}"),
        };
        let dims: Vec<_> = tensor.dims().iter().map(ToString::to_string).collect();
        let dims = dims.join(",") + ",";
        let dict = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({dims})}}\n");
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend((dict.len() as u16).to_le_bytes());
        file.extend(dict.as_bytes());
        file.extend(tensor.bytes().unwrap().iter());
        self.write(name, file)
    }
}

fn open(source: &DataSource, model: &Model) -> Result<Dataset, String> {
    Dataset::open(source, model, &Bindings::new()).map_err(|e| e.to_string())
}

fn from(files: &[String]) -> DataSource {
    DataSource::of_args(files).unwrap()
}

fn first_items(data: &Dataset) -> Vec<f64> {
    (0..data.batches()).map(|at| data.batch(at).unwrap()[0].to_f64s().unwrap()[0]).collect()
}

#[test]
fn files_are_given_by_glob_or_input_by_input() {
    let folder = Folder::new();
    for (name, rows) in [("b.npy", 2), ("a.npy", 3)] {
        folder.npy(&format!("d/{name}"), &floats(&[rows, 2]));
    }
    let one = model(&[("x", DType::Float, &["N", "2"])]);
    let data = open(&from(&[folder.text("d/*.npy")]), &one).unwrap();
    assert_eq!(first_items(&data), [0.0, 2.0, 4.0, 0.0, 2.0]);
    let data = Dataset::load(&folder.path("d"), &one, &Bindings::new()).unwrap();
    assert_eq!(data.rows(), 5);

    let two = model(&[("x", DType::Float, &["N", "2"]), ("len", DType::Int64, &["N"])]);
    let lens = folder.npy("lens.npy", &TensorData::vector(&[5i64, 6, 7]));
    let named = [format!("len={lens}"), format!("x={}", folder.text("d/a.npy"))];
    let data = open(&from(&named), &two).unwrap();
    let last = data.batch(2).unwrap();
    assert_eq!((last[0].to_f64s(), last[1].to_i64()), (Some(vec![4.0, 5.0]), Some(7)));
}

#[test]
fn what_does_not_suit_the_model_is_named() {
    let folder = Folder::new();
    let x = folder.npy("x.npy", &floats(&[3, 2]));
    let lens = folder.npy("lens.npy", &TensorData::vector(&[5i64, 6]));
    let two = model(&[("x", DType::Float, &["N", "2"]), ("len", DType::Int64, &["N"])]);
    let error = |args: &[String]| match DataSource::of_args(args) {
        Ok(source) => open(&source, &two).unwrap_err(),
        Err(error) => error.to_string(),
    };
    let said = error(&[format!("x={x}"), format!("lem={lens}")]);
    assert_eq!(said, "the model has no input `lem`; its inputs are `x`, `len`");
    assert_eq!(error(&[format!("x={x}")]), "there are no samples for input `len`");
    assert_eq!(
        error(&[format!("x={x}"), format!("len={lens}")]),
        "there are 2 samples for `len` and 3 for `x`"
    );
    assert_eq!(error(&[format!("x={x}"), lens.clone()]), "give every file as INPUT=PATH, or none");
    let said = error(&[format!("x={lens}"), format!("len={lens}")]);
    assert!(said.contains("lens.npy: no array fits input `x`") && said.contains("int64[2]"), "{said}");
    let gone = folder.text("gone.npy");
    assert_eq!(error(&[format!("x={gone}")]), format!("{gone}: no such file"));
    assert_eq!(error(std::slice::from_ref(&gone)), format!("{gone}: no such file"));
    let inputs = Origin::ByInput(
        [("x".to_owned(), ArrayFiles { files: vec![x.clone()], array: Some("y".into()) })].into(),
    );
    let said = open(&DataSource::of(inputs), &two).unwrap_err();
    assert_eq!(said, format!("{x}: there is no array `y`, only `x`"));
    let none = model(&[]);
    assert_eq!(open(&from(&[x]), &none).unwrap_err(), "the model has no input, so samples have no use");
}

#[test]
fn a_limit_picks_by_seed_and_keeps_the_order() {
    let folder = Folder::new();
    let x = folder.npy(
        "x.npy",
        &TensorData::from_slice(&[100, 1], &(0..100u8).map(f32::from).collect::<Vec<_>>()).unwrap(),
    );
    let model = model(&[("x", DType::Float, &["N", "1"])]);
    let picked = |limit, seed| {
        let source = DataSource { limit: Some(limit), seed, ..from(std::slice::from_ref(&x)) };
        first_items(&open(&source, &model).unwrap())
    };
    let first = picked(10, 0);
    assert_eq!(first.len(), 10);
    assert!(first.windows(2).all(|pair| pair[0] < pair[1]), "{first:?}");
    assert_eq!(first, picked(10, 0));
    assert_ne!(first, picked(10, 1));
    assert!(first[9] > 50.0, "not the first ten: {first:?}");
    assert!((0..60).all(|seed| picked(99, seed).len() == 99), "never fewer than the limit");
    assert_eq!(picked(100, 5).len(), 100);
    assert_eq!(picked(1000, 5).len(), 100);
    // Every sample is as likely as any other.
    let mut counts = [0u32; 100];
    (0..2000).for_each(|seed| picked(5, seed).iter().for_each(|&x| counts[x as usize] += 1));
    assert!(counts.iter().all(|c| (60..145).contains(c)), "{counts:?}");
}

#[test]
fn a_limit_below_the_batch_is_refused() {
    let folder = Folder::new();
    let x = folder.npy("x.npy", &floats(&[9, 1]));
    let model = model(&[("x", DType::Float, &["4", "1"])]);
    let source = DataSource { limit: Some(3), ..from(&[x]) };
    let error = open(&source, &model).unwrap_err();
    assert_eq!(error, "there are 3 samples within `limit`, and one batch of the model takes 4");
}

#[test]
fn a_share_of_the_batches_is_held_out_evenly() {
    let folder = Folder::new();
    let x = folder.npy("x.npy", &floats(&[10, 1]));
    let model = model(&[("x", DType::Float, &["N", "1"])]);
    let held = |holdout| -> Vec<usize> {
        let data = open(&DataSource { holdout, ..from(std::slice::from_ref(&x)) }, &model).unwrap();
        (0..data.batches()).filter(|&at| data.is_held_out(at)).collect()
    };
    assert_eq!(held(HOLDOUT), [3, 7]);
    assert_eq!(held(0.0), [0; 0]);
    assert_eq!(held(0.5), [1, 3, 5, 7, 9]);
    assert_eq!(held(0.3), [3, 6, 9]);
    assert_eq!(held(0.99)[0], 1, "something is left to measure with");
}

#[test]
fn random_samples_are_seeded_and_say_so() {
    let model = model(&[("x", DType::Float, &["N", "3"]), ("ids", DType::Int64, &["N"])]);
    let made = |seed| open(&DataSource { seed, ..DataSource::of(Origin::Random(4)) }, &model).unwrap();
    let data = made(1);
    assert_eq!((data.rows(), data.batches(), data.is_random()), (4, 4, true));
    assert!(data.warnings()[0].starts_with("the 4 samples are random: "), "{:?}", data.warnings());
    let item = |data: &Dataset, at| data.batch(at).unwrap()[0].to_f64s().unwrap();
    assert_eq!(item(&data, 2), item(&made(1), 2));
    assert_ne!(item(&data, 2), item(&data, 3));
    assert_ne!(item(&data, 0), item(&made(9), 0));
    assert_eq!(data.batch(0).unwrap()[0].dims(), [1, 3]);
}
