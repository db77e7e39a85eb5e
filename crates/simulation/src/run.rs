use crate::{Failure, Seed, Sink, Story, full, tiny};

/// How much there is in a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// One author, two followers, two posts, two hosts that both deliver everything.
    Tiny,
    /// Several hosts run the whole engine with every processor.
    Full,
}

/// One world from beginning to end.
#[derive(Clone, Debug)]
pub struct Run {
    pub seed: Seed,
    pub scale: Scale,
    /// Steps of the actors; `None`: as many as the seed says.
    pub steps: Option<u64>,
    pub trace: Sink,
}

impl Run {
    pub fn new(scale: Scale, seed: u64) -> Self {
        Self { seed: Seed(seed), scale, steps: None, trace: Sink::Nowhere }
    }

    /// Plays it. The same run plays the same way every time.
    pub fn play(&self) -> Result<Story, Failure> {
        match self.scale {
            Scale::Tiny => {
                let steps = self.steps.unwrap_or_else(|| self.seed.stream("steps").below(2..13));
                tiny::run(self.seed, steps, &self.trace)
            }
            Scale::Full => {
                let steps = self.steps.unwrap_or_else(|| self.seed.stream("steps").below(10..60));
                full::run(self.seed, steps, &self.trace)
            }
        }
    }
}
