//! Starts the work on a range, whoever decided that it is ours.

use std::collections::BTreeMap;
use std::sync::Arc;

use feedmill_store_api::FeedRange;
use futures::FutureExt;
use futures::future::{BoxFuture, Shared as Joint};
use tokio::sync::watch;

use super::Member;
use super::crew::Crew;
use crate::Processor;
use crate::dead_letters::Ledger;
use crate::lag::{Gauge, Status};
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
    /// `share`: the part of its physical range's keys that it has.
    pub(super) fn range(self, begin: Begin, parts: Vec<FeedRange>, share: f64, loads: &mut Loads) -> u64 {
        let Self { shared, status, stop, member, crew } = self;
        let (stored, epoch) = match &begin {
            Begin::Given(stored) => (stored, stored.lease.epoch()),
            Begin::Take(stored) => (stored, stored.lease.epoch() + 1),
        };
        let (id, range) = (stored.lease.id().as_str().to_owned(), stored.lease.range().clone());
        let Processor { name, source, .. } = &member.processor;
        let gauge = Arc::new(Gauge::new(name, source, range.clone(), share, shared.clock.monotonic()));
        status.add(&gauge);
        let ledger = Arc::clone(&member.ledger);
        let context =
            Context::new(shared, &member.processor, &member.source, range, Arc::clone(&gauge), Arc::clone(&ledger));
        let (sender, orders) = watch::channel(Order::Work);
        let range = Range {
            context: Arc::new(context),
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
        crew.start(&id, epoch, gauge, sender, work);
        epoch
    }
}

async fn load(ledger: Arc<Ledger>) {
    if let Err(error) = ledger.load().await {
        tracing::error!(error = %error, "dead letters that other hosts wrote are not known here");
    }
}
