//! How far a run is, on a terminal.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// A bar for the steps of a recipe, and one below it while batches of samples are run.
pub struct Bars {
    steps: ProgressBar,
    batches: ProgressBar,
}

impl Bars {
    /// For so many steps.
    pub fn new(steps: usize) -> Self {
        let both = MultiProgress::new();
        let bars = Self::of(both.add(ProgressBar::new(steps as u64 + 1)), both.add(ProgressBar::no_length()));
        bars.steps.enable_steady_tick(Duration::from_millis(100));
        bars
    }

    fn of(steps: ProgressBar, batches: ProgressBar) -> Self {
        let styles =
            [(&steps, "{bar:24} {pos}/{len} {msg}"), (&batches, "{bar:24} {pos}/{len} batches, {eta} left")];
        for (bar, template) in styles {
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
        }
        Self { steps, batches }
    }

    /// A step begins.
    pub fn step(&self, id: &str) {
        self.steps.set_message(id.to_owned());
        self.steps.inc(1);
    }

    /// So many batches of a pass over the samples are done.
    pub fn batch(&self, done: usize, all: usize) {
        let (done, all) = (done as u64, all as u64);
        if self.batches.is_finished() || self.batches.length() != Some(all) {
            self.batches.set_length(all);
            self.batches.reset();
        }
        // Workers may be told out of order.
        self.batches.set_position(done.max(self.batches.position()));
        if done == all {
            self.batches.finish_and_clear();
        }
    }

    /// Nothing is left of them.
    pub fn clear(&self) {
        self.batches.finish_and_clear();
        self.steps.finish_and_clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pass_over_the_samples_begins_anew() {
        let bars = Bars::of(ProgressBar::hidden(), ProgressBar::hidden());
        let at = || (bars.batches.position(), bars.batches.length(), bars.batches.is_finished());
        bars.batch(2, 3);
        bars.batch(1, 3);
        assert_eq!(at(), (2, Some(3), false));
        bars.batch(3, 3);
        assert!(bars.batches.is_finished());
        bars.batch(1, 3);
        assert_eq!(at(), (1, Some(3), false));
        bars.batch(1, 8);
        assert_eq!(at(), (1, Some(8), false));
    }
}
