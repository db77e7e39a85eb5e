//! The ranges that run on this host.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::watch;

use crate::lag::Gauge;
use crate::lease::Lost;
use crate::range::{Left, Order};
use crate::supervisor::{Panicked, Supervisor};

/// Running ranges by the ids of their leases.
#[derive(Default)]
pub(super) struct Crew {
    running: BTreeMap<String, Running>,
    tasks: Supervisor<Left>,
}

struct Running {
    orders: watch::Sender<Order>,
    gauge: Arc<Gauge>,
    /// Grows when a worker that broke takes its lease anew.
    epoch: Arc<AtomicU64>,
}

impl Crew {
    pub(super) fn start(
        &mut self,
        lease: &str,
        epoch: Arc<AtomicU64>,
        gauge: Arc<Gauge>,
        orders: watch::Sender<Order>,
        work: impl Future<Output = Left> + Send + 'static,
    ) {
        self.running.insert(lease.to_owned(), Running { orders, gauge, epoch });
        self.tasks.spawn(lease.to_owned(), work);
    }

    /// The next range that ended: its lease, its gauge and last epoch, and how. Never completes while none runs. Cancel-safe.
    pub(super) async fn ended(&mut self) -> (String, Option<(Arc<Gauge>, u64)>, Result<Left, Panicked>) {
        match self.tasks.next().await {
            Some((lease, left)) => {
                let running = self.running.remove(&lease);
                (lease, running.map(|Running { gauge, epoch, .. }| (gauge, epoch.load(Ordering::Relaxed))), left)
            }
            None => std::future::pending().await,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.running.is_empty()
    }

    pub(super) fn runs(&self, lease: &str) -> bool {
        self.running.contains_key(lease)
    }

    /// The leases that it works on.
    pub(super) fn running(&self) -> Vec<String> {
        self.running.keys().cloned().collect()
    }

    /// The epoch in which it has the lease.
    pub(super) fn epoch(&self, lease: &str) -> Option<u64> {
        self.running.get(lease).map(|running| running.epoch.load(Ordering::Relaxed))
    }

    /// Of all.
    pub(super) fn epochs(&self) -> Vec<(String, u64)> {
        let epoch = |running: &Running| running.epoch.load(Ordering::Relaxed);
        self.running.iter().map(|(lease, running)| (lease.clone(), epoch(running))).collect()
    }

    pub(super) fn gauge(&self, lease: &str) -> Option<&Gauge> {
        self.running.get(lease).map(|running| &*running.gauge)
    }

    /// The lease was removed in `epoch`; whoever has it in a later one has it still.
    pub(super) fn removed(&self, lease: &str, epoch: u64) {
        if self.epoch(lease).is_some_and(|ours| ours <= epoch) {
            self.order(lease, Order::Lost(Lost { owner: None }));
        }
    }

    /// Tells a range what is wanted of it, unless it knows. A lost lease stays lost.
    pub(super) fn order(&self, lease: &str, order: Order) {
        if let Some(running) = self.running.get(lease) {
            running.orders.send_if_modified(|known| {
                let news = *known != order && !matches!(known, Order::Lost(_));
                if news {
                    *known = order;
                }
                news
            });
        }
    }
}
