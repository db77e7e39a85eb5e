//! Starts the work on a range, whoever decided that it is ours.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use feedmill_store_api::FeedRange;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared as Joint};
use tokio::sync::watch;

use super::Member;
use super::crew::Crew;
use crate::Processor;
use crate::dead_letters::Ledger;
use crate::lag::{Gauge, Status};
use crate::lease::{LeaseDocument, Portion, share};
use crate::range::{Begin, Order, Range};
use crate::shutdown::Stop;
use crate::worker::{Context, Shared};

/// Loadings of dead letters that are under way, by lease prefix: ranges that start together share one.
pub(super) type Loads = BTreeMap<String, Joint<BoxFuture<'static, ()>>>;

/// What every range of a host runs with.
pub(super) struct Launch<'a> {
    pub(super) shared: &'a Shared,
    pub(super) status: &'a Status,
    pub(super) stop: &'a Stop,
    pub(super) member: &'a Member,
    pub(super) crew: &'a mut Crew,
}

impl Launch<'_> {
    /// Works on a lease, in the epoch in which that will be. `parts`: what it is divided into before anything is read.
    /// `ranges`: the physical ones, as far as they are known.
    pub(super) fn range(self, begin: Begin, parts: Vec<FeedRange>, ranges: &[FeedRange], loads: &mut Loads) -> u64 {
        let Self { shared, status, stop, member, crew } = self;
        let (stored, epoch) = match &begin {
            Begin::Given(stored) => (stored, stored.lease.epoch()),
            Begin::Take(stored) => (stored, stored.lease.epoch() + 1),
        };
        let (id, range) = (stored.lease.id().as_str().to_owned(), stored.lease.range().clone());
        let Processor { name, source, .. } = &member.processor;
        let portion = portion(&stored.lease, ranges);
        let gauge = Arc::new(Gauge::new(name, source, range.clone(), portion, shared.clock.monotonic()));
        status.add(&gauge);
        let ledger = Arc::clone(&member.ledger);
        let context =
            Context::new(shared, &member.processor, &member.source, range, Arc::clone(&gauge), Arc::clone(&ledger));
        let (sender, orders) = watch::channel(Order::Work);
        let kept = Arc::new(AtomicU64::new(epoch));
        let range = Range {
            context: Arc::new(context),
            epoch: Arc::clone(&kept),
            parts,
            keeper: member.keeper.clone(),
            stop: stop.clone(),
            orders,
            pulse: shared.pulse.clone(),
        };
        // Another host may have written dead letters of this range.
        let loading = (!shared.pulse.is_alone()).then(|| {
            let prefix = member.keeper.prefix().to_owned();
            loads.entry(prefix).or_insert_with(|| load(ledger).boxed().shared()).clone()
        });
        let work = async move {
            if let Some(loading) = loading {
                loading.await;
            }
            range.keep(begin).await
        };
        crew.start(&id, kept, gauge, sender, work);
        epoch
    }
}

/// How many of its feed's commits are a lease's own. What was found out when it was made may be newer than `ranges`.
fn portion(lease: &LeaseDocument, ranges: &[FeedRange]) -> Portion {
    let now = share(lease.range(), ranges);
    lease.portion().map_or_else(|| Portion::of_keys(now), |portion| portion.part(1.0, portion.now().max(now)))
}

async fn load(ledger: Arc<Ledger>) {
    if let Err(error) = ledger.load().await {
        tracing::error!(error = %error, "dead letters that other hosts wrote are not known here");
    }
}
