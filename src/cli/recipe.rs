//! `onnxpress recipe`.

use clap::Subcommand;
use onnxpress::Recipe;
use onnxpress::recipe::Loader;

use super::{Failure, print, say};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the built-in recipes
    List,
    /// Print a recipe with everything that it extends resolved
    Show {
        /// A built-in recipe or a YAML file
        recipe: String,
    },
    /// Check recipes without running them
    Check {
        /// YAML files
        #[arg(required = true)]
        recipes: Vec<String>,
    },
    /// Print the JSON Schema of recipes
    Schema,
}

pub fn main(args: &Args) -> Result<(), Failure> {
    let read = |name: &str| {
        let environment = |name: &str| std::env::var(name).ok();
        Loader::new().env(&environment).load(name).map_err(Failure::usage)
    };
    match &args.command {
        Command::List => {
            for name in Recipe::builtin_names() {
                let about =
                    Recipe::builtin_text(name).and_then(|text| text.lines().next()).unwrap_or_default();
                say(&format!("{name:16}  {}", about.trim_start_matches(['#', ' '])))?;
            }
        }
        Command::Show { recipe } => print(&read(recipe)?.to_yaml())?,
        Command::Check { recipes } => recipes.iter().try_for_each(|name| read(name).map(drop))?,
        Command::Schema => {
            print(&serde_json::to_string_pretty(&Recipe::json_schema()).map_err(Failure::failed)?)?;
        }
    }
    Ok(())
}
