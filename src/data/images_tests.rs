use image::{DynamicImage, GrayImage, Luma, Rgba, RgbaImage};

use super::super::tests::{Folder, model};
use super::super::{ArrayFiles, DataSource, Dataset, Origin};
use super::*;
use crate::engine::Bindings;
use crate::ir::Model;

fn picture(width: u32, height: u32, color: impl Fn(u32, u32) -> [u8; 3]) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb(color(x, y)))
}

fn saved(folder: &Folder, name: &str, image: &RgbImage) -> String {
    std::fs::create_dir_all(folder.path(name).parent().unwrap()).unwrap();
    image.save(folder.path(name)).unwrap();
    folder.text(name)
}

fn open_all(images: Images, model: &Model) -> Result<Dataset, String> {
    let source = DataSource { holdout: 0.0, ..DataSource::of(Origin::Images(images)) };
    Dataset::open(&source, model, &Bindings::new()).map_err(|e| e.to_string())
}

fn open_one(file: &str, prepare: Prepare, model: &Model) -> Result<Dataset, String> {
    open_all(Images { files: vec![file.to_owned()], prepare, ..Images::default() }, model)
}

/// The first tensor: its dims and elements.
fn tensor(file: &str, prepare: Prepare, model: &Model) -> (Vec<u64>, Vec<f64>) {
    let data = open_one(file, prepare, model).unwrap();
    let batch = data.batch(0).unwrap_or_else(|e| panic!("{e}"));
    let tensor = &batch[0];
    let ints = || tensor.to_i64s().unwrap().into_iter().map(|x| x as f64).collect();
    (tensor.dims().to_vec(), tensor.to_f64s().unwrap_or_else(ints))
}

fn error(file: &str, prepare: Prepare, model: &Model) -> String {
    open_one(file, prepare, model).and_then(|d| d.batch(0).map_err(|e| e.to_string())).unwrap_err()
}

/// Raw levels, as they are in the file.
fn plain() -> Prepare {
    Prepare { scale: Some(1.0), ..Prepare::default() }
}

fn nchw(channels: &str, height: &str, width: &str) -> Model {
    model(&[("x", DType::Float, &["N", channels, height, width])])
}

#[test]
fn axes_and_channels_follow_the_model_or_what_is_said() {
    let folder = Folder::new();
    let file = saved(&folder, "a.png", &picture(2, 1, |x, _| [10 + x as u8, 20, 30]));
    let (dims, items) = tensor(&file, plain(), &nchw("3", "1", "2"));
    assert_eq!((dims, items), (vec![1, 3, 1, 2], vec![10.0, 11.0, 20.0, 20.0, 30.0, 30.0]));
    let last = model(&[("x", DType::Float, &["N", "h", "w", "3"])]);
    let (dims, items) = tensor(&file, plain(), &last);
    assert_eq!((dims, items), (vec![1, 1, 2, 3], vec![10.0, 20.0, 30.0, 11.0, 20.0, 30.0]));
    let bgr = Prepare { color: Some(Color::Bgr), ..plain() };
    assert_eq!(tensor(&file, bgr, &last).1, [30.0, 20.0, 10.0, 30.0, 20.0, 11.0]);
    // 0.299 of 10 and 11, 0.587 of 20, 0.114 of 30.
    assert_eq!(tensor(&file, plain(), &nchw("1", "h", "w")), (vec![1, 1, 1, 2], vec![18.0, 18.0]));
    let luma = picture(3, 1, |x, _| [[255, 0, 0], [0, 255, 0], [0, 0, 255]][x as usize]);
    let file = saved(&folder, "l.png", &luma);
    assert_eq!(tensor(&file, plain(), &nchw("1", "h", "w")).1, [76.0, 150.0, 29.0]);
    // Without a batch axis every image is a whole input.
    let chw = model(&[("x", DType::Float, &["3", "1", "3"])]);
    assert_eq!(tensor(&file, plain(), &chw).0, [3, 1, 3]);
}

#[test]
fn values_are_scaled_then_centred_then_divided() {
    let folder = Folder::new();
    let file = saved(&folder, "a.png", &picture(1, 1, |_, _| [0, 51, 255]));
    let model = nchw("3", "1", "1");
    let near = |found: &[f64], wanted: [f64; 3]| {
        assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
    };
    near(&tensor(&file, Prepare::default(), &model).1, [0.0, 0.2, 1.0]);
    let all = Prepare { mean: vec![0.5, 0.1, 0.0], std: vec![0.5, 0.25, 2.0], ..Prepare::default() };
    near(&tensor(&file, all, &model).1, [-1.0, 0.4, 0.5]);
    let one = Prepare { scale: Some(2.0), mean: vec![2.0], std: vec![4.0], ..Prepare::default() };
    near(&tensor(&file, one, &model).1, [-0.5, 25.0, 127.0]);
    // The numbers go with the channels that the model sees.
    let bgr = Prepare { color: Some(Color::Bgr), mean: vec![255.0, 51.0, 0.0], ..plain() };
    near(&tensor(&file, bgr, &model).1, [0.0, 0.0, 0.0]);
}

#[test]
fn integer_inputs_take_levels_and_nothing_that_does_not_fit() {
    let folder = Folder::new();
    let file = saved(&folder, "a.png", &picture(1, 1, |_, _| [0, 128, 255]));
    let bytes = model(&[("x", DType::Uint8, &["N", "h", "w", "3"])]);
    assert_eq!(tensor(&file, Prepare::default(), &bytes).1, [0.0, 128.0, 255.0]);
    let signed = model(&[("x", DType::Int8, &["N", "h", "w", "3"])]);
    let shifted = Prepare { mean: vec![128.0], ..Prepare::default() };
    assert_eq!(tensor(&file, shifted, &signed).1, [-128.0, 0.0, 127.0]);
    let said = error(&file, Prepare::default(), &signed);
    assert_eq!(
        said,
        format!("{file}: its values do not fit the int8 of input `x`: set `scale`, `mean` and `std`")
    );
}

#[test]
fn images_are_resized_letterboxed_and_cropped() {
    let folder = Folder::new();
    // Left half 0, right half 200.
    let file = saved(&folder, "a.png", &picture(8, 4, |x, _| [if x < 4 { 0 } else { 200 }; 3]));
    let gray = nchw("1", "h", "w");
    let sized = |resize, crop, letterbox| Prepare { resize, letterbox, crop, ..plain() };
    let (dims, items) = tensor(&file, sized(Some(Resize::To(2, 2)), None, None), &gray);
    assert_eq!(dims, [1, 1, 2, 2]);
    assert!(items[0] < 40.0 && items[1] > 160.0 && items[0..2] == items[2..4], "{items:?}");
    assert_eq!(tensor(&file, sized(Some(Resize::Shorter(2)), None, None), &gray).0, [1, 1, 2, 4]);
    let tall = saved(&folder, "t.png", &picture(4, 10, |_, _| [9; 3]));
    assert_eq!(tensor(&tall, sized(Some(Resize::Shorter(2)), None, None), &gray).0, [1, 1, 5, 2]);
    let (dims, items) = tensor(&file, sized(None, Some((2, 4)), None), &gray);
    assert_eq!((dims, items), (vec![1, 1, 4, 2], [0.0, 200.0].repeat(4)));
    let (dims, items) = tensor(&file, sized(Some(Resize::To(8, 8)), None, Some(114)), &gray);
    assert_eq!(dims, [1, 1, 8, 8]);
    let rows: Vec<&[f64]> = items.chunks(8).collect();
    assert!([0, 1, 6, 7].iter().all(|&y: &usize| rows[y] == [114.0; 8]), "{items:?}");
    assert!((2..6).all(|y| rows[y] == [0.0, 0.0, 0.0, 0.0, 200.0, 200.0, 200.0, 200.0]), "{items:?}");
    let (_, items) = tensor(&tall, sized(Some(Resize::To(5, 5)), None, Some(7)), &gray);
    assert_eq!(items[..5], [7.0, 9.0, 9.0, 7.0, 7.0]);
    // Unsaid, the size is the model's.
    assert_eq!(tensor(&file, plain(), &nchw("1", "2", "4")).0, [1, 1, 2, 4]);
    // A gradient keeps its mean: all pixels count, not every fourth.
    let fine = saved(&folder, "f.png", &picture(64, 1, |x, _| [if x % 4 == 0 { 200 } else { 0 }; 3]));
    let (_, items) = tensor(&fine, sized(Some(Resize::To(8, 1)), None, None), &gray);
    assert!(items.iter().all(|x| (x - 50.0).abs() < 8.0), "{items:?}");
}

#[test]
fn every_kind_of_pixel_is_read() {
    let folder = Folder::new();
    let model = nchw("3", "1", "1");
    let gray = DynamicImage::ImageLuma8(GrayImage::from_pixel(1, 1, Luma([7])));
    gray.save(folder.path("g.png")).unwrap();
    assert_eq!(tensor(&folder.text("g.png"), plain(), &model).1, [7.0, 7.0, 7.0]);
    let alpha = DynamicImage::ImageRgba8(RgbaImage::from_pixel(1, 1, Rgba([1, 2, 3, 0])));
    alpha.save(folder.path("a.png")).unwrap();
    assert_eq!(tensor(&folder.text("a.png"), plain(), &model).1, [1.0, 2.0, 3.0]);
    picture(8, 8, |_, _| [200, 100, 50]).save(folder.path("j.jpeg")).unwrap();
    let (_, items) = tensor(&folder.text("j.jpeg"), plain(), &nchw("3", "8", "8"));
    assert!((items[0] - 200.0).abs() < 6.0 && (items[191] - 50.0).abs() < 6.0, "{items:?}");
    // The content counts, not the name.
    std::fs::copy(folder.path("j.jpeg"), folder.path("k.png")).unwrap();
    assert!(tensor(&folder.text("k.png"), plain(), &nchw("3", "8", "8")).1[0] > 190.0);
}

#[test]
fn what_is_no_image_is_named_before_anything_is_measured() {
    let folder = Folder::new();
    let model = nchw("3", "1", "1");
    saved(&folder, "d/a.png", &picture(1, 1, |_, _| [1; 3]));
    folder.write("d/b.png", "no image at all");
    let refused = |file: &str| open_one(file, Prepare::default(), &model).unwrap_err();
    let name = folder.text("d/b.png");
    assert_eq!(refused(&folder.text("d")), format!("{name}: it is no image: PNG and JPEG are read"));
    let gif = folder.write("g.png", "GIF89a and so on");
    assert_eq!(refused(&gif), format!("{gif}: it is Gif; images are read from PNG and JPEG: convert it"));
    // What begins well and breaks off is found when it is read.
    let whole = std::fs::read(folder.path("d/a.png")).unwrap();
    let cut = folder.write("c.png", &whole[..40]);
    let data = open_one(&cut, Prepare::default(), &model).unwrap();
    let said = data.batch(0).unwrap_err().to_string();
    assert!(said.starts_with(&format!("{cut}: it cannot be decoded: ")), "{said}");
    let said = refused(&folder.text("none"));
    assert!(said.ends_with("none: no such file"), "{said}");
}

#[test]
fn wrong_shapes_are_named() {
    let folder = Folder::new();
    let file = saved(&folder, "a.png", &picture(6, 4, |_, _| [1; 3]));
    let fixed = nchw("3", "8", "8");
    let sized = |resize, crop| Prepare { resize, crop, ..Prepare::default() };
    assert_eq!(
        open_one(&file, sized(Some(Resize::To(4, 4)), None), &fixed).unwrap_err(),
        "input `x` is float[N,3,8,8]: the image becomes 3x4x4, and input `x` takes 3x8x8: set `resize` or `crop`"
    );
    let said = error(&file, sized(Some(Resize::Shorter(8)), None), &fixed);
    assert_eq!(
        said,
        format!("{file}: the image becomes 3x8x12, and input `x` takes 3x8x8: set `resize` or `crop`")
    );
    assert_eq!(
        error(&file, sized(None, Some((8, 8))), &fixed),
        format!("{file}: its 6x4 are less than the crop of 8x8: set `resize`")
    );
    let said = error(&file, Prepare { color: Some(Color::Gray), ..Prepare::default() }, &fixed);
    assert!(
        said.contains("it takes 3 channels as nchw, and `gray` has 1: set `color` or `layout`"),
        "{said}"
    );
    let said = error(&file, Prepare { mean: vec![1.0, 2.0], ..Prepare::default() }, &fixed);
    assert!(said.contains("`mean` has 2 numbers, and the images 3 channels"), "{said}");
    let said = error(&file, Prepare { letterbox: Some(0), ..Prepare::default() }, &nchw("3", "h", "w"));
    assert!(said.contains("`letterbox` needs a width and a height"), "{said}");
    let said = error(&file, Prepare::default(), &nchw("c", "h", "w"));
    assert!(said.contains("set `layout`"), "{said}");
    let said = error(&file, Prepare::default(), &model(&[("x", DType::Float, &["N", "8"])]));
    assert_eq!(said, "input `x` is float[N,8]: images need an input of three axes, or four with the batch");
    let said = error(&file, Prepare::default(), &model(&[("x", DType::String, &["N", "3", "8", "8"])]));
    assert!(said.ends_with("images need an input of numbers"), "{said}");
    let thin = saved(&folder, "thin.png", &picture(3000, 1, |_, _| [1; 3]));
    let said = error(&thin, sized(Some(Resize::Shorter(4000)), None), &nchw("3", "h", "w"));
    assert!(said.contains("its 3000x1 are too long and thin"), "{said}");
}

#[test]
fn a_batch_takes_images_of_one_size() {
    let folder = Folder::new();
    let files = vec![
        saved(&folder, "a.png", &picture(2, 2, |_, _| [1; 3])),
        saved(&folder, "b.png", &picture(2, 3, |_, _| [2; 3])),
    ];
    let fixed = model(&[("x", DType::Float, &["2", "3", "h", "w"])]);
    let images = Images { files: files.clone(), ..Images::default() };
    let said = open_all(images.clone(), &fixed).unwrap().batch(0).unwrap_err().to_string();
    let wanted = "`x` is float[3, 3, 2], and float[3, 2, 2] in ";
    assert!(said.starts_with(&format!("{}: {wanted}{}: a batch", files[1], files[0])), "{said}");
    let images = Images { prepare: Prepare { resize: Some(Resize::To(2, 2)), ..plain() }, ..images };
    let batch = open_all(images, &fixed).unwrap().batch(0).unwrap();
    assert_eq!(batch[0].dims(), [2, 3, 2, 2]);
    assert_eq!(batch[0].to_f64s().unwrap(), [[1.0; 12], [2.0; 12]].concat());
}

#[test]
fn other_inputs_come_from_arrays() {
    let folder = Folder::new();
    let file = saved(&folder, "a.png", &picture(2, 2, |_, _| [255; 3]));
    let model = model(&[("size", DType::Int64, &["2"]), ("x", DType::Float, &["N", "3", "2", "2"])]);
    let images = Images {
        files: vec![file.clone(), saved(&folder, "b.png", &picture(2, 2, |_, _| [0; 3]))],
        ..Images::default()
    };
    let said = open_all(images.clone(), &model).unwrap_err();
    assert!(said.contains("say with `inputs` which of `size`, `x`"), "{said}");
    let named = Images { input: Some("x".into()), ..images.clone() };
    assert_eq!(open_all(named, &model).unwrap_err(), "there are no samples for input `size`");
    let size = ArrayFiles { files: vec![folder.npy("s.npy", &TensorData::vector(&[2i64, 2]))], array: None };
    let images = Images { others: [("size".to_owned(), size)].into(), ..images };
    let batch = open_all(images.clone(), &model).unwrap().batch(1).unwrap();
    assert_eq!((batch[0].to_i64s().unwrap(), batch[1].to_f64s().unwrap()), (vec![2, 2], vec![0.0; 12]));
    let wrong = Images { input: Some("image".into()), ..images };
    assert!(open_all(wrong, &model).unwrap_err().contains("no input `image`; its inputs are `size`, `x`"));
}

#[test]
fn nothing_of_an_image_is_kept() {
    let folder = Folder::new();
    let file = saved(&folder, "a.png", &picture(1, 1, |_, _| [1; 3]));
    let data = open_one(&file, plain(), &nchw("3", "1", "1")).unwrap();
    assert_eq!(data.batch(0).unwrap()[0].to_f64s().unwrap(), [1.0; 3]);
    saved(&folder, "a.png", &picture(1, 1, |_, _| [2; 3]));
    assert_eq!(data.batch(0).unwrap()[0].to_f64s().unwrap(), [2.0; 3]);
}

#[test]
fn a_guessed_range_is_said() {
    let folder = Folder::new();
    let file = saved(&folder, "a.png", &picture(1, 1, |_, _| [1; 3]));
    let warned = |prepare, model: &Model| !open_one(&file, prepare, model).unwrap().warnings().is_empty();
    assert!(warned(Prepare::default(), &nchw("3", "1", "1")));
    assert!(!warned(plain(), &nchw("3", "1", "1")));
    assert!(!warned(Prepare { mean: vec![0.5], ..Prepare::default() }, &nchw("3", "1", "1")));
    assert!(!warned(Prepare::default(), &model(&[("x", DType::Uint8, &["N", "3", "1", "1"])])));
}
