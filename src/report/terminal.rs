//! The report as a compact table.

use std::collections::BTreeSet;
use std::fmt::Write;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

use super::layers::{integers, layers};
use super::widths::widths;
use super::{Report, Stats};
use crate::calibrate::Loss;
use crate::engine::verify::{Outcome, Verification};

/// Rows of operators that changed; the rest is summed up.
const OPERATOR_ROWS: usize = 24;

pub(super) fn table(report: &Report) -> String {
    let mut out = String::new();
    let names = [report.input.as_deref(), report.output.as_deref()];
    if let [Some(input), output] = names {
        let _ = writeln!(out, "{input} → {} (recipe {})", output.unwrap_or("not written"), report.recipe);
    }
    let _ = writeln!(out, "{}", totals(&report.before, &report.after));
    passes(report, &mut out);
    if let Some(verification) = &report.run.verification {
        let _ = writeln!(out, "{}", verdict(verification));
    }
    if let Some(log) = &report.run.integers {
        integers(log, &mut out);
    }
    if let Some(loss) = &report.run.loss {
        let _ = writeln!(out, "{}", lost(loss));
    }
    for metric in &report.run.metrics {
        let better = if metric.larger_is_better { "larger" } else { "smaller" };
        let _ = writeln!(out, "{}: {} → {} ({better} is better)", metric.name, metric.before, metric.after);
    }
    for step in &report.run.steps {
        if let Some(loss) = &step.loss {
            let kept = step.kept.map_or_else(String::new, |kept| format!(" (keeps {kept})"));
            let undone = if step.undone.is_some() { " (undone)" } else { "" };
            let _ = writeln!(out, "after {}{kept}{undone}: {}", step.id, lost(loss));
        }
        if let Some(stage) = &step.stage {
            let _ = writeln!(out, "after {}: {stage}", step.id);
        }
    }
    for unmet in &report.run.unmet {
        let _ = writeln!(out, "BUDGET NOT MET: {unmet}");
    }
    if let Some(culprit) = &report.run.culprit {
        let _ = writeln!(out, "the answers change with: {culprit}");
    }
    for warning in &report.run.warnings {
        let _ = writeln!(out, "warning: {warning}");
    }
    out
}

fn totals(before: &Stats, after: &Stats) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_header(["", "before", "after", "change"]);
    let mut row = |name: &str, a: Option<u64>, b: Option<u64>| {
        let text = |x: Option<u64>| x.map_or_else(|| "-".to_owned(), grouped);
        table.add_row([name.to_owned(), text(a), text(b), change(a, b)]);
    };
    row("nodes", Some(before.nodes as u64), Some(after.nodes as u64));
    let operators: BTreeSet<&String> = before.operators.keys().chain(after.operators.keys()).collect();
    let count = |stats: &Stats, op: &String| stats.operators.get(op).map_or(0, |&n| n as u64);
    let mut changed: Vec<_> = (operators.into_iter())
        .map(|op| (op, count(before, op), count(after, op)))
        .filter(|(_, a, b)| a != b)
        .collect();
    changed.sort_by_key(|(op, a, b)| (std::cmp::Reverse(a.abs_diff(*b)), *op));
    for (op, a, b) in changed.iter().take(OPERATOR_ROWS) {
        row(&format!("  {op}"), Some(*a), Some(*b));
    }
    if let Some(more) = changed.len().checked_sub(OPERATOR_ROWS + 1) {
        let rest = || changed.iter().skip(OPERATOR_ROWS);
        let (a, b) = (rest().map(|r| r.1).sum(), rest().map(|r| r.2).sum());
        row(&format!("  {} more", more + 1), Some(a), Some(b));
    }
    row("parameters", Some(before.parameters), Some(after.parameters));
    row("weight bytes", Some(before.weight_bytes), Some(after.weight_bytes));
    row("file bytes", before.file_bytes, after.file_bytes);
    row("MACs", before.macs, after.macs);
    for column in 1..4 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn passes(report: &Report, out: &mut String) {
    for step in &report.run.steps {
        for (id, summary) in &step.passes {
            if summary.applied == 0 && summary.skipped.is_empty() && summary.plan.is_none() {
                continue;
            }
            let left: usize = summary.skipped.values().sum();
            let _ = write!(out, "{id}: {} applied", summary.applied);
            if left > 0 {
                let reasons: Vec<_> = summary.skipped.iter().map(|(why, n)| format!("{n} × {why}")).collect();
                let _ = write!(out, ", {left} left ({})", reasons.join("; "));
            }
            out.push('\n');
            layers(&summary.layers, out);
            widths(&summary.widths, out);
            if let Some(plan) = &summary.plan {
                let _ = writeln!(out, "{plan}; nothing is written");
            }
        }
    }
}

fn verdict(verification: &Verification) -> String {
    let engine = &verification.engine;
    match &verification.outcome {
        Outcome::Equal => {
            let worst = verification.outputs.iter().filter_map(|o| o.max_abs).fold(0.0, f64::max);
            let blind = if verification.blind { "; the outputs do not depend on these inputs" } else { "" };
            format!(
                "verified equal on {} inputs by {engine} (max abs difference {worst:.2e}{blind})",
                verification.runs
            )
        }
        Outcome::NotEqual { why } => format!("NOT EQUAL: {why} ({engine})"),
        Outcome::CouldNotRun { why } => format!("not verified: {why}"),
    }
}

fn lost(loss: &Loss) -> String {
    let outputs = loss.outputs.iter().map(|output| {
        let sqnr = output.sqnr_db.map_or_else(|| "equal".to_owned(), |db| format!("{db:.1} dB"));
        let agreement = output.agreement.map_or_else(String::new, |a| format!(", agreement {a:.4}"));
        format!("`{}` {sqnr}{agreement}", output.name)
    });
    let held = if loss.held_out { "held-out" } else { "calibration" };
    let outputs: Vec<_> = outputs.collect();
    let arithmetic = loss.arithmetic.as_ref().map_or_else(String::new, |p| format!(", computed as on {p}"));
    format!("loss on {} {held} batches by {}{arithmetic}: {}", loss.batches, loss.engine, outputs.join("; "))
}

pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

fn change(a: Option<u64>, b: Option<u64>) -> String {
    match (a, b) {
        (Some(a), Some(b)) if a == b => "=".to_owned(),
        (Some(0), Some(_)) => "new".to_owned(),
        (Some(a), Some(b)) => format!("{:+.1} %", (b as f64 - a as f64) * 100.0 / a as f64),
        _ => String::new(),
    }
}
