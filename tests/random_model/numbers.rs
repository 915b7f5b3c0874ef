//! The numbers that a step is made from.

use proptest::prelude::*;

/// What a step does, and with what.
#[derive(Debug, Clone, Copy)]
pub struct Step(pub [u16; 6]);

impl Arbitrary for Step {
    type Parameters = ();
    type Strategy = BoxedStrategy<Self>;

    fn arbitrary_with((): ()) -> Self::Strategy {
        any::<[u16; 6]>().prop_map(Step).boxed()
    }
}

/// Numbers of a step, taken one by one.
pub struct Numbers {
    step: Step,
    at: usize,
}

impl Numbers {
    pub fn of(step: Step) -> Self {
        Self { step, at: 0 }
    }

    /// A number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        let round = self.at / self.step.0.len();
        let raw = usize::from(self.step.0[self.at % self.step.0.len()]);
        self.at += 1;
        (raw >> round.min(12)) % n.max(1)
    }

    pub fn pick<'t, T>(&mut self, items: &'t [T]) -> &'t T {
        &items[self.below(items.len())]
    }

    pub fn coin(&mut self) -> bool {
        self.below(2) == 1
    }
}
