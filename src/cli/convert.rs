//! `onnxpress convert`: a recipe of what the options say, and no other step.

use onnxpress::Recipe;
use onnxpress::recipe::Loader;
use serde_json::{Map, Value, json};

use super::beside::Beside;
use super::job::{self, Job};
use super::{Failure, pair};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  onnxpress convert model.onnx -o model17.onnx --opset 17
  onnxpress convert model.onnx -o fixed.onnx --batch 1 --bind height=224 --bind width=224
  onnxpress convert model.onnx -o half.onnx --fp16 --keep-io-types=false
  onnxpress convert model.onnx -o named.onnx --rename input.1=image --rename 495=scores")]
pub struct Args {
    #[command(flatten)]
    job: Job,
    /// Write this IR version instead of the model's own
    #[arg(long, value_name = "VERSION")]
    ir_version: Option<i64>,
    /// Give the first dim of the inputs this size, where the model leaves it open
    #[arg(long, value_name = "SIZE", value_parser = clap::value_parser!(u64).range(1..=i64::MAX.unsigned_abs()))]
    batch: Option<u64>,
    /// Rename an input or an output
    #[arg(long, value_name = "OLD=NEW", value_parser = pair)]
    rename: Vec<(String, String)>,
    /// Compute in float16
    #[arg(long)]
    fp16: bool,
    /// Compute in bfloat16
    #[arg(long, conflicts_with = "fp16")]
    bf16: bool,
    /// Whether inputs and outputs stay float with --fp16 and --bf16
    #[arg(long, value_name = "BOOL", default_value_t = true, action = clap::ArgAction::Set)]
    keep_io_types: bool,
}

pub fn main(args: &Args) -> Result<(), Failure> {
    if !args.keep_io_types && !args.fp16 && !args.bf16 {
        return Err(Failure::usage("`--keep-io-types=false` goes with `--fp16` or `--bf16`"));
    }
    job::run(&args.job, &recipe_of(args)?, &Beside::default())
}

fn recipe_of(args: &Args) -> Result<Recipe, Failure> {
    // The text of a recipe is the one way in, so that what convert does can be said in a recipe.
    let mut recipe = Map::new();
    if let Some(version) = args.ir_version {
        recipe.insert("target".to_owned(), json!({ "ir-version": version }));
    }
    if let Some(batch) = args.batch {
        recipe.insert("batch".to_owned(), json!(batch));
    }
    let mut steps = Vec::new();
    if args.fp16 || args.bf16 {
        let half = if args.fp16 { "float16" } else { "bfloat16" };
        steps.push(json!({ "convert-float16": { "type": half, "keep-io-types": args.keep_io_types } }));
    }
    if !args.rename.is_empty() {
        steps.push(json!({ "rename-io": { "names": names(&args.rename)? } }));
    }
    recipe.insert("steps".to_owned(), Value::Array(steps));
    Loader::new().from_str(&Value::Object(recipe).to_string(), "convert", "".as_ref()).map_err(Failure::usage)
}

fn names(pairs: &[(String, String)]) -> Result<Map<String, Value>, Failure> {
    let mut names = Map::new();
    for (old, new) in pairs {
        // In a recipe, `${` begins a variable.
        if names.insert(old.clone(), json!(new.replace("${", "$${"))).is_some() {
            return Err(Failure::usage(format!("`--rename` gives `{old}` two names")));
        }
    }
    Ok(names)
}
