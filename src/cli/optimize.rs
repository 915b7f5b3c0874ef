//! `onnxpress optimize`.

use onnxpress::Recipe;
use onnxpress::recipe::Loader;

use super::beside::Beside;
use super::job::{self, Job};
use super::{Failure, pair};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  onnxpress optimize model.onnx -o small.onnx
  onnxpress optimize model.onnx -o small.onnx -r recipe.yaml --set image=320 --report report.json
  onnxpress optimize model.onnx -o small.onnx --data samples.npz --engine ort
  onnxpress optimize model.onnx -o q.onnx -r int8-x86-vnni --data samples.npz --export-ranges q.encodings
  onnxpress optimize - -o - --no-verify < model.onnx > small.onnx")]
pub struct Args {
    #[command(flatten)]
    job: Job,
    /// A built-in recipe or a YAML file
    #[arg(short, long, default_value = "simplify")]
    recipe: String,
    /// Set a variable of the recipe
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = pair)]
    vars: Vec<(String, String)>,
    /// The runtime and hardware that the model is for, instead of the recipe's: a name, a file, or `auto`
    #[arg(long)]
    profile: Option<String>,
    #[command(flatten)]
    beside: Beside,
}

pub fn main(args: &Args) -> Result<(), Failure> {
    job::run(&args.job, &recipe_of(args)?, &args.beside)
}

/// The recipe, with the variables of the command line, and those of the environment that it asks for by name.
fn recipe_of(args: &Args) -> Result<Recipe, Failure> {
    let environment = |name: &str| std::env::var(name).ok();
    let loader = Loader::new().env(&environment);
    let machine = super::machine::profile();
    let loader = match machine {
        Some(profile) => loader.machine(profile),
        None => loader,
    };
    let loader = args.profile.iter().fold(loader, |loader, name| loader.profile(name));
    let loader = args.vars.iter().fold(loader, |loader, (name, value)| loader.set(name, value));
    loader.load(&args.recipe).map_err(Failure::usage)
}
