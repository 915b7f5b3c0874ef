//! The layers and the trade-off of a run as a picture.

use super::Report;
use super::svg::Drawing;
use crate::pass::{AssignmentReport, LayerReport, Summary};

const WIDTH: f64 = 900.0;
/// Where bars and axes begin: names of layers are to the left.
const LEFT: f64 = 280.0;
const RIGHT: f64 = WIDTH - 110.0;
const ROW: f64 = 18.0;
/// The height of the panel with the trade-off.
const PANEL: f64 = 260.0;
/// The longest name that fits to the left.
const LONGEST: usize = 40;

/// The picture of the last step that measured layers; `None` where none did.
pub(super) fn plot(report: &Report) -> Option<String> {
    let all = report.run.steps.iter().rev().flat_map(|step| step.passes.iter().rev());
    let mut all = all.filter(|(_, summary)| summary.layers.iter().any(|l| l.sqnr_db.is_some()));
    let (pass, summary) = all.next()?;
    Some(draw(pass, summary))
}

fn draw(pass: &str, summary: &Summary) -> String {
    let layers: Vec<(&LayerReport, f64)> =
        summary.layers.iter().filter_map(|layer| Some((layer, layer.sqnr_db?))).collect();
    let bars = 50.0 + ROW * layers.len() as f64 + 30.0;
    let curve = curve_of(&summary.assignments);
    let height = bars + if curve.is_empty() { 0.0 } else { PANEL };
    let mut drawing = Drawing::new(WIDTH, height);
    let alone = !summary.assignments.is_empty();
    let title = if alone {
        "Sensitivity: dB of the worst output, each layer alone"
    } else {
        "Layers: dB of each result"
    };
    drawing.text((16.0, 26.0), "title", title);
    draw_bars(&mut drawing, &layers);
    if !curve.is_empty() {
        draw_curve(&mut drawing, bars, &curve);
    }
    drawing.finish(&format!("{pass}: {} layers", layers.len()))
}

/// A round number at or above one.
fn above(db: f64) -> f64 {
    (db / 10.0).ceil().max(1.0) * 10.0
}

fn draw_bars(drawing: &mut Drawing, layers: &[(&LayerReport, f64)]) {
    let most = above(layers.iter().map(|(_, db)| *db).fold(0.0, f64::max));
    let x = |db: f64| LEFT + (RIGHT - LEFT) * db.clamp(0.0, most) / most;
    let bottom = 44.0 + ROW * layers.len() as f64;
    for tick in ticks(0.0, most) {
        drawing.line((x(tick), 40.0), (x(tick), bottom), "grid");
        drawing.text((x(tick), bottom + 16.0), "soft middle", &format!("{tick:.0}"));
    }
    for (at, (layer, db)) in layers.iter().enumerate() {
        let y = 44.0 + ROW * at as f64;
        let class = if layer.form == "float" { "other" } else { "main" };
        let told = format!("{} {}: {}", layer.op, layer.layer, layer.form);
        drawing.text((LEFT - 8.0, y + 12.0), "end", &shortened(&layer.layer));
        drawing.bar((LEFT, y + 2.0), (x(*db) - LEFT, ROW - 5.0), class, &told);
        let chosen = layer.forms.iter().find(|form| form.chosen).map_or("", |form| &form.form);
        drawing.text((x(*db) + 6.0, y + 12.0), "soft", format!("{db:.1} {chosen}").trim_end());
    }
}

/// The assignments with finite noise: cost, and what is expected and measured.
fn curve_of(all: &[AssignmentReport]) -> Vec<(&AssignmentReport, f64)> {
    let known = |a: &AssignmentReport| a.predicted_db.or(a.measured_db);
    all.iter().filter_map(|a| Some((a, known(a)?))).collect()
}

fn draw_curve(drawing: &mut Drawing, top: f64, curve: &[(&AssignmentReport, f64)]) {
    let (top, bottom) = (top + 40.0, top + PANEL - 46.0);
    let measured = curve.iter().filter_map(|(a, _)| a.measured_db);
    let all = || curve.iter().map(|(_, db)| *db).chain(measured.clone());
    let least = (all().fold(f64::INFINITY, f64::min) / 10.0).floor() * 10.0;
    let most = above(all().fold(least, f64::max)).max(least + 10.0);
    let y = |db: f64| bottom - (bottom - top) * (db - least) / (most - least);
    let x = |cost: f64| LEFT + (RIGHT - LEFT) * cost.clamp(0.0, 1.0);
    drawing.text((16.0, top - 14.0), "title", "Trade-off: dB of the worst output, by cost (float is 1)");
    for tick in ticks(least, most) {
        drawing.line((LEFT, y(tick)), (RIGHT, y(tick)), "grid");
        drawing.text((LEFT - 8.0, y(tick) + 4.0), "soft end", &format!("{tick:.0}"));
    }
    for tick in [0.0, 0.25, 0.5, 0.75, 1.0] {
        drawing.text((x(tick), bottom + 16.0), "soft middle", &format!("{tick}"));
    }
    let expected: Vec<_> = curve.iter().filter_map(|(a, _)| Some((x(a.cost), y(a.predicted_db?)))).collect();
    drawing.path(&expected, "dashed");
    for (a, known) in curve {
        let at = (x(a.cost), y(a.measured_db.unwrap_or(*known)));
        if let Some(db) = a.measured_db {
            let kept = if a.meets == Some(true) { "keeps the budget" } else { "misses the budget" };
            drawing.circle(at, 4.0, "other", &format!("{db:.1} dB at {:.3}: {kept}", a.cost));
        }
        if a.chosen {
            drawing.circle(at, 7.0, "ring", "chosen");
        }
    }
    drawing.line((LEFT, bottom + 30.0), (LEFT + 26.0, bottom + 30.0), "dashed");
    drawing.text((LEFT + 32.0, bottom + 34.0), "soft", "expected from single layers");
    drawing.circle((LEFT + 210.0, bottom + 30.0), 4.0, "other", "");
    drawing.text((LEFT + 220.0, bottom + 34.0), "soft", "measured");
    drawing.circle((LEFT + 300.0, bottom + 30.0), 7.0, "ring", "");
    drawing.text((LEFT + 313.0, bottom + 34.0), "soft", "chosen");
}

/// Round numbers from one to another: at most about eight.
fn ticks(from: f64, to: f64) -> Vec<f64> {
    let step = [10.0, 20.0, 50.0, 100.0].into_iter().find(|step| (to - from) / step <= 8.0).unwrap_or(200.0);
    let count = ((to - from) / step).floor().min(20.0) as usize;
    (0..=count).map(|at| from + step * at as f64).collect()
}

/// The end of a name that is too long: layers differ there.
fn shortened(name: &str) -> String {
    let count = name.chars().count();
    if count <= LONGEST {
        return name.to_owned();
    }
    let end: String = name.chars().skip(count - LONGEST + 1).collect();
    format!("…{end}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pass::FormReport;

    fn layer(name: &str, db: f64, form: &str) -> LayerReport {
        let forms = vec![FormReport { form: form.into(), chosen: true, ..FormReport::default() }];
        let form = if form == "float" { "float" } else { "u8×s8 per channel" };
        let (layer, op) = (name.into(), "Conv".into());
        LayerReport { layer, op, form: form.into(), sqnr_db: Some(db), forms, ..LayerReport::default() }
    }

    fn summary() -> Summary {
        let assignment = |cost, predicted_db, measured_db: Option<f64>| AssignmentReport {
            cost,
            predicted_db,
            measured_db,
            meets: measured_db.map(|db| db > 30.0),
            chosen: measured_db.is_some_and(|db| db > 30.0),
            ..AssignmentReport::default()
        };
        Summary {
            layers: vec![layer("a<b", 24.5, "float"), layer("c", 51.0, "int8"), LayerReport::default()],
            assignments: vec![
                assignment(0.25, Some(22.0), Some(23.5)),
                assignment(0.5, Some(33.0), Some(34.0)),
                assignment(1.0, None, None),
            ],
            ..Summary::default()
        }
    }

    #[test]
    fn bars_are_as_long_as_their_ratios() {
        let file = draw("assign-precision", &summary());
        assert!(file.starts_with("<svg xmlns") && file.ends_with("</svg>\n"), "{file}");
        assert!(file.contains("prefers-color-scheme:dark"), "readable on dark ground");
        assert_eq!(
            file.matches("<rect").count(),
            3,
            "the ground, and a bar for each layer that was measured"
        );
        // 24.5 and 51 of 60 dB, over 510 pixels.
        assert!(file.contains(r#"width="208.2" height="13.0" class="other""#), "{file}");
        assert!(file.contains(r#"width="433.5" height="13.0" class="main""#), "{file}");
        assert!(file.contains(">a&lt;b</text>") && file.contains(">24.5 float</text>"), "{file}");
    }

    #[test]
    fn what_is_expected_and_what_is_measured_are_drawn_differently() {
        let file = draw("assign-precision", &summary());
        assert_eq!(file.matches("class=\"dashed\"").count(), 2, "the curve and its legend");
        assert_eq!(file.matches("class=\"other\"><title>2").count(), 1, "23.5 dB");
        assert!(file.contains("23.5 dB at 0.250: misses the budget"), "{file}");
        assert!(file.contains("34.0 dB at 0.500: keeps the budget"), "{file}");
        assert_eq!(file.matches("<title>chosen</title>").count(), 1);
        let alone = Summary { assignments: Vec::new(), ..summary() };
        assert!(!draw("quantize-static", &alone).contains("Trade-off"));
    }

    #[test]
    fn long_names_keep_their_end() {
        assert_eq!(shortened("short"), "short");
        let long = shortened(&format!("{}/Conv", "x".repeat(60)));
        assert!(long.starts_with('…') && long.ends_with("/Conv") && long.chars().count() == LONGEST);
        assert_eq!(ticks(20.0, 60.0), [20.0, 30.0, 40.0, 50.0, 60.0]);
        assert_eq!(ticks(0.0, 300.0).len(), 7);
    }
}
