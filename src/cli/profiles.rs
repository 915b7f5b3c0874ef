//! `onnxpress profiles`.

use onnxpress::recipe::{hint, profile};

use super::{Failure, machine, say};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A profile to show
    name: Option<String>,
}

pub fn main(args: &Args) -> Result<(), Failure> {
    let Some(name) = &args.name else {
        let width = profile::names().map(str::len).max().unwrap_or(0);
        let here = machine::profile();
        for name in profile::names() {
            let about =
                profile::text(name).unwrap_or_default().lines().find_map(|l| l.strip_prefix("about: "));
            let mark = if here == Some(name) { " (this machine)" } else { "" };
            say(&format!("{name:width$}  {}{mark}", about.unwrap_or_default()))?;
        }
        return Ok(());
    };
    let Some(text) = profile::text(name) else {
        let hint = hint(name, profile::names(), "profiles");
        return Err(Failure::usage(format!("no profile is called `{name}`{hint}")));
    };
    say(text)
}
