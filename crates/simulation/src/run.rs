use crate::full::Plot;
use crate::mutant::Flaws;
use crate::{Failure, Mutant, Seed, Sink, Story, full, tiny};

/// How much there is in a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// One author, two followers, two posts, two hosts that both deliver everything.
    Tiny,
    /// Several hosts run the whole engine with every processor.
    Full,
    /// A full world whose hosts begin at the same time, while what they read is split.
    Opening,
    /// A full world whose hosts go away for about as long as others need to count them as dead, and come back.
    Return,
}

impl Scale {
    /// What a seed plays where nobody says: half of them tiny worlds, because the holes that matter show up once in thousands
    /// of dense schedules and hardly ever in a big quiet world.
    pub fn of(seed: u64) -> Self {
        if seed.is_multiple_of(2) { Self::Tiny } else { Self::Full }
    }
}

/// One world from beginning to end.
#[derive(Clone, Debug)]
pub struct Run {
    pub seed: Seed,
    pub scale: Scale,
    /// Steps of the actors; `None`: as many as the seed says.
    pub steps: Option<u64>,
    /// The rule that does not hold in this world.
    pub mutant: Option<Mutant>,
    pub trace: Sink,
}

impl Run {
    pub fn new(scale: Scale, seed: u64) -> Self {
        Self { seed: Seed(seed), scale, steps: None, mutant: None, trace: Sink::Nowhere }
    }

    /// Of a world that should fail.
    pub fn of(mutant: Mutant, seed: u64) -> Self {
        Self { mutant: Some(mutant), ..Self::new(mutant.scale, seed) }
    }

    /// Plays it. The same run plays the same way every time.
    pub fn play(&self) -> Result<Story, Failure> {
        match self.mutant {
            Some(mutant) => mutant.switched_off(|| self.play_on(mutant.flaws())),
            None => self.play_on(Flaws::default()),
        }
    }

    fn play_on(&self, flaws: Flaws) -> Result<Story, Failure> {
        let drawn = |range| self.steps.unwrap_or_else(|| self.seed.stream("steps").below(range));
        let full = |plot, steps| full::run(self.seed, plot, steps, flaws, &self.trace);
        match self.scale {
            Scale::Tiny => tiny::run(self.seed, drawn(2..25), flaws, &self.trace),
            Scale::Full => full(Plot::Anything, drawn(10..60)),
            Scale::Opening => full(Plot::Opening, drawn(2..10)),
            Scale::Return => full(Plot::Return, drawn(10..60)),
        }
    }
}
