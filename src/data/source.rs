//! What a recipe or the command line says of a data set, before any file is read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::DataError;
use super::files::{self, Kind};

/// Which samples, and how they become inputs of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct DataSource {
    /// Where they come from.
    pub origin: Origin,
    /// At most so many samples.
    pub limit: Option<u64>,
    /// Which samples are picked where there are more than the limit; what random ones start from.
    pub seed: u64,
    /// Share of the samples that nothing is measured with, kept to judge by.
    pub holdout: f64,
}

/// Where samples come from. Files are paths, globs, folders or `.txt` lists of paths; relative ones start from the
/// working directory of the program.
#[derive(Debug, Clone, PartialEq)]
pub enum Origin {
    /// `.npz` and `.npy` files that hold all inputs, samples along axis 0.
    Arrays(Vec<String>),
    /// The same, with files for every input by name.
    ByInput(BTreeMap<String, ArrayFiles>),
    /// Images, one a sample.
    Images(Images),
    /// Files with nothing but elements: those of the inputs, in this order, sample after sample.
    Raw {
        /// The files.
        files: Vec<String>,
        /// The inputs; none: those of the model.
        inputs: Vec<String>,
    },
    /// So many samples that are made up.
    Random(u64),
}

/// The arrays of one input.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ArrayFiles {
    /// The files.
    pub files: Vec<String>,
    /// The array in each; `None` for the one of the input's name, or the only one that fits.
    pub array: Option<String>,
}

/// Images for one input.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Images {
    /// The files.
    pub files: Vec<String>,
    /// The input; `None` where the model has one only.
    pub input: Option<String>,
    /// The arrays of the other inputs.
    pub others: BTreeMap<String, ArrayFiles>,
    /// How an image becomes a tensor.
    pub prepare: Prepare,
}

/// How an image becomes a tensor, in this order: resize, crop, colour, scale, mean, std, layout.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Prepare {
    /// The size; `None` for the one that the model fixes, else for that of the file.
    pub resize: Option<Resize>,
    /// Keep the aspect, and fill what is left over with this value on both sides.
    pub letterbox: Option<u8>,
    /// Cut this width and height out of the middle.
    pub crop: Option<(u32, u32)>,
    /// The order of the axes; `None` for the one that the input's dims tell.
    pub layout: Option<Layout>,
    /// The channels; `None` for the ones that the input's dims tell.
    pub color: Option<Color>,
    /// What 0..=255 is multiplied with; `None` for 1/255 for a float input, 1 for an integer one.
    pub scale: Option<f64>,
    /// What is then taken away: one number, or one a channel.
    pub mean: Vec<f64>,
    /// What is then divided by: one number, or one a channel.
    pub std: Vec<f64>,
}

/// The size of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resize {
    /// Width and height.
    To(u32, u32),
    /// The shorter side; the aspect stays.
    Shorter(u32),
}

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$inner:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name { $($(#[$inner])* $variant,)* }

        impl $name {
            /// The words of a recipe.
            pub const WORDS: &'static [&'static str] = &[$($word,)*];

            /// What a word of a recipe stands for.
            pub fn of(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)* _ => None }
            }

            /// The word of a recipe.
            pub fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }
    };
}

words! {
    /// The order of an image's axes.
    Layout {
        /// Channels first.
        Nchw = "nchw",
        /// Channels last.
        Nhwc = "nhwc",
    }
}

words! {
    /// The channels of an image.
    Color {
        /// Red, green, blue.
        Rgb = "rgb",
        /// Blue, green, red.
        Bgr = "bgr",
        /// Luma by ITU-R BT.601.
        Gray = "gray",
    }
}

impl Color {
    /// How many channels.
    pub fn channels(self) -> u64 {
        if self == Self::Gray { 1 } else { 3 }
    }
}

/// The share of the samples that is held out unless a recipe says otherwise.
pub const HOLDOUT: f64 = 0.25;

impl DataSource {
    /// All samples of an origin.
    pub fn of(origin: Origin) -> Self {
        Self { origin, limit: None, seed: 0, holdout: HOLDOUT }
    }

    /// The files that it names, each once.
    ///
    /// # Errors
    /// Where a path, glob, folder or list finds no file, or cannot be read.
    pub fn paths(&self) -> Result<Vec<PathBuf>, DataError> {
        let of = |inputs: &BTreeMap<String, ArrayFiles>| {
            inputs.values().flat_map(|from| from.files.clone()).collect::<Vec<_>>()
        };
        match &self.origin {
            Origin::Arrays(patterns) => files::paths(patterns, Kind::Arrays),
            Origin::ByInput(inputs) => files::paths(&of(inputs), Kind::Arrays),
            Origin::Images(images) => {
                let mut paths = files::paths(&images.files, Kind::Images)?;
                paths.extend(files::paths(&of(&images.others), Kind::Arrays)?);
                Ok(paths)
            }
            Origin::Raw { files: patterns, .. } => files::paths(patterns, Kind::Raw),
            Origin::Random(_) => Ok(Vec::new()),
        }
    }

    /// What the command line says: paths, globs, folders or lists of one kind of file, or `INPUT=PATH` for arrays.
    ///
    /// ```
    /// use onnxpress::data::{DataSource, Origin};
    ///
    /// let source = DataSource::of_args(&["ids=calib/ids.npy", "mask=calib/mask.npy"])?;
    /// assert!(matches!(source.origin, Origin::ByInput(inputs) if inputs.len() == 2));
    /// # Ok::<(), onnxpress::data::DataError>(())
    /// ```
    ///
    /// # Errors
    /// Where files of several kinds, or none at all, are found.
    pub fn of_args<S: AsRef<str>>(args: &[S]) -> Result<Self, DataError> {
        let named = |arg: &S| {
            let (input, path) = arg.as_ref().split_once('=')?;
            (!Path::new(arg.as_ref()).exists()).then(|| (input.to_owned(), path.to_owned()))
        };
        let by_input: Vec<_> = args.iter().filter_map(named).collect();
        if by_input.is_empty() {
            let files: Vec<String> = args.iter().map(|arg| arg.as_ref().to_owned()).collect();
            let origin = match files::kind(&files)? {
                Kind::Arrays => Origin::Arrays(files),
                Kind::Images => Origin::Images(Images { files, ..Images::default() }),
                Kind::Raw => Origin::Raw { files, inputs: Vec::new() },
            };
            return Ok(Self::of(origin));
        }
        if by_input.len() < args.len() {
            return Err(DataError::Source("give every file as INPUT=PATH, or none".to_owned()));
        }
        let mut inputs: BTreeMap<String, ArrayFiles> = BTreeMap::new();
        for (input, path) in by_input {
            inputs.entry(input).or_default().files.push(path);
        }
        Ok(Self::of(Origin::ByInput(inputs)))
    }
}
