use super::super::tests::{Folder, model};
use super::super::{DataSource, Dataset, Origin};
use super::*;
use crate::engine::Bindings;
use crate::ir::Model;

fn open(files: &[String], inputs: &[&str], model: &Model) -> Result<Dataset, String> {
    let inputs = inputs.iter().map(|&i| i.to_owned()).collect();
    let source = DataSource::of(Origin::Raw { files: files.to_vec(), inputs });
    Dataset::open(&source, model, &Bindings::new()).map_err(|e| e.to_string())
}

fn bytes(floats: &[f32], ints: &[i64]) -> Vec<u8> {
    let floats = floats.iter().flat_map(|x| x.to_le_bytes());
    floats.chain(ints.iter().flat_map(|x| x.to_le_bytes())).collect()
}

#[test]
fn inputs_lie_one_after_another_in_the_order_that_is_said() {
    let folder = Folder::new();
    let model = model(&[("ids", DType::Int64, &["N", "2"]), ("x", DType::Float, &["N", "3"])]);
    folder.write("d/a.bin", bytes(&[1.0, 2.0, 3.0], &[4, 5]));
    let twice = [bytes(&[6.0, 7.0, 8.0], &[9, 10]), bytes(&[11.0, 12.0, 13.0], &[14, 15])].concat();
    folder.write("d/b.bin", twice);
    let data = open(&[folder.text("d")], &["x", "ids"], &model).unwrap();
    assert_eq!(data.batches(), 3);
    let last = data.batch(2).unwrap();
    assert_eq!((last[0].dims(), last[0].to_i64s()), (&[1, 2][..], Some(vec![14, 15])));
    assert_eq!((last[1].dims(), last[1].to_f64s()), (&[1, 3][..], Some(vec![11.0, 12.0, 13.0])));
    // Unsaid, the model's order counts.
    let file = folder.write("c.raw", [bytes(&[], &[1, 2]), bytes(&[3.0, 4.0, 5.0], &[])].concat());
    let data = open(&[file], &[], &model).unwrap();
    assert_eq!(data.batch(0).unwrap()[1].to_f64s(), Some(vec![3.0, 4.0, 5.0]));
}

#[test]
fn a_fixed_batch_is_a_sample_as_it_is() {
    let folder = Folder::new();
    let file = folder.write("a.bin", bytes(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0], &[]));
    let data = open(&[file], &[], &model(&[("x", DType::Float, &["2", "2"])])).unwrap();
    assert_eq!(data.batches(), 2);
    assert_eq!(data.batch(1).unwrap()[0].to_f64s(), Some(vec![5.0, 6.0, 7.0, 8.0]));
}

#[test]
fn what_cannot_be_read_is_said() {
    let folder = Folder::new();
    let one = model(&[("x", DType::Float, &["N", "3"])]);
    let file = folder.write("a.bin", [0; 13]);
    let said = |file: &String, inputs: &[&str], model: &Model| {
        open(std::slice::from_ref(file), inputs, model).unwrap_err()
    };
    assert_eq!(said(&file, &[], &one), format!("{file}: it holds 13 bytes, and a sample takes 12"));
    assert_eq!(said(&file, &["y"], &one), "the model has no input `y`; its inputs are `x`");
    let twice = said(&folder.write("t.bin", [0; 24]), &["x", "x"], &one);
    assert_eq!(twice, "there are two sets of samples for `x`");
    let empty = folder.write("e.bin", []);
    assert_eq!(said(&empty, &[], &one), format!("{empty}: it holds 0 bytes, and a sample takes 12"));
    let open_dim = said(&file, &[], &model(&[("x", DType::Float, &["N", "len"])]));
    assert!(
        open_dim.contains("cannot tell the size of input `x`") && open_dim.contains("`--bind`"),
        "{open_dim}"
    );
    let text = said(&file, &[], &model(&[("x", DType::String, &["N", "1"])]));
    assert!(text.contains("raw files cannot hold it"), "{text}");
    let nan = folder.write(
        "n.bin",
        bytes(&[0.0; 3], &[]).into_iter().chain(bytes(&[0.0, f32::NAN, 0.0], &[])).collect::<Vec<_>>(),
    );
    let data = open(std::slice::from_ref(&nan), &[], &one).unwrap();
    assert!(data.batch(0).is_ok());
    let error = data.batch(1).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{nan}, sample 1: element 1 of `x` is NaN")), "{error}");
    let flags = folder.write("b.bin", [0, 1, 2]);
    let data = open(&[flags], &[], &model(&[("x", DType::Bool, &["N", "3"])])).unwrap();
    assert!(data.batch(0).unwrap_err().to_string().ends_with("a boolean is neither 0 nor 1"));
}
