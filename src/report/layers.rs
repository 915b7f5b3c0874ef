//! What the terminal says of single layers: those that lose most, the forms that were tried, and what stays float.

use std::fmt::Write;

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Table};

use super::advice::{Place, advice};
use super::terminal::grouped;
use crate::pass::{FormReport, LayerReport};
use crate::pipeline::IntegerLog;

/// Layers that are told on a terminal; the JSON form has all.
const WORST: usize = 5;

/// Heavy operators in floats that are told.
const FLOATS: usize = 5;

/// Rows of the table of forms.
const FORMS: usize = 16;

/// What became of the layers of a pass.
pub(super) fn layers(all: &[LayerReport], out: &mut String) {
    if all.iter().any(|layer| !layer.forms.is_empty()) {
        let _ = writeln!(out, "{}", forms(all));
    } else {
        worst(all, out);
    }
}

/// The layers that lose most, and what to do about each.
fn worst(all: &[LayerReport], out: &mut String) {
    let quantized: Vec<&LayerReport> = all.iter().filter(|layer| layer.form != "float").collect();
    let mut measured: Vec<(f64, usize)> =
        quantized.iter().enumerate().filter_map(|(at, layer)| Some((layer.sqnr_db?, at))).collect();
    measured.sort_by(|a, b| a.0.total_cmp(&b.0));
    for &(db, at) in measured.iter().take(WORST) {
        let LayerReport { layer, op, form, bytes_after, .. } = quantized[at];
        let _ = writeln!(out, "  {db:.1} dB  {op} `{layer}`: {form}, {} bytes", grouped(*bytes_after));
        let place = Place { layer: quantized[at], first: at == 0, last: at + 1 == quantized.len() };
        if let Some(text) = advice(place) {
            let _ = writeln!(out, "           {text}");
        }
    }
}

/// The form of every layer, marked, among those that were tried: the most sensitive layers, in the order of the model.
fn forms(all: &[LayerReport]) -> Table {
    let tried: Vec<&LayerReport> = all.iter().filter(|layer| !layer.forms.is_empty()).collect();
    let worst = |layer: &LayerReport| layer.sqnr_db.unwrap_or(f64::INFINITY);
    let mut order: Vec<usize> = (0..tried.len()).collect();
    order.sort_by(|&a, &b| worst(tried[a]).total_cmp(&worst(tried[b])));
    order.truncate(FORMS);
    order.sort_unstable();
    // A layer has not every form; float is the last one.
    let mut names: Vec<&str> = Vec::new();
    for form in tried.iter().flat_map(|layer| &layer.forms) {
        if form.form != "float" && !names.contains(&form.form.as_str()) {
            names.push(&form.form);
        }
    }
    names.push("float");
    let mut table = Table::new();
    let header = ["dB alone".to_owned()].into_iter().chain(names.iter().map(|&form| form.to_owned()));
    table.load_style(NOTHING).set_header(header);
    for &at in &order {
        let tried_as = |name: &&str| tried[at].forms.iter().find(|form| form.form == **name);
        let cells = names.iter().map(|name| tried_as(name).map_or_else(String::new, cell));
        table.add_row([format!("  {} `{}`", tried[at].op, tried[at].layer)].into_iter().chain(cells));
    }
    if let Some(more) = tried.len().checked_sub(FORMS).filter(|&more| more > 0) {
        table.add_row([format!("  {more} less sensitive ones")]);
    }
    for column in 1..=names.len() {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn cell(form: &FormReport) -> String {
    let db = form.sqnr_db.map_or_else(|| "-".to_owned(), |db| format!("{db:.1}"));
    if form.chosen { format!("[{db}]") } else { format!("{db} ") }
}

/// How much is in integers, and the dearest operators that are not.
pub(super) fn integers(log: &IntegerLog, out: &mut String) {
    let (percent, all) = (100.0 * log.share(), grouped(log.macs));
    let _ = write!(out, "{percent:.1} % of {all} MACs in integers");
    let _ = writeln!(out, "{}", if log.floats.is_empty() { "" } else { "; in floats:" });
    for float in log.floats.iter().take(FLOATS) {
        let _ = writeln!(out, "  {:>12}  {} `{}`: {}", grouped(float.macs), float.op, float.node, float.why);
    }
    let rest = log.floats.iter().skip(FLOATS);
    let (count, macs) = rest.fold((0, 0), |(count, macs), float| (count + 1, macs + float.macs));
    if count > 0 {
        let _ = writeln!(out, "  {:>12}  in {count} more", grouped(macs));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::FloatLog;

    fn layer(name: &str, db: Option<f64>) -> LayerReport {
        let (layer, op, form) = (name.to_owned(), "Conv".to_owned(), "u8×s8 per channel".to_owned());
        LayerReport { layer, op, form, sqnr_db: db, bytes_after: 1234, ..LayerReport::default() }
    }

    #[test]
    fn the_five_worst_are_told_with_what_to_do() {
        let mut all: Vec<_> = (0..7).map(|at| layer(&format!("c{at}"), Some(40.0 - f64::from(at)))).collect();
        all[3].sqnr_db = Some(12.0);
        all.push(layer("unmeasured", None));
        all.push(LayerReport { form: "float".into(), ..layer("kept", Some(1.0)) });
        let mut out = String::new();
        layers(&all, &mut out);
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines[0], "  12.0 dB  Conv `c3`: u8×s8 per channel, 1 234 bytes");
        assert!(lines[1].trim().starts_with("give it 16 bits"), "{out}");
        assert!(lines[2].contains("34.0 dB  Conv `c6`"), "fine, and so without advice: {out}");
        assert_eq!(lines.len(), 6, "five, and one that needs something: {out}");
    }

    #[test]
    fn forms_are_a_table_with_the_chosen_one_marked() {
        let form = |form: &str, sqnr_db, chosen| FormReport { form: form.into(), cost: 0.0, sqnr_db, chosen };
        let of = |at: usize| LayerReport {
            forms: vec![form("int8", Some(at as f64), at > 2), form("float", None, at <= 2)],
            ..layer(&format!("c{at}"), Some(at as f64))
        };
        let all: Vec<_> = (0..20).map(of).collect();
        let mut out = String::new();
        layers(&all, &mut out);
        let rows: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0], ["dB", "alone", "int8", "float"]);
        assert_eq!(rows[2], ["Conv", "`c1`", "1.0", "[-]"]);
        assert_eq!(rows[4], ["Conv", "`c3`", "[3.0]", "-"]);
        assert_eq!(rows[17], ["4", "less", "sensitive", "ones"]);
    }

    #[test]
    fn forms_that_a_layer_does_not_have_leave_a_gap() {
        let form = |form: &str, sqnr_db| FormReport { form: form.into(), sqnr_db, ..FormReport::default() };
        let of = |name: &str, forms| LayerReport { forms, ..layer(name, Some(1.0)) };
        let all = [
            of("a", vec![form("int8", Some(1.0)), form("float", None)]),
            of("b", vec![form("int4", Some(2.0)), form("float", None)]),
        ];
        let mut out = String::new();
        layers(&all, &mut out);
        let lines: Vec<&str> = out.lines().collect();
        let column = |name: &str| lines[0].find(name).map(|at| at + name.len());
        let end = |line: &str, db: &str| line.find(db).map(|at| at + db.len() + 1);
        assert_eq!(end(lines[1], "1.0"), column("int8"), "{out}");
        assert_eq!(end(lines[2], "2.0"), column("int4"), "{out}");
        assert!(column("int4") < column("float"), "{out}");
    }

    #[test]
    fn what_stays_float_is_told_with_its_share() {
        let float = |at: u64| FloatLog {
            node: format!("n{at}"),
            op: "Einsum".into(),
            macs: 1000 * at,
            why: "why".into(),
        };
        let mut out = String::new();
        let log =
            IntegerLog { macs: 100_000, integer_macs: 72_000, floats: (1..8).rev().map(float).collect() };
        integers(&log, &mut out);
        let lines: Vec<&str> = out.lines().collect();
        assert_eq!(lines[0], "72.0 % of 100 000 MACs in integers; in floats:");
        assert_eq!(lines[1], "         7 000  Einsum `n7`: why");
        assert_eq!((lines.len(), lines[6]), (7, "         3 000  in 2 more"));
    }
}
