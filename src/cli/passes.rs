//! `onnxpress passes`.

use onnxpress::passes::AnyPass;
use onnxpress::recipe::docs::PassDoc;
use onnxpress::recipe::hint;

use super::{Failure, say};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A pass to explain
    id: Option<String>,
}

pub fn main(args: &Args) -> Result<(), Failure> {
    let Some(id) = &args.id else {
        let width = AnyPass::IDS.iter().map(|id| id.len()).max().unwrap_or(0);
        for id in AnyPass::IDS {
            say(&format!("{id:width$}  {}", PassDoc::of(id).map(|doc| doc.summary).unwrap_or_default()))?;
        }
        return Ok(());
    };
    let Some(doc) = PassDoc::of(id) else {
        let hint = hint(id, AnyPass::IDS.iter().copied(), "passes");
        return Err(Failure::usage(format!("no pass is called `{id}`{hint}")));
    };
    say(&doc.markdown())
}
