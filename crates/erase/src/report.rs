use feedmill_engine::Waiting;
use jiff::Timestamp;

/// What a container is to a person who goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The application's own.
    Source,
    /// A source by another key; it goes as its source does.
    Index,
    Projection,
    Work,
    DeadLetters,
}

/// What was found in one container.
#[derive(Clone, Debug)]
pub struct Looked {
    pub container: String,
    pub role: Role,
    /// Documents that were looked at.
    pub looked: u64,
    /// Of sources: those that are not withdrawn. While there are any, nothing is taken out.
    pub live: u64,
    /// Documents that were taken out; without writing, those that would be.
    pub removed: u64,
    /// Work that is still to be done, and must be before it may go.
    pub busy: u64,
    /// Tombstones and withdrawn documents, which go by themselves.
    pub left: u64,
    /// When the last of them is gone.
    pub until: Option<Timestamp>,
    /// Withdrawn documents without a time to live: they never go.
    pub endless: u64,
    /// Ids of some of those that stand in the way.
    pub examples: Vec<String>,
}

/// What was found of a person, and what became of it.
#[derive(Clone, Debug)]
pub struct Report {
    pub containers: Vec<Looked>,
    /// Changes naming the person that the processors have yet to settle; whatever they write comes after us.
    pub waiting: Waiting,
}

const EXAMPLES_MAX: usize = 5;

impl Looked {
    pub(crate) fn new(container: &str, role: Role) -> Self {
        let container = container.to_owned();
        let (looked, live, removed, busy, left, endless) = (0, 0, 0, 0, 0, 0);
        Self { container, role, looked, live, removed, busy, left, until: None, endless, examples: Vec::new() }
    }

    pub(crate) fn blame(&mut self, id: &str) {
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(id.to_owned());
        }
    }

    /// Something that is gone by then; never, without a time.
    pub(crate) fn stays(&mut self, id: &str, until: Option<Timestamp>) {
        match until {
            Some(until) => {
                self.left += 1;
                self.until = self.until.max(Some(until));
            }
            None => {
                self.endless += 1;
                self.blame(id);
            }
        }
    }
}

impl Report {
    fn sum(&self, of: impl Fn(&Looked) -> u64) -> u64 {
        self.containers.iter().map(of).sum()
    }

    /// Sources that must be withdrawn first.
    pub fn live(&self) -> u64 {
        self.sum(|looked| looked.live)
    }

    pub fn removed(&self) -> u64 {
        self.sum(|looked| looked.removed)
    }

    pub fn busy(&self) -> u64 {
        self.sum(|looked| looked.busy)
    }

    pub fn left(&self) -> u64 {
        self.sum(|looked| looked.left)
    }

    pub fn endless(&self) -> u64 {
        self.sum(|looked| looked.endless)
    }

    /// When everything that is left is gone.
    pub fn until(&self) -> Option<Timestamp> {
        self.containers.iter().filter_map(|looked| looked.until).max()
    }

    /// Whether nothing stands in the way of an end: what is left goes by itself.
    pub fn is_done(&self) -> bool {
        self.live() + self.busy() + self.endless() + self.waiting.changes == 0 && !self.waiting.unknown
    }
}
