//! How many channels every group keeps.

/// What is known of a group before its width is chosen.
#[derive(Debug, Clone)]
pub(super) struct Room {
    /// Its atoms.
    pub width: usize,
    /// The numbers of atoms that may go are such that what is left is a multiple of this, or everything.
    pub step: usize,
    /// The most atoms that may go.
    pub most: usize,
    /// How many go, where that is decided.
    pub fixed: Option<usize>,
}

impl Room {
    /// The largest number of atoms up to this one that may go.
    pub fn down(&self, gone: usize) -> usize {
        if let Some(fixed) = self.fixed {
            return fixed;
        }
        let gone = gone.min(self.most);
        // What is left is rounded up to a whole step.
        let left = (self.width - gone).next_multiple_of(self.step.max(1));
        self.width.saturating_sub(left)
    }

    /// One step more that goes, where there is one.
    pub fn more(&self, gone: usize) -> Option<usize> {
        let step = self.step.max(1);
        let left = self.width - gone;
        let next = if left.is_multiple_of(step) { left.checked_sub(step)? } else { left / step * step };
        let gone = self.width - next;
        (gone <= self.most && next > 0 && self.fixed.is_none()).then_some(gone)
    }

    /// One step less that goes, where there is one.
    fn less(&self, gone: usize) -> Option<usize> {
        let step = self.step.max(1);
        (gone > 0 && self.fixed.is_none())
            .then(|| self.width.saturating_sub((self.width - gone) / step * step + step))
    }
}

/// The same share of every group goes, and as much that the cost is as near to the target as steps allow.
pub(super) fn uniform(rooms: &[Room], cost: &dyn Fn(&[usize]) -> f64, target: f64) -> Vec<usize> {
    let at = |share: f64| -> Vec<usize> {
        rooms.iter().map(|room| room.down((room.width as f64 * share).round() as usize)).collect()
    };
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..40 {
        let middle = f64::midpoint(low, high);
        if cost(&at(middle)) > target { low = middle } else { high = middle }
    }
    let mut best = at(low);
    settle(rooms, cost, target, &mut best);
    best
}

/// Atoms go one step at a time, each time where `damage` says that it costs least for what it saves.
pub(super) fn greedy(
    rooms: &[Room],
    cost: &dyn Fn(&[usize]) -> f64,
    target: f64,
    damage: &dyn Fn(usize, usize, usize) -> f64,
) -> Vec<usize> {
    let mut gone: Vec<usize> = rooms.iter().map(|room| room.fixed.unwrap_or(0)).collect();
    let mut now = cost(&gone);
    while now > target {
        let mut best: Option<(f64, usize, usize, f64)> = None;
        for (group, room) in rooms.iter().enumerate() {
            let Some(next) = room.more(gone[group]) else { continue };
            let old = std::mem::replace(&mut gone[group], next);
            let then = cost(&gone);
            gone[group] = old;
            let saved = now - then;
            if saved <= 0.0 {
                continue;
            }
            let price = damage(group, old, next) / saved;
            if best.is_none_or(|(least, ..)| price < least) {
                best = Some((price, group, next, then));
            }
        }
        let Some((_, group, next, then)) = best else { break };
        gone[group] = next;
        now = then;
    }
    settle(rooms, cost, target, &mut gone);
    gone
}

/// Single steps, as long as one brings the cost nearer to the target.
fn settle(rooms: &[Room], cost: &dyn Fn(&[usize]) -> f64, target: f64, gone: &mut [usize]) {
    let mut now = (cost(gone) - target).abs();
    loop {
        let mut best: Option<(f64, usize, usize)> = None;
        for (group, room) in rooms.iter().enumerate() {
            for next in [room.more(gone[group]), room.less(gone[group])].into_iter().flatten() {
                let old = std::mem::replace(&mut gone[group], next);
                let off = (cost(gone) - target).abs();
                gone[group] = old;
                if off < best.map_or(now, |(least, ..)| least) {
                    best = Some((off, group, next));
                }
            }
        }
        let Some((off, group, next)) = best else { return };
        gone[group] = next;
        now = off;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(width: usize, step: usize, most: usize) -> Room {
        Room { width, step, most, fixed: None }
    }

    #[test]
    fn what_is_left_is_a_multiple_or_everything() {
        let room = room(58, 8, 50);
        assert_eq!(room.down(0), 0);
        assert_eq!(room.down(1), 0, "57 are rounded up to 64, more than there are");
        assert_eq!(room.down(2), 2);
        assert_eq!(room.down(9), 2);
        assert_eq!(room.more(0), Some(2));
        assert_eq!(room.more(2), Some(10));
        assert_eq!(room.more(50), None);
        assert_eq!(room.less(2), Some(0));
        assert_eq!(room.less(10), Some(2));
        assert_eq!(room.less(0), None);
    }

    #[test]
    fn widths_meet_the_target_as_near_as_steps_allow() {
        let rooms = [room(64, 4, 60), room(128, 4, 124), room(10, 1, 9)];
        let cost = |gone: &[usize]| {
            let left: Vec<f64> = rooms.iter().zip(gone).map(|(r, &g)| (r.width - g) as f64).collect();
            left[0] * left[1] + left[1] * left[2]
        };
        for share in [0.9, 0.5, 0.2] {
            let target = share * cost(&[0, 0, 0]);
            for found in [
                uniform(&rooms, &cost, target),
                greedy(&rooms, &cost, target, &|_, old, next| (next - old) as f64),
            ] {
                assert!((cost(&found) - target).abs() < 0.02 * cost(&[0, 0, 0]), "{share}: {found:?}");
                assert!(found[0] % 4 == 0 && found[1] % 4 == 0);
            }
        }
        assert_eq!(uniform(&rooms, &cost, f64::INFINITY), [0, 0, 0]);
    }
}
