//! What the terminal says of channels that were removed.

use std::fmt::Write;

use crate::pass::WidthReport;

/// Groups that are told on a terminal; the JSON form has all.
const GROUPS: usize = 24;

/// Layers of a group that are named.
const LAYERS: usize = 3;

/// How many channels are left in each group that lost some, the most first.
pub(super) fn widths(all: &[WidthReport], out: &mut String) {
    let mut cut: Vec<&WidthReport> = all.iter().filter(|width| width.after < width.before).collect();
    // The sort is stable: those that lost as many stay in the order of the graph.
    cut.sort_by_key(|width| std::cmp::Reverse(width.before - width.after));
    for WidthReport { layers, before, after, .. } in cut.iter().take(GROUPS) {
        let named: Vec<&str> = layers.iter().take(LAYERS).map(String::as_str).collect();
        let more = layers.len().saturating_sub(LAYERS);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let _ = writeln!(out, "  {before:>6} → {after:<6} {}{more}", named.join(", "));
    }
    if let Some(more) = cut.len().checked_sub(GROUPS).filter(|&more| more > 0) {
        let _ = writeln!(out, "  and {more} groups that lose fewer");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_that_lost_most_come_first_and_whole_ones_are_left_out() {
        let width = |name: &str, before, after| WidthReport {
            layers: vec![name.to_owned()],
            before,
            after,
            kept: None,
        };
        let mut many = width("d", 64, 16);
        many.layers.extend(["e", "f", "g", "h"].map(str::to_owned));
        let mut out = String::new();
        widths(&[width("a", 8, 8), width("b", 16, 8), width("c", 10, 2), many], &mut out);
        let lines: Vec<&str> = out.lines().map(str::trim).collect();
        assert_eq!(lines, ["64 → 16     d, e, f and 2 more", "16 → 8      b", "10 → 2      c"]);
    }
}
