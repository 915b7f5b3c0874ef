//! `onnxpress inspect`.

use std::path::PathBuf;

use onnxpress::report::{ChannelGroup, Stats};
use onnxpress::{Model, ValueId, to_text};
use serde_json::json;

use super::{Failure, print, read, say};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  onnxpress inspect model.onnx
  onnxpress inspect model.onnx --text | less
  onnxpress inspect model.onnx --channels")]
pub struct Args {
    /// The model; `-` reads standard input
    model: PathBuf,
    /// Print the model in the ONNX text syntax
    #[arg(long, conflicts_with = "json")]
    text: bool,
    /// With --text: tensors of more elements are printed without their data
    #[arg(long, default_value_t = 16)]
    max_elements: usize,
    /// List the channels that can be removed, and those that cannot, with who says so
    #[arg(long, conflicts_with = "text")]
    channels: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn main(args: &Args) -> Result<(), Failure> {
    let loaded = read(&args.model)?;
    let model = &loaded.model;
    if args.text {
        let checked = model.check().map_err(|e| Failure::about(&args.model, e))?;
        let text = to_text(checked, args.max_elements).map_err(|e| Failure::about(&args.model, e))?;
        return print(&text);
    }
    if args.channels {
        return channels(args, model);
    }
    let mut stats = Stats::of(model);
    stats.file_bytes = Some(loaded.bytes);
    if args.json { print(&as_json(model, &stats)?) } else { say(&as_lines(model, &stats)) }
}

fn channels(args: &Args, model: &Model) -> Result<(), Failure> {
    let groups = ChannelGroup::of(model);
    if args.json {
        return print(&serde_json::to_string_pretty(&groups).map_err(Failure::failed)?);
    }
    let lines: Vec<String> = groups.iter().map(ChannelGroup::to_lines).collect();
    say(&lines.join("\n"))
}

fn typed(model: &Model, ids: &[ValueId]) -> Vec<(String, String)> {
    ids.iter().map(|&v| model.graph.value(v)).map(|v| (v.name.clone(), v.ty.to_string())).collect()
}

fn as_json(model: &Model, stats: &Stats) -> Result<String, Failure> {
    let named = |ids: &[ValueId]| -> Vec<_> {
        typed(model, ids).into_iter().map(|(name, ty)| json!({ "name": name, "type": ty })).collect()
    };
    let opsets: Vec<_> =
        model.opsets.iter().map(|o| json!({ "domain": o.domain, "version": o.version })).collect();
    let (inputs, outputs) = (named(model.graph.inputs()), named(model.graph.outputs()));
    let all = json!({ "inputs": inputs, "outputs": outputs, "opsets": opsets, "stats": stats });
    serde_json::to_string_pretty(&all).map_err(Failure::failed)
}

fn as_lines(model: &Model, stats: &Stats) -> String {
    let mut lines = Vec::new();
    for opset in &model.opsets {
        let domain = if opset.domain.is_empty() { "ai.onnx" } else { &opset.domain };
        lines.push(format!("opset       {domain} {}", opset.version));
    }
    lines.push(format!("IR version  {}", stats.ir_version));
    for (what, ids) in [("input ", model.graph.inputs()), ("output", model.graph.outputs())] {
        lines.extend(typed(model, ids).iter().map(|(name, ty)| format!("{what}      {name}: {ty}")));
    }
    lines.push(format!("nodes       {}", stats.nodes));
    let mut operators: Vec<_> = stats.operators.iter().collect();
    operators.sort_by_key(|(op, count)| (std::cmp::Reverse(**count), *op));
    lines.extend(operators.iter().map(|(op, count)| format!("  {count:>6}    {op}")));
    if !model.functions.is_empty() {
        lines.push(format!("functions   {}", model.functions.len()));
    }
    let macs = stats.macs.map_or_else(|| "unknown (open dims)".to_owned(), |n| n.to_string());
    lines.push(format!("parameters  {}", stats.parameters));
    lines.push(format!("weights     {} bytes", stats.weight_bytes));
    lines.push(format!("MACs        {macs}"));
    lines.join("\n")
}
