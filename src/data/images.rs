//! Images as inputs: decoded and prepared one by one, when they are asked for. The only place that names `image`.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use image::imageops::{self, FilterType};
use image::{ImageFormat, ImageReader, Rgb, RgbImage};

use super::DataError;
use super::column::{self, Column, Rows, Wanted, named};
use super::files::{self, Kind};
use super::source::{Color, Images, Layout, Prepare, Resize};
use crate::ir::{DType, TensorData};

/// The most pixels that an image is enlarged to.
const LARGEST: u64 = 1 << 26;

/// The images of one input, and how they become tensors.
struct Files {
    paths: Vec<PathBuf>,
    steps: Steps,
}

/// [`Prepare`] with everything worked out for an input.
struct Steps {
    resize: Option<Resize>,
    letterbox: Option<u8>,
    crop: Option<(u32, u32)>,
    layout: Layout,
    color: Color,
    /// What a value of 0..=255 becomes, channel by channel: `value·scale`, less the mean, by the deviation.
    scale: f64,
    mean: Vec<f64>,
    std: Vec<f64>,
    dtype: DType,
    /// Channels, height and width that the input takes, in its own order.
    takes: Vec<Option<u64>>,
    /// The input's name, and these dims for messages.
    input: String,
    shown: String,
}

/// The column of the input that takes the images.
pub(super) fn column(images: &Images, inputs: &[Wanted<'_>]) -> Result<Column, DataError> {
    let wanted = input(images, inputs)?;
    let wrong = |what| DataError::Source(format!("input `{}` is {}: {what}", wanted.name, wanted.ty));
    let steps = Steps::of(&images.prepare, wanted).map_err(wrong)?;
    let batched = wanted.dims.len() == 4;
    let layout = if batched { column::Layout::Rows(wanted.dims[0]) } else { column::Layout::Items };
    let paths = files::paths(&images.files, Kind::Images)?;
    Ok(Column { name: wanted.name.to_owned(), layout, rows: Box::new(Files { paths, steps }) })
}

/// The input that takes the images.
fn input<'w, 'a>(images: &Images, inputs: &'w [Wanted<'a>]) -> Result<&'w Wanted<'a>, DataError> {
    if let Some(name) = &images.input {
        return named(inputs, name);
    }
    let free: Vec<_> = inputs.iter().filter(|w| !images.others.contains_key(w.name)).collect();
    if let [one] = free[..] {
        return Ok(one);
    }
    let names = free.iter().map(|w| format!("`{}`", w.name)).collect::<Vec<_>>().join(", ");
    let what =
        format!("images serve one input: say with `inputs` which of {names}, and give the others as `files`");
    Err(DataError::Source(what))
}

/// What a user should hear who leaves the range of the values open.
pub(super) fn warning(images: &Images, inputs: &[Wanted<'_>]) -> Option<String> {
    let Prepare { scale, mean, std, .. } = &images.prepare;
    let is_float = input(images, inputs).is_ok_and(|w| w.dtype.is_float());
    (is_float && scale.is_none() && mean.is_empty() && std.is_empty()).then(|| {
        "pixels become 0 to 1, since nothing else is said: where the model was trained otherwise, set `scale`, `mean` \
         and `std` in the recipe's `data.calib`"
            .to_owned()
    })
}

impl Steps {
    fn of(prepare: &Prepare, wanted: &Wanted<'_>) -> Result<Self, String> {
        let from = match wanted.dims.len() {
            3 => 0,
            4 => 1,
            _ => return Err("images need an input of three axes, or four with the batch".to_owned()),
        };
        if !wanted.dtype.is_float() && !wanted.dtype.is_int() {
            return Err("images need an input of numbers".to_owned());
        }
        let takes = wanted.dims[from..].to_vec();
        let (layout, color) = axes(prepare, &takes)?;
        let (height, width) = match layout {
            Layout::Nchw => (takes[1], takes[2]),
            Layout::Nhwc => (takes[0], takes[1]),
        };
        let fixed =
            width.zip(height).and_then(|(w, h)| Some((u32::try_from(w).ok()?, u32::try_from(h).ok()?)));
        let resize = match (prepare.resize, prepare.crop) {
            (None, None) => fixed.map(|(w, h)| Resize::To(w, h)),
            (resize, _) => resize,
        };
        if prepare.letterbox.is_some() && !matches!(resize, Some(Resize::To(..))) {
            return Err("`letterbox` needs a width and a height: give `resize: [width, height]`".to_owned());
        }
        let channels = color.channels() as usize;
        let by_channel = |key: &str, items: &[f64], default: f64| match items {
            [] => Ok(vec![default; channels]),
            [all] => Ok(vec![*all; channels]),
            items if items.len() == channels => Ok(items.to_vec()),
            items => Err(format!("`{key}` has {} numbers, and the images {channels} channels", items.len())),
        };
        let steps = Self {
            resize,
            letterbox: prepare.letterbox,
            crop: prepare.crop,
            layout,
            color,
            scale: prepare.scale.unwrap_or(if wanted.dtype.is_float() { 1.0 / 255.0 } else { 1.0 }),
            mean: by_channel("mean", &prepare.mean, 0.0)?,
            std: by_channel("std", &prepare.std, 1.0)?,
            dtype: wanted.dtype,
            takes,
            input: wanted.name.to_owned(),
            shown: wanted.shown(from),
        };
        match (steps.crop, steps.resize) {
            (Some((w, h)), _) | (None, Some(Resize::To(w, h))) => steps.check(w, h).map(|()| steps),
            _ => Ok(steps),
        }
    }

    /// Whether the input takes images of a size.
    fn check(&self, width: u32, height: u32) -> Result<(), String> {
        let dims = self.dims(width, height);
        if dims.iter().zip(&self.takes).all(|(d, wanted)| wanted.is_none_or(|w| w == *d)) {
            return Ok(());
        }
        let found = dims.iter().map(u64::to_string).collect::<Vec<_>>().join("x");
        let remedy = "set `resize` or `crop`";
        Err(format!("the image becomes {found}, and input `{}` takes {}: {remedy}", self.input, self.shown))
    }

    fn dims(&self, width: u32, height: u32) -> [u64; 3] {
        let (c, h, w) = (self.color.channels(), u64::from(height), u64::from(width));
        match self.layout {
            Layout::Nchw => [c, h, w],
            Layout::Nhwc => [h, w, c],
        }
    }

    /// An image of the size that the input takes.
    fn sized(&self, image: RgbImage) -> Result<RgbImage, String> {
        let (width, height) = image.dimensions();
        let image = match self.resize {
            Some(Resize::To(w, h)) => match self.letterbox {
                Some(pad) => letterboxed(&image, (w, h), pad),
                None => scaled(image, w, h),
            },
            Some(Resize::Shorter(side)) => {
                let (short, long) = (u64::from(width.min(height)).max(1), u64::from(width.max(height)));
                let other = u64::from(side) * long / short;
                if other.saturating_mul(u64::from(side)) > LARGEST {
                    return Err(format!("its {width}x{height} are too long and thin for a side of {side}"));
                }
                let other = other as u32;
                if width <= height { scaled(image, side, other) } else { scaled(image, other, side) }
            }
            None => image,
        };
        let Some((w, h)) = self.crop else { return Ok(image) };
        let (width, height) = image.dimensions();
        if width < w || height < h {
            return Err(format!("its {width}x{height} are less than the crop of {w}x{h}: set `resize`"));
        }
        Ok(imageops::crop_imm(&image, (width - w) / 2, (height - h) / 2, w, h).to_image())
    }

    /// The tensor of an image.
    fn tensor(&self, image: &RgbImage) -> Result<TensorData, String> {
        let (width, height) = image.dimensions();
        self.check(width, height)?;
        let value = |pixel: &Rgb<u8>, channel: usize| {
            let [r, g, b] = pixel.0;
            let level = match (self.color, channel) {
                (Color::Gray, _) => luma(r, g, b),
                (Color::Rgb, at) => pixel.0[at],
                (Color::Bgr, at) => [b, g, r][at],
            };
            (f64::from(level) * self.scale - self.mean[channel]) / self.std[channel]
        };
        let channels = self.mean.len();
        let items: Vec<f64> = match self.layout {
            Layout::Nchw => (0..channels).flat_map(|c| image.pixels().map(move |p| value(p, c))).collect(),
            Layout::Nhwc => image.pixels().flat_map(|p| (0..channels).map(move |c| value(p, c))).collect(),
        };
        let dims = self.dims(width, height);
        let made = if self.dtype.is_int() {
            whole(self.dtype, &dims, &items)
        } else {
            TensorData::from_f64s(self.dtype, &dims, &items)
        };
        made.ok_or_else(|| {
            format!(
                "its values do not fit the {} of input `{}`: set `scale`, `mean` and `std`",
                self.dtype, self.input
            )
        })
    }
}

/// The order of the axes and the channels of an input.
fn axes(prepare: &Prepare, takes: &[Option<u64>]) -> Result<(Layout, Color), String> {
    let is_color = |at: usize| matches!(takes[at], Some(1 | 3));
    let guess = if is_color(0) { Some(Layout::Nchw) } else { is_color(2).then_some(Layout::Nhwc) };
    let layout = prepare.layout.or(guess);
    let layout = layout.ok_or("its dims do not tell where the channels are: set `layout`")?;
    let channels = takes[if layout == Layout::Nchw { 0 } else { 2 }];
    let guess = if channels == Some(1) { Color::Gray } else { Color::Rgb };
    let color = prepare.color.unwrap_or(guess);
    match channels.filter(|&c| c != color.channels()) {
        Some(wanted) => {
            let (found, layout) = (color.channels(), layout.word());
            Err(format!(
                "it takes {wanted} channels as {layout}, and `{}` has {found}: set `color` or `layout`",
                color.word()
            ))
        }
        None => Ok((layout, color)),
    }
}

/// Bilinear, over all pixels that a new one covers.
fn scaled(image: RgbImage, width: u32, height: u32) -> RgbImage {
    if image.dimensions() == (width, height) {
        image
    } else {
        imageops::resize(&image, width, height, FilterType::Triangle)
    }
}

/// The image in the middle, as large as it fits.
fn letterboxed(image: &RgbImage, (width, height): (u32, u32), pad: u8) -> RgbImage {
    let (w, h) = (f64::from(image.width().max(1)), f64::from(image.height().max(1)));
    let ratio = (f64::from(width) / w).min(f64::from(height) / h);
    let side = |side: f64, most: u32| ((side * ratio).round() as u32).clamp(1, most.max(1));
    let (w, h) = (side(w, width), side(h, height));
    let mut canvas = RgbImage::from_pixel(width, height, Rgb([pad; 3]));
    let inner = scaled(image.clone(), w, h);
    imageops::replace(&mut canvas, &inner, i64::from((width - w) / 2), i64::from((height - h) / 2));
    canvas
}

fn luma(r: u8, g: u8, b: u8) -> u8 {
    let thousandths = 299 * u32::from(r) + 587 * u32::from(g) + 114 * u32::from(b);
    ((thousandths + 500) / 1000) as u8
}

/// Integers, each rounded to nearest even; `None` where one does not fit the type.
fn whole(dtype: DType, dims: &[u64], items: &[f64]) -> Option<TensorData> {
    let bits = u32::try_from(dtype.bits()).ok().filter(|b| *b >= 8)?;
    let (low, high) = match (dtype.is_signed_int(), bits) {
        (true, bits) => (i64::MIN >> (64 - bits), i64::MAX >> (64 - bits)),
        (false, 64) => (0, i64::MAX),
        (false, bits) => (0, (1 << bits) - 1),
    };
    let mut bytes = Vec::with_capacity(items.len() * (bits / 8) as usize);
    for item in items {
        let item = item.round_ties_even();
        if !(low as f64..=high as f64).contains(&item) {
            return None;
        }
        bytes.extend((item as i64).to_le_bytes().into_iter().take((bits / 8) as usize));
    }
    TensorData::new(dtype, dims, bytes).ok()
}

/// The file as an image that can be decoded.
fn open(path: &Path) -> Result<ImageReader<BufReader<File>>, String> {
    let unread = |error: std::io::Error| format!("it cannot be read: {error}");
    // The content says what a file is, not its name.
    let file = BufReader::new(File::open(path).map_err(unread)?);
    let reader = ImageReader::new(file).with_guessed_format().map_err(unread)?;
    match reader.format() {
        Some(ImageFormat::Png | ImageFormat::Jpeg) => Ok(reader),
        Some(other) => Err(format!("it is {other:?}; images are read from PNG and JPEG: convert it")),
        None => Err("it is no image: PNG and JPEG are read".to_owned()),
    }
}

impl Rows for Files {
    fn count(&self) -> Option<usize> {
        Some(self.paths.len())
    }

    fn row(&self, at: usize) -> Result<TensorData, String> {
        let path = self.paths.get(at).ok_or("there is no such image")?;
        let image = open(path)?.decode().map_err(|error| format!("it cannot be decoded: {error}"))?;
        self.steps.tensor(&self.steps.sized(image.into_rgb8())?)
    }

    fn place(&self, at: usize) -> String {
        self.paths.get(at).map_or_else(|| format!("image {at}"), |path| path.display().to_string())
    }

    fn glance(&self, at: usize) -> Result<(), String> {
        open(self.paths.get(at).ok_or("there is no such image")?).map(drop)
    }
}

#[cfg(test)]
#[path = "images_tests.rs"]
mod tests;
