//! How much every layer keeps.

use super::forms::Choice;

/// The choices of a layer that are worth having: the whole layer, and then each cheaper than the one before, and more
/// wrong.
#[derive(Debug, Clone)]
pub(super) struct Ladder {
    /// Every choice with its cost, also those that are not worth having.
    all: Vec<(f64, Choice)>,
    /// Without the whole layer.
    pub choices: Vec<Choice>,
    /// What each rung costs, the whole layer first.
    pub costs: Vec<f64>,
    /// What each loses.
    pub losses: Vec<f64>,
}

impl Ladder {
    /// Of choices in any order, in some unit.
    pub fn of(choices: Vec<Choice>, whole: f64, cost: impl Fn(&Choice) -> f64) -> Self {
        let mut all: Vec<(f64, Choice)> = choices.into_iter().map(|choice| (cost(&choice), choice)).collect();
        all.retain(|(cost, choice)| choice.lost.is_finite() && *cost < whole);
        all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.lost.total_cmp(&b.1.lost)));
        Self::built(all, whole)
    }

    fn built(all: Vec<(f64, Choice)>, whole: f64) -> Self {
        let mut least = f64::INFINITY;
        let mut worth: Vec<&(f64, Choice)> = all.iter().collect();
        worth.retain(|(_, choice)| {
            let better = choice.lost < least;
            least = least.min(choice.lost);
            better
        });
        worth.reverse();
        let costs = std::iter::once(whole).chain(worth.iter().map(|(cost, _)| *cost)).collect();
        let losses = std::iter::once(0.0).chain(worth.iter().map(|(_, choice)| choice.lost)).collect();
        let choices = worth.into_iter().map(|(_, choice)| choice.clone()).collect();
        Self { all, choices, costs, losses }
    }

    /// Every choice, also those that are not worth having.
    pub fn all(&self) -> impl Iterator<Item = &Choice> {
        self.all.iter().map(|(_, choice)| choice)
    }

    /// Without some choices; what they kept from being worth having may be so then.
    pub fn strike(&mut self, struck: impl Fn(&Choice) -> bool) {
        let mut all = std::mem::take(&mut self.all);
        all.retain(|(_, choice)| !struck(choice));
        *self = Self::built(all, self.costs[0]);
    }

    /// The dearest rung that costs this at most, or the cheapest.
    fn within(&self, most: f64) -> usize {
        self.costs.iter().position(|&cost| cost <= most).unwrap_or(self.costs.len() - 1)
    }

    /// The cheapest rung that loses this at most.
    pub fn losing(&self, most: f64) -> usize {
        self.losses.iter().rposition(|&lost| lost <= most).unwrap_or(0)
    }
}

fn total(ladders: &[Ladder], rungs: &[usize]) -> f64 {
    ladders.iter().zip(rungs).map(|(ladder, &rung)| ladder.costs[rung]).sum()
}

/// Every layer keeps the same share, the largest that meets the target.
pub(super) fn uniform(ladders: &[Ladder], target: f64) -> Vec<usize> {
    let at = |share: f64| -> Vec<usize> {
        ladders.iter().map(|ladder| ladder.within(share * ladder.costs[0])).collect()
    };
    if total(ladders, &at(1.0)) <= target {
        return at(1.0);
    }
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..40 {
        let middle = f64::midpoint(low, high);
        if total(ladders, &at(middle)) > target { high = middle } else { low = middle }
    }
    at(low)
}

/// Layers go down to where their loss is least for what it saves, until the target is met; then they go up again where there
/// is room, each time the one that gains most.
pub(super) fn greedy(ladders: &[Ladder], target: f64, loss: &dyn Fn(usize, usize) -> f64) -> Vec<usize> {
    let mut rungs = vec![0; ladders.len()];
    while total(ladders, &rungs) > target {
        let mut best: Option<(f64, usize, usize)> = None;
        for (at, ladder) in ladders.iter().enumerate() {
            let now = rungs[at];
            for next in now + 1..ladder.costs.len() {
                let price = (loss(at, next) - loss(at, now)) / (ladder.costs[now] - ladder.costs[next]);
                if best.is_none_or(|(least, ..)| price < least) {
                    best = Some((price, at, next));
                }
            }
        }
        let Some((_, at, next)) = best else { break };
        rungs[at] = next;
    }
    while let Some((at, rung)) = climb(ladders, &rungs, target - total(ladders, &rungs), loss) {
        rungs[at] = rung;
    }
    rungs
}

/// The step up that gains most, of those that cost no more than there is room for.
fn climb(
    ladders: &[Ladder],
    rungs: &[usize],
    room: f64,
    loss: &dyn Fn(usize, usize) -> f64,
) -> Option<(usize, usize)> {
    let mut best: Option<(f64, usize, usize)> = None;
    for (at, (ladder, &now)) in ladders.iter().zip(rungs).enumerate() {
        for rung in (0..now).filter(|&rung| ladder.costs[rung] - ladder.costs[now] <= room) {
            let gain = loss(at, now) - loss(at, rung);
            if best.is_none_or(|(most, ..)| gain > most) {
                best = Some((gain, at, rung));
            }
        }
    }
    best.map(|(_, at, rung)| (at, rung))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::passes::prune::forms::{Cost, Form};

    fn ladder(points: &[(f64, f64)]) -> Ladder {
        let choice = |&(macs, lost): &(f64, f64)| {
            let cost = Cost { macs, params: macs };
            Choice { form: Form::Product, ranks: vec![1], cost, lost }
        };
        Ladder::of(points.iter().map(choice).collect(), 100.0, |choice| choice.cost.macs)
    }

    #[test]
    fn rungs_are_those_that_nothing_beats() {
        let ladder = ladder(&[(50.0, 0.2), (80.0, 0.1), (60.0, 0.3), (100.0, 0.0), (20.0, 0.5), (50.0, 0.4)]);
        assert_eq!(ladder.costs, [100.0, 80.0, 50.0, 20.0]);
        assert_eq!(ladder.losses, [0.0, 0.1, 0.2, 0.5]);
        assert_eq!((ladder.losing(0.25), ladder.losing(0.05)), (2, 0));
    }

    #[test]
    fn the_target_is_met_where_it_hurts_least() {
        let hard = ladder(&[(90.0, 0.5), (50.0, 0.8), (10.0, 0.9)]);
        let easy = ladder(&[(90.0, 0.1), (70.0, 0.11), (50.0, 0.12), (10.0, 0.2)]);
        let both = [hard, easy];
        let losses = |at: usize, rung: usize| both[at].losses[rung];
        assert_eq!(greedy(&both, 200.0, &losses), [0, 0]);
        assert_eq!(greedy(&both, 150.0, &losses), [0, 3], "no further than needed");
        assert_eq!(greedy(&both, 100.0, &losses), [1, 4]);
        assert_eq!(greedy(&both, 1.0, &losses), [3, 4], "as low as it goes");
        assert_eq!(uniform(&both, 100.0), [2, 3]);
        assert_eq!(uniform(&both, 200.0), [0, 0]);
    }
}
