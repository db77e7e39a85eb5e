use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// A number that others wait to see change. Clones share it.
///
/// Not tokio's `watch`: that wakes those who wait in an order drawn by chance that nobody can seed. Here they wake in the
/// order in which they came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Signal(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    value: AtomicU64,
    changed: Notify,
}

impl Signal {
    pub(crate) fn value(&self) -> u64 {
        self.0.value.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.value.store(value, Ordering::Relaxed);
        self.0.changed.notify_waiters();
    }

    pub(crate) fn raise(&self) {
        self.set(self.value() + 1);
    }

    /// Completes once the value passes `is_right`.
    pub(crate) async fn wait_for(&self, is_right: impl Fn(u64) -> bool) {
        loop {
            // Whoever is created before the value is looked at does not miss its next change.
            let changed = self.0.changed.notified();
            if is_right(self.value()) {
                return;
            }
            changed.await;
        }
    }
}
