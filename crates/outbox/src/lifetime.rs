use std::time::Duration;

/// When a relay ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    UntilStopped,
    /// No batch is begun after this time.
    For(Duration),
    /// Until nothing is left but dead letters, what waits for a retry, and what these hold up.
    UntilDrained,
}
