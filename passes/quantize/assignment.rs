//! Which form every layer has: from the cheapest assignment, the layers that matter most are raised first.

/// What one form of a layer costs and spoils.
#[derive(Debug, Clone)]
pub(super) struct Form {
    /// Bytes and time, on any scale.
    pub cost: f64,
    /// The power of the error of every output, as a share of the output's, with only this layer in this form.
    pub noise: Vec<f64>,
}

impl Form {
    fn total(&self) -> f64 {
        self.noise.iter().sum()
    }
}

/// The form of every layer, by its place among the options of the layer.
pub(super) type Assignment = Vec<usize>;

/// Assignments from the cheapest to that without noise: each raises one layer of the one before, the one that takes most
/// noise away for what it costs. The last option of every layer has no noise.
pub(super) fn chain(layers: &[Vec<Form>]) -> Vec<Assignment> {
    let cheapest = |options: &Vec<Form>| {
        let order = |a: &usize, b: &usize| {
            let (a, b) = (&options[*a], &options[*b]);
            a.cost.total_cmp(&b.cost).then(a.total().total_cmp(&b.total()))
        };
        (0..options.len()).min_by(order).unwrap_or(0)
    };
    let mut now: Assignment = layers.iter().map(cheapest).collect();
    let mut all = vec![now.clone()];
    while let Some((layer, form)) = best_move(layers, &now) {
        now[layer] = form;
        all.push(now.clone());
    }
    let last: Assignment = layers.iter().map(|options| options.len().saturating_sub(1)).collect();
    if now != last {
        all.push(last);
    }
    all
}

/// The layer to raise next, and its form then.
fn best_move(layers: &[Vec<Form>], now: &Assignment) -> Option<(usize, usize)> {
    let mut best: Option<(f64, usize, usize)> = None;
    for (layer, options) in layers.iter().enumerate() {
        let old = &options[now[layer]];
        for (form, new) in options.iter().enumerate() {
            let (gain, price) = (old.total() - new.total(), new.cost - old.cost);
            // Where both are infinite it is no number.
            if gain.is_nan() || gain <= 0.0 || price < 0.0 {
                continue;
            }
            let worth = if price == 0.0 { f64::INFINITY } else { gain / price };
            if best.is_none_or(|(most, ..)| worth > most) {
                best = Some((worth, layer, form));
            }
        }
    }
    best.map(|(_, layer, form)| (layer, form))
}

/// The noise of the worst output that an assignment is expected to have: powers of independent errors add up.
pub(super) fn predicted(layers: &[Vec<Form>], assignment: &Assignment) -> f64 {
    let chosen: Vec<&Form> = layers.iter().zip(assignment).map(|(options, &at)| &options[at]).collect();
    let outputs = chosen.first().map_or(0, |option| option.noise.len());
    (0..outputs).map(|o| chosen.iter().map(|option| option.noise[o]).sum()).fold(0.0, f64::max)
}

/// The first of `count` candidates that passes, where a later one passes if an earlier one does, and the last one
/// always; `start` is a guess.
pub(super) fn first_passing<E>(
    count: usize,
    start: usize,
    mut passes: impl FnMut(usize) -> Result<bool, E>,
) -> Result<usize, E> {
    // Below `low` none passes; `high` passes.
    let (mut low, mut high) = (0, count.saturating_sub(1));
    let (mut at, mut step) = (start, 1);
    let (mut has_passed, mut has_failed) = (false, false);
    while low < high {
        at = at.clamp(low, high - 1);
        if passes(at)? {
            (high, has_passed) = (at, true);
        } else {
            (low, has_failed) = (at + 1, true);
        }
        at = match (has_passed, has_failed) {
            (true, true) => low + (high - low) / 2,
            (true, false) => at.saturating_sub(step),
            _ => at + step,
        };
        step *= 2;
    }
    Ok(high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn option(cost: f64, noise: f64) -> Form {
        Form { cost, noise: vec![noise, noise / 2.0] }
    }

    /// Eight bits, sixteen bits, float.
    fn layer(noise: f64, size: f64) -> Vec<Form> {
        vec![option(size, noise), option(2.0 * size, noise / 100.0), option(4.0 * size, 0.0)]
    }

    #[test]
    fn the_layers_that_matter_most_are_raised_first() {
        let layers = [layer(1.0, 1.0), layer(8.0, 1.0), layer(8.0, 100.0)];
        let all = chain(&layers);
        assert_eq!(all[0], [0, 0, 0]);
        assert_eq!(all[1], [0, 1, 0], "most noise for what it costs");
        assert_eq!(all[2], [1, 1, 0]);
        assert_eq!(all.last().unwrap(), &[2, 2, 2]);
        for pair in all.windows(2) {
            assert!(predicted(&layers, &pair[1]) <= predicted(&layers, &pair[0]), "{pair:?}");
        }
        assert!((predicted(&layers, &all[0]) - 17.0).abs() < 1e-12, "the worst output counts");
    }

    #[test]
    fn forms_that_gain_nothing_are_passed_over_and_free_ones_taken() {
        let useless = vec![option(1.0, 1.0), option(2.0, 3.0), option(4.0, 0.0)];
        assert_eq!(chain(&[useless]), [[0], [2]]);
        let free = vec![option(1.0, 1.0), option(1.0, 0.1), option(4.0, 0.0)];
        assert_eq!(chain(&[free]), [[1], [2]]);
        let silent = vec![option(1.0, 0.0), option(4.0, 0.0)];
        assert_eq!(chain(&[silent]), [[0], [1]], "float is always the last resort");
        let broken = vec![option(1.0, f64::INFINITY), option(2.0, f64::INFINITY), option(4.0, 0.0)];
        assert_eq!(chain(&[broken]), [[0], [2]]);
        assert_eq!(chain(&[]), [[0usize; 0]; 1]);
    }

    /// The least cost of all assignments whose noise is within a limit.
    fn least(layers: &[Vec<Form>], limit: f64) -> f64 {
        let count: usize = layers.iter().map(Vec::len).product();
        let nth = |mut at: usize| -> Assignment {
            let digit = |options: &Vec<Form>| {
                let digit = at % options.len();
                at /= options.len();
                digit
            };
            layers.iter().map(digit).collect()
        };
        let within = (0..count).map(nth).filter(|assignment| predicted(layers, assignment) <= limit);
        within.map(|assignment| cost(layers, &assignment)).fold(f64::INFINITY, f64::min)
    }

    fn cost(layers: &[Vec<Form>], assignment: &Assignment) -> f64 {
        layers.iter().zip(assignment).map(|(options, &at)| options[at].cost).sum()
    }

    #[test]
    fn of_many_forms_the_cheapest_that_will_do_is_missed_by_one_step_at_most() {
        // int8, int16, int4, float16 and float: shares of the bytes and of the time.
        let layer = |bytes: f64, time: f64, noise: [f64; 4]| {
            let costs = [(0.25, 0.25), (0.25, 0.5), (0.14, 1.0), (0.5, 1.0), (1.0, 1.0)];
            let noise = noise.into_iter().chain([0.0]);
            costs.iter().zip(noise).map(|(c, n)| option(bytes * c.0 + time * c.1, n)).collect::<Vec<_>>()
        };
        let layers = [
            layer(1.0, 1.0, [1e-3, 1e-5, 1e-2, 1e-8]),
            layer(2.0, 0.1, [1e-2, 1e-4, 2e-2, 1e-7]),
            layer(0.1, 3.0, [3e-3, f64::INFINITY, 2e-1, 1e-9]),
            layer(5.0, 0.2, [f64::INFINITY, f64::INFINITY, 4e-3, 1e-7]),
        ];
        let all = chain(&layers);
        assert_eq!(all[0], [0, 2, 0, 2], "4 bits where bytes count more than time");
        let first = |limit: f64| all.iter().position(|a| predicted(&layers, a) <= limit).unwrap();
        for db in 1..90 {
            let limit = 10f64.powf(-f64::from(db) / 10.0);
            let (at, least) = (first(limit), least(&layers, limit));
            assert!(cost(&layers, &all[at]) >= least - 1e-12, "{db} dB");
            let before = at.checked_sub(1).map_or(0.0, |at| cost(&layers, &all[at]));
            assert!(before <= least + 1e-12, "{db} dB: {before} already costs more than {least}");
        }
    }

    #[test]
    fn the_first_that_passes_is_found_from_any_start() {
        for count in 1..20 {
            for wanted in 0..count {
                for start in 0..count + 2 {
                    let mut tried = Vec::new();
                    let found = first_passing(count, start, |at| {
                        assert!(at + 1 < count, "the last one is known to pass");
                        assert!(!tried.contains(&at), "{at} was tried before");
                        tried.push(at);
                        Ok::<_, ()>(at >= wanted)
                    });
                    assert_eq!(found, Ok(wanted), "of {count}, from {start}, tried {tried:?}");
                    assert!(tried.len() <= 10, "{tried:?}");
                }
            }
        }
    }
}
