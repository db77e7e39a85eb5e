use crate::stage::Stuck;

/// Why a seed fails.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Once quiet, a projection is not what the sources make it.
    #[error("a projection is wrong once everything is quiet:\n  {}", .0.join("\n  "))]
    Wrong(Vec<String>),
    /// Something happened that must never happen.
    #[error("a rule was broken:\n  {}", .0.join("\n  "))]
    Broken(Vec<String>),
    /// No progress, though nothing stands in the way any more.
    #[error("no progress: {0}")]
    Stuck(String),
}

impl From<Stuck> for Failure {
    fn from(stuck: Stuck) -> Self {
        Self::Stuck(stuck.to_string())
    }
}

/// What a run was, when all was well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Story {
    /// Requests to the store.
    pub requests: u64,
    /// Steps of the actors.
    pub steps: u64,
    /// Simulated time.
    pub lasted: std::time::Duration,
}
