//! The phases of stopping: stop taking → drain → checkpoint → release.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// How far a run is on its way to its end. Clones are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop {
    taking: CancellationToken,
    draining: CancellationToken,
}

impl Stop {
    /// No page is read and no delivery begun from now on.
    pub(crate) fn taking(&self) {
        self.taking.cancel();
    }

    /// What is still running is abandoned; checkpoint and release with what is settled.
    pub(crate) fn draining(&self) {
        self.draining.cancel();
    }

    pub(crate) async fn taking_stopped(&self) {
        self.taking.cancelled().await;
    }

    pub(crate) async fn draining_stopped(&self) {
        self.draining.cancelled().await;
    }

    pub(crate) fn is_taking_stopped(&self) -> bool {
        self.taking.is_cancelled()
    }
}

/// How the grace is shared out: four fifths for running deliveries, the rest for checkpoints and releases.
pub(crate) fn shares(grace: Duration) -> (Duration, Duration) {
    let release = grace / 5;
    (grace - release, release)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_are_the_grace() {
        let grace = Duration::from_secs(25);
        let (drain, release) = shares(grace);
        assert_eq!(drain + release, grace);
        assert_eq!(release, Duration::from_secs(5));
    }
}
