//! What to do about a layer that loses much, read off the facts that are known of it.

use crate::pass::{ActivationReport, LayerReport};

/// A layer, and where it stands among those of its pass.
#[derive(Clone, Copy)]
pub(super) struct Place<'l> {
    pub layer: &'l LayerReport,
    pub first: bool,
    pub last: bool,
}

/// A condition, and what to do where it holds.
type Row = (fn(&Place<'_>) -> bool, fn(&Place<'_>) -> String);

/// What is said first, where several hold, is likeliest to help.
const ADVICE: &[Row] = &[
    (is_fine, |_| String::new()),
    (|p| !p.layer.forms.is_empty(), |_| String::new()),
    (|p| !p.layer.ranks.is_empty(), |p| format!("keep more, or leave it whole (`ignore: [{}]`)", name(p))),
    (weights_alone, |p| {
        format!(
            "store it in more bits (`weights: int8` in a step with `only: [{}]`), or in smaller blocks",
            name(p)
        )
    }),
    (
        |p| outlier(p).is_some(),
        |p| {
            let told = outlier(p).map_or_else(String::new, |a| {
                let (reach, times) = reach(a);
                format!("`{}` reaches {reach:.3}, {times:.0} times its root mean square: ", a.tensor)
            });
            format!(
                "{told}try `calibrator: percentile` or `mse`, or leave it float (`ignore: [{}]`)",
                name(p)
            )
        },
    ),
    (
        |p| cut(p).is_some(),
        |p| {
            let told = cut(p).map_or_else(String::new, |(a, share)| {
                format!("{:.1} % of `{}` lie outside its range: ", share * 100.0, a.tensor)
            });
            format!("{told}try `calibrator: min-max`, or a higher `percentile`")
        },
    ),
    (
        |p| widened(p) > WIDE,
        |p| {
            let times = widened(p);
            format!(
                "its steps are {times:.2} times as wide, so that no pair overflows 16 bits: try `weights: uint8`"
            )
        },
    ),
    (
        |p| rows_apart(p) > APART,
        |p| {
            let times = rows_apart(p);
            format!(
                "one output channel reaches {times:.0} times as far as the median one: say `per-channel: true`"
            )
        },
    ),
    (
        |p| p.layer.depthwise,
        |p| format!("depthwise, with few weights: leave it float (`ignore: [{}]`)", name(p)),
    ),
    (|p| p.first, |p| format!("the first layer: leave it float (`ignore: [{}]`)", name(p))),
    (|p| p.last, |p| format!("the last layer: leave it float (`ignore: [{}]`)", name(p))),
    (
        |_| true,
        |p| {
            format!(
                "give it 16 bits, as `assign-precision` does, or leave it float (`ignore: [{}]`)",
                name(p)
            )
        },
    ),
];

/// From this signal to noise ratio on, in dB, nothing is to be done.
const FINE: f64 = 30.0;
/// The largest number of a bell curve is about five times its root mean square, of what `Relu` leaves little more.
const OUTLYING: f64 = 16.0;
/// More than this share outside its range spoils a value.
const CUT: f64 = 0.005;
/// Steps that are wider by more than this cost more than 2 dB.
const WIDE: f64 = 1.25;
/// Output channels that reach so many times as far leave the others three bits less.
const APART: f64 = 8.0;

/// What to do about a layer; nothing where it is fine.
pub(super) fn advice(place: Place<'_>) -> Option<String> {
    let row = ADVICE.iter().find(|(holds, _)| holds(&place));
    row.map(|(_, text)| text(&place)).filter(|text| !text.is_empty())
}

fn name(place: &Place<'_>) -> String {
    // What would be a glob matches itself as a class of one character, which a comma or colon needs no more than others.
    let quoted = |c: char| if "*?[{".contains(c) { format!("[{c}]") } else { c.to_string() };
    let name: String = place.layer.layer.chars().map(quoted).collect();
    format!("{name:?}")
}

fn is_fine(place: &Place<'_>) -> bool {
    place.layer.sqnr_db.is_none_or(|db| db >= FINE)
}

fn weights_alone(place: &Place<'_>) -> bool {
    place.layer.weight.is_some() && place.layer.activations.is_empty()
}

/// How far an activation reaches, and how many times its root mean square that is.
fn reach(activation: &ActivationReport) -> (f64, f64) {
    let seen = activation.seen.unwrap_or_default();
    let reach = seen.high.max(-seen.low);
    (reach, if seen.rms > 0.0 { reach / seen.rms } else { 0.0 })
}

/// The activation whose range a few large numbers take, where it holds them.
fn outlier<'l>(place: &Place<'l>) -> Option<&'l ActivationReport> {
    let whole = |a: &&ActivationReport| a.saturated.is_none_or(|share| share == 0.0) && !a.by_channel;
    let all = place.layer.activations.iter().filter(whole).filter(|a| reach(a).1 > OUTLYING);
    all.max_by(|a, b| reach(a).1.total_cmp(&reach(b).1))
}

/// The activation that loses most outside its range.
fn cut<'l>(place: &Place<'l>) -> Option<(&'l ActivationReport, f64)> {
    let all = place.layer.activations.iter().filter_map(|a| Some((a, a.saturated?)));
    all.filter(|(_, share)| *share > CUT).max_by(|a, b| a.1.total_cmp(&b.1))
}

fn widened(place: &Place<'_>) -> f64 {
    place.layer.pairs.filter(|pairs| pairs.before > 0).map_or(1.0, |pairs| pairs.widened)
}

/// How far apart the output channels of a weight with one scale reach.
fn rows_apart(place: &Place<'_>) -> f64 {
    place.layer.weight.filter(|weight| weight.scales == 1).and_then(|weight| weight.apart).unwrap_or(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pass::{FormReport, PairReport, SeenReport, WeightReport};

    fn poor() -> LayerReport {
        let seen = Some(SeenReport { low: -4.0, high: 5.0, rms: 1.0 });
        let input = ActivationReport {
            tensor: "x".into(),
            read: true,
            seen,
            saturated: Some(0.0),
            ..ActivationReport::default()
        };
        let weight =
            Some(WeightReport { scales: 1, smallest_scale: 0.1, largest_scale: 0.1, apart: Some(2.0) });
        let (layer, op) = ("c1".into(), "Conv".into());
        LayerReport {
            layer,
            op,
            sqnr_db: Some(18.0),
            activations: vec![input],
            weight,
            ..LayerReport::default()
        }
    }

    fn said(change: impl Fn(&mut LayerReport)) -> String {
        let mut layer = poor();
        change(&mut layer);
        advice(Place { layer: &layer, first: false, last: false }).unwrap_or_default()
    }

    #[test]
    fn a_layer_that_is_fine_or_was_chosen_needs_nothing() {
        assert_eq!(said(|l| l.sqnr_db = Some(30.0)), "");
        assert_eq!(said(|l| l.sqnr_db = None), "");
        assert_eq!(said(|l| l.forms.push(FormReport::default())), "");
    }

    #[test]
    fn weights_alone_want_more_bits() {
        let text = said(|l| l.activations.clear());
        assert!(text.contains(r#"`weights: int8` in a step with `only: ["c1"]`"#), "{text}");
    }

    #[test]
    fn a_few_large_numbers_want_another_range() {
        let far = Some(SeenReport { low: -41.25, high: 5.0, rms: 1.5 });
        let text = said(|l| l.activations[0].seen = far);
        assert!(
            text.starts_with("`x` reaches 41.250, 28 times its root mean square: try `calibrator: perc"),
            "{text}"
        );
        let cut = said(|l| {
            l.activations[0].seen = far;
            l.activations[0].saturated = Some(1e-4);
        });
        assert!(!cut.contains("percentile"), "the range leaves them out already: {cut}");
        let own = said(|l| {
            l.activations[0].seen = far;
            l.activations[0].by_channel = true;
        });
        assert!(!own.contains("percentile"), "channels have ranges of their own: {own}");
    }

    #[test]
    fn what_lies_outside_wants_a_wider_range() {
        let text = said(|l| l.activations[0].saturated = Some(0.031));
        assert_eq!(
            text,
            "3.1 % of `x` lie outside its range: try `calibrator: min-max`, or a higher `percentile`"
        );
    }

    #[test]
    fn wide_steps_want_weights_without_pairs() {
        let pairs = |before, widened| Some(PairReport { pairs: 9, before, after: 0, widened });
        let text = said(|l| l.pairs = pairs(3, 1.7));
        assert!(
            text.starts_with("its steps are 1.70 times as wide") && text.ends_with("`weights: uint8`"),
            "{text}"
        );
        assert!(!said(|l| l.pairs = pairs(3, 1.15)).contains("uint8"));
        assert!(!said(|l| l.pairs = pairs(0, 1.7)).contains("uint8"));
    }

    #[test]
    fn rows_far_apart_want_a_scale_each() {
        let apart =
            |scales, apart| Some(WeightReport { scales, apart: Some(apart), ..WeightReport::default() });
        assert!(
            said(|l| l.weight = apart(1, 12.4)).starts_with("one output channel reaches 12 times as far")
        );
        assert!(!said(|l| l.weight = apart(1, 7.0)).contains("per-channel"));
        assert!(!said(|l| l.weight = apart(16, 12.4)).contains("per-channel"), "they have one each");
    }

    #[test]
    fn depthwise_first_and_last_layers_may_stay_float() {
        assert!(said(|l| l.depthwise = true).starts_with("depthwise"));
        let layer = poor();
        let at = |first, last| advice(Place { layer: &layer, first, last }).unwrap();
        assert_eq!(at(true, false), r#"the first layer: leave it float (`ignore: ["c1"]`)"#);
        assert_eq!(at(false, true), r#"the last layer: leave it float (`ignore: ["c1"]`)"#);
        assert!(at(false, false).starts_with("give it 16 bits, as `assign-precision` does"));
    }

    #[test]
    fn a_name_with_the_characters_of_a_glob_is_one_still() {
        let text = said(|l| l.layer = "a[0]/b*".into());
        assert!(text.contains(r#"`ignore: ["a[[]0]/b[*]"]`"#), "{text}");
    }
}
