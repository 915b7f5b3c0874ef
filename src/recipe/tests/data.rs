//! Data sets in recipes.

use super::*;
use crate::data::{ArrayFiles, Color, DataSource, HOLDOUT, ImageLayout, Images, Prepare, Resize};

fn calib(text: &str) -> DataSource {
    let recipe = read(&format!("data: {{ calib: {{ {text} }} }}"));
    let again = Recipe::from_str(&recipe.to_yaml(), "r.yaml", Path::new("")).unwrap();
    assert_eq!(again, recipe, "{}", recipe.to_yaml());
    recipe.data["calib"].clone()
}

fn images(text: &str) -> Images {
    match calib(text).origin {
        Origin::Images(images) => images,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_origin_is_read_and_written_back() {
    let plain = calib("files: a.npy");
    assert_eq!((plain.limit, plain.seed, plain.holdout), (None, 0, HOLDOUT));
    assert_eq!(plain.origin, Origin::Arrays(vec!["a.npy".into()]));
    let all = calib("files: [a.npy, 'b/*.npz'], limit: 4, seed: 9, holdout: 0.1");
    assert_eq!((all.limit, all.seed, all.holdout), (Some(4), 9, 0.1));

    let by_input = calib("files: { x: a.npy, y: { files: [b.npz, c.npz], array: why }, z: ~ }");
    let x = ArrayFiles { files: vec!["a.npy".into()], array: None };
    let y = ArrayFiles { files: vec!["b.npz".into(), "c.npz".into()], array: Some("why".into()) };
    assert_eq!(by_input.origin, Origin::ByInput([("x".to_owned(), x.clone()), ("y".to_owned(), y)].into()));

    let raw = calib("raw: 'd/*.bin', inputs: [b, a]").origin;
    assert_eq!(raw, Origin::Raw { files: vec!["d/*.bin".into()], inputs: vec!["b".into(), "a".into()] });
    assert_eq!(calib("raw: d").origin, Origin::Raw { files: vec!["d".into()], inputs: Vec::new() });
    assert_eq!(calib("random: 8").origin, Origin::Random(8));

    let beside = images("images: p/, inputs: image, files: { x: a.npy }");
    assert_eq!((beside.input.as_deref(), &beside.others), (Some("image"), &[("x".to_owned(), x)].into()));
}

#[test]
fn every_option_of_images_is_read_and_written_back() {
    assert_eq!(images("images: p").prepare, Prepare::default());
    let found = images(
        "images: p, resize: [640, 480], letterbox: true, crop: 32, layout: nhwc, color: bgr, scale: 1/128, mean: 1, \
         std: [1/2, 0.25, 3]",
    );
    let wanted = Prepare {
        resize: Some(Resize::To(640, 480)),
        letterbox: Some(114),
        crop: Some((32, 32)),
        layout: Some(ImageLayout::Nhwc),
        color: Some(Color::Bgr),
        scale: Some(1.0 / 128.0),
        mean: vec![1.0],
        std: vec![0.5, 0.25, 3.0],
    };
    assert_eq!(found.prepare, wanted);
    let found =
        images("images: p, resize: 256, crop: [224, 200], color: gray, layout: nchw, letterbox: false");
    let wanted = Prepare {
        resize: Some(Resize::Shorter(256)),
        crop: Some((224, 200)),
        color: Some(Color::Gray),
        layout: Some(ImageLayout::Nchw),
        ..Prepare::default()
    };
    assert_eq!(found.prepare, wanted);
    assert_eq!(images("images: p, resize: [8, 8], letterbox: true, pad: 0").prepare.letterbox, Some(0));
}

#[test]
fn paths_start_from_the_recipe_wherever_they_stand() {
    let text = "data: { calib: { images: [p, /q], files: { x: { files: a.npy } } }, eval: { raw: '*.bin' } }";
    let recipe = Recipe::from_str(text, "r", Path::new("dir")).unwrap();
    let Origin::Images(images) = &recipe.data["calib"].origin else { panic!() };
    assert_eq!(
        (&images.files[..], &images.others["x"].files[..]),
        (&["dir/p".to_owned(), "/q".to_owned()][..], &["dir/a.npy".to_owned()][..])
    );
    assert_eq!(
        recipe.data["eval"].origin,
        Origin::Raw { files: vec!["dir/*.bin".into()], inputs: Vec::new() }
    );
}

#[test]
fn what_makes_no_data_set_is_refused() {
    let table = [
        ("limit: 3", "1:16: a data set needs one of `files`, `images`, `raw` and `random`"),
        (
            "files: a, raw: b",
            "1:33: a data set has `files` or `raw`, not both; `files: ~` drops an inherited one",
        ),
        (
            "files: a, images: b",
            "1:25: beside `images`, `files` is a mapping: the other inputs and their files",
        ),
        ("files: []", "1:25: the list is empty"),
        ("files: {}", "1:25: `files` names no input"),
        ("files: { x: { array: b } }", "1:30: an input needs `files`"),
        ("files: { x: { file: b } }", "1:32: an input has no key `file`; did you mean `files`?"),
        ("files: a, mean: 1", "1:34: `mean` is for `images`"),
        ("random: 3, crop: 1", "1:35: `crop` is for `images`"),
        ("files: a, inputs: x", "1:36: `inputs` is for `images` and `raw`"),
        ("images: a, inputs: [x, y]", "1:37: images serve one input"),
        ("images: ''", "1:26: a path is empty"),
        ("random: 0", "1:26: expected a whole number of at least 1, found the number 0"),
        ("files: a, holdout: 1", "1:37: expected a share of at least 0 and less than 1, found the number 1"),
        ("files: a, holdout: x", "1:37: expected a number, found the text `x`"),
        ("files: a, seed: -1", "1:34: expected a whole number of at least 0, found the number -1"),
        ("images: a, resize: [1]", "1:37: expected two numbers: width and height"),
        ("images: a, resize: 0", "1:37: expected a whole number from 1 to 8192, found the number 0"),
        ("images: a, resize: big", "1:37: expected a number, or a width and a height, found the text `big`"),
        ("images: a, pad: 3", "1:34: `pad` is for `letterbox: true`"),
        ("images: a, resize: 3, letterbox: true", "1:51: `letterbox` needs `resize: [width, height]`"),
        ("images: a, color: rbg", "1:36: unknown value `rbg`; did you mean `rgb`?"),
        ("images: a, layout: hw", "1:37: unknown value `hw`; the values are nchw, nhwc"),
        ("images: a, scale: 0", "1:36: expected a number above 0, such as 1/255, found the number 0"),
        (
            "images: a, scale: 1/0",
            "1:36: expected a number, or a fraction such as 1/255, found the text `1/0`",
        ),
        ("images: a, std: [1, 0, 1]", "1:38: expected a number above 0, found the number 0"),
        ("images: a, mena: 1", "1:29: a data set has no key `mena`; did you mean `mean`?"),
    ];
    for (text, wanted) in table {
        let found = refused(&format!("data: {{ calib: {{ {text} }} }}"));
        assert_eq!(found, format!("r.yaml:{wanted}"), "{text}");
    }
    let found = refused("data: { eval: { files: a, holdout: 0.1 } }");
    assert_eq!(found, "r.yaml:1:36: `holdout` is for `calib`: nothing is measured with `eval`");
}
