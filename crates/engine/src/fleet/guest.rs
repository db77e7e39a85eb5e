//! A host that shares its leases with hosts of the .NET change feed processor, and so goes by their rules.
//!
//! It looks at all leases as often as they do, takes what has expired and steals up to an equal share (`dotnet.rs`); what it has
//! it renews by its workers' checkpoints. In between it follows the lease table, so that whoever steals from it is met within
//! seconds. Nobody announces anything here: a host is what owns a lease.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::{Monotonic, timeout};
use feedmill_store_api::{Container, FeedRange};
use futures::FutureExt;
use tokio::sync::watch;

use super::Member;
use super::crew::Crew;
use super::dotnet::{Renewals, Sight, balance};
use super::follow::Follow;
use super::heartbeat::{self, Heartbeat};
use super::launch::{Launch, Loads};
use super::view::{self, Seen, View};
use crate::EngineError;
use crate::lag::{Gauge, Status};
use crate::lease::{Listed, Lost, Owner, Stored};
use crate::lifetime::{Participant, Round};
use crate::limits::{FENCE_BEFORE_EXPIRY, FOREIGN_EXPIRY};
use crate::listing::{Listing, ids_beginning_with};
use crate::range::{Begin, Left, Order};
use crate::shutdown::Stop;
use crate::supervisor::Panicked;
use crate::worker::Shared;

/// One host's part of a fleet of several makes.
pub(crate) struct Guest {
    shared: Shared,
    status: Status,
    me: Owner,
    leases: Arc<dyn Container>,
    members: BTreeMap<String, Member>,
    stop: Stop,
    view: View,
    follow: Option<Follow>,
    renewals: Renewals,
    crew: Crew,
    ranges: BTreeMap<String, Vec<FeedRange>>,
    look_at: Monotonic,
    follow_at: Monotonic,
    /// When the coverage is looked at again.
    audit_at: Monotonic,
    rests: watch::Sender<bool>,
    participant: Participant,
    rounds: watch::Receiver<Round>,
}

enum Event {
    Stop,
    Look,
    Follow,
    Silent,
    Round,
    Ended(String, Option<(Arc<Gauge>, u64)>, Result<Left, Panicked>),
}

impl Guest {
    pub(crate) fn new(
        shared: Shared,
        status: Status,
        me: Owner,
        leases: Arc<dyn Container>,
        members: Vec<Member>,
        stop: Stop,
    ) -> Self {
        let members: BTreeMap<_, _> =
            members.into_iter().map(|member| (member.keeper.prefix().to_owned(), member)).collect();
        let participant = shared.rounds.participant();
        let now = shared.clock.monotonic();
        Self {
            view: View::new(members.keys().cloned()),
            renewals: Renewals::new(shared.options.shared_lease_expiry),
            look_at: now,
            follow_at: now,
            audit_at: now,
            rounds: participant.rounds(),
            participant,
            shared,
            status,
            me,
            leases,
            members,
            stop,
            follow: None,
            crew: Crew::default(),
            ranges: BTreeMap::new(),
            rests: watch::Sender::new(false),
        }
    }

    /// True while nobody's lease waits for an owner; to be asked once this host has caught up.
    pub(crate) fn rests(&self) -> watch::Receiver<bool> {
        self.rests.subscribe()
    }

    /// Runs until taking stops and every range has given its lease back.
    pub(crate) async fn run(mut self) -> Result<(), EngineError> {
        let stop = self.stop.clone();
        tokio::select! {
            biased;
            () = stop.taking_stopped() => return Ok(()),
            begun = Box::pin(self.begin()) => begun?,
        }
        loop {
            match self.next().await {
                Event::Stop => break,
                Event::Look => self.look().await?,
                Event::Follow => self.follow().await?,
                Event::Silent => {
                    self.shared.pulse.fence();
                    self.shared.events.tell(crate::Event::Fenced { host: self.me.host.clone() });
                }
                Event::Round => {}
                Event::Ended(lease, ran, left) => {
                    self.ended(&lease, ran, left)?;
                    // Many end at once.
                    while let Some((lease, ran, left)) = self.crew.ended().now_or_never() {
                        self.ended(&lease, ran, left)?;
                    }
                }
            }
            self.rest();
        }
        while !self.crew.is_empty() {
            if let (task, _, Err(panicked)) = self.crew.ended().await {
                return Err(EngineError::Panicked { task, message: panicked.0 });
            }
        }
        Ok(())
    }

    async fn next(&mut self) -> Event {
        let clock = Arc::clone(&self.shared.clock);
        let now = clock.monotonic();
        // Never twice at one time, whatever was not done the first time.
        let sleep = |at: Monotonic| clock.sleep(at.since(now).max(Duration::from_millis(1)));
        let silent_at = self.shared.pulse.until().filter(|until| self.shared.pulse.allows(*until));
        let (look, follow) = (sleep(self.look_at), sleep(self.follow_at));
        let silent = async {
            match silent_at {
                Some(at) => sleep(at + Duration::from_millis(1)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.stop.taking_stopped() => Event::Stop,
            (lease, ran, left) = self.crew.ended() => Event::Ended(lease, ran, left),
            () = silent => Event::Silent,
            () = look => Event::Look,
            () = follow => Event::Follow,
            _ = self.rounds.changed() => Event::Round,
        }
    }

    /// The first look: what an earlier life of this host had is ours at once, as it is with them.
    async fn begin(&mut self) -> Result<(), EngineError> {
        self.refuse().await?;
        let sent_at = self.shared.clock.monotonic();
        let attempted = format!("follow {}", self.leases.name());
        let begin = || Follow::begin(Arc::clone(&self.leases));
        let follow = self.shared.patience.outlast(&attempted, begin).await;
        // From before the listing, so that nothing falls in between.
        self.follow = Some(follow.map_err(|source| EngineError::Store { attempted, source })?);
        for body in self.documents(crate::lease::pause_prefix()).await? {
            self.view.apply(&feedmill_store_api::ETag::new(""), &body)?;
        }
        self.audit().await?;
        self.heard(sent_at);
        let mine = |stored: &Stored| stored.lease.owner() == Some(&self.me.host);
        let earlier: Vec<_> =
            self.view.leases().filter(|(_, stored)| mine(stored)).map(|(id, _)| id.to_owned()).collect();
        self.start(earlier);
        self.take();
        self.rest();
        Ok(())
    }

    /// Fails while hosts of ours work on these leases by our own rules: they write no lease that is idle, so all of them
    /// would look expired.
    async fn refuse(&self) -> Result<(), EngineError> {
        let now = self.shared.clock.now();
        for body in self.documents(heartbeat::id_prefix()).await? {
            let Some(other) = Heartbeat::parse(&body).filter(|other| !other.stopped) else { continue };
            let age = crate::operator::written_at(&body).map(|at| now.duration_since(at));
            let lives = age.is_some_and(|age| Duration::try_from(age).unwrap_or_default() < FOREIGN_EXPIRY);
            if lives && other.serves.keys().any(|prefix| self.members.contains_key(prefix)) {
                return Err(EngineError::Own { host: other.host });
            }
        }
        Ok(())
    }

    async fn documents(&self, prefix: &'static str) -> Result<Vec<bytes::Bytes>, EngineError> {
        let attempted = format!("list {prefix} in {}", self.leases.name());
        let mut listing = Listing::of(&*self.leases, &self.shared.patience, &attempted, ids_beginning_with(prefix));
        let mut found = Vec::new();
        let failed = |source| EngineError::Store { attempted: attempted.clone(), source };
        while let Some(page) = listing.next().await.map_err(failed)? {
            found.extend(page);
        }
        Ok(found)
    }

    /// Everything there is, and what is missing is made.
    async fn audit(&mut self) -> Result<(), EngineError> {
        for (prefix, member) in &self.members {
            let Listed { leases, ranges } = member.keeper.prepare().await?;
            self.ranges.insert(prefix.clone(), ranges);
            self.view.replace(prefix, leases);
        }
        self.audit_at = self.shared.clock.monotonic() + self.shared.options.lease_list_interval;
        Ok(())
    }

    /// A pass of the balancing: who has what, and what of it we take.
    async fn look(&mut self) -> Result<(), EngineError> {
        let (clock, sent_at) = (Arc::clone(&self.shared.clock), self.shared.clock.monotonic());
        let interval = self.shared.options.shared_look_interval();
        self.look_at = sent_at + interval;
        let listed = async {
            if self.audit_at <= sent_at {
                return self.audit().await;
            }
            for (prefix, member) in &self.members {
                self.view.replace(prefix, member.keeper.list().await?);
            }
            Ok(())
        };
        let Some(listed) = timeout(&*clock, interval, Box::pin(listed)).await else { return Ok(()) };
        listed?;
        self.heard(sent_at);
        let there: BTreeSet<String> = self.view.leases().map(|(id, _)| id.to_owned()).collect();
        self.renewals.forget_all_but(|id| there.contains(id));
        for id in self.crew.running() {
            self.compare(&id);
        }
        self.take();
        Ok(())
    }

    /// What changed in the lease table since the last look: one request.
    async fn follow(&mut self) -> Result<(), EngineError> {
        let sent_at = self.shared.clock.monotonic();
        let interval = self.shared.options.heartbeat_interval;
        self.follow_at = sent_at + interval;
        let Some(follow) = &mut self.follow else { return Ok(()) };
        match timeout(&*self.shared.clock, interval, follow.changes()).await {
            Some(Ok(changes)) => {
                self.heard(sent_at);
                for change in changes {
                    match self.view.apply(&change.etag, &change.body)? {
                        Seen::Lease(id) => self.compare(&id),
                        Seen::Removed(id, epoch) => self.crew.removed(&id, epoch),
                        Seen::Other => {}
                    }
                }
                self.release_paused();
            }
            Some(Err(error)) => {
                tracing::warn!(error = %error, "the lease table cannot be followed");
                if let Some(Ok(anew)) =
                    timeout(&*self.shared.clock, interval, Follow::begin(Arc::clone(&self.leases))).await
                {
                    self.follow = Some(anew);
                    self.look_at = self.shared.clock.monotonic();
                }
            }
            None => {}
        }
        Ok(())
    }

    /// The store answered: this host is not frozen, and what it sends arrives.
    fn heard(&self, sent_at: Monotonic) {
        let good_for = self.shared.options.shared_lease_expiry.saturating_sub(FENCE_BEFORE_EXPIRY);
        self.shared.pulse.beat(sent_at, good_for);
    }

    /// A lease that runs here was written; a stranger's hand ends its work here.
    fn compare(&self, id: &str) {
        let Some(epoch) = self.crew.epoch(id) else { return };
        let Some(stored) = self.view.lease(id) else { return self.crew.order(id, Order::Lost(Lost { owner: None })) };
        let owner = stored.lease.owned_by();
        if owner.as_ref() != Some(&self.me) && stored.lease.epoch() >= epoch {
            self.crew.order(id, Order::Lost(Lost { owner: owner.map(|owner| owner.host) }));
        }
    }

    fn release_paused(&self) {
        for (id, _) in self.view.leases().filter(|(id, _)| self.crew.runs(id)) {
            let order = if self.is_paused(id) { Order::Release } else { Order::Work };
            self.crew.order(id, order);
        }
    }

    fn is_paused(&self, id: &str) -> bool {
        let member = view::prefix_of(id).and_then(|prefix| self.members.get(prefix));
        member.is_some_and(|member| self.view.is_paused(&member.processor.name))
    }

    /// Takes what the rules give us.
    fn take(&mut self) {
        let (now, at) = (self.shared.clock.now(), self.shared.clock.monotonic());
        let mut takes = Vec::new();
        for prefix in self.members.keys() {
            let leases = self.view.leases().filter(|(id, _)| view::prefix_of(id) == Some(prefix));
            let sights: Vec<_> = leases
                .map(|(id, stored)| {
                    // What runs here is ours, and its worker knows until when.
                    let owner = self.renewals.owner(stored, now, at);
                    Sight { id, owner: if self.crew.runs(id) { Some(self.me.host.as_str()) } else { owner } }
                })
                .collect();
            takes.extend(balance(&self.me.host, &sights).into_iter().map(str::to_owned));
        }
        // Ours, and nothing runs: this host was silent for a while, and nobody else has it yet.
        let left_over = self.view.leases().filter(|(_, stored)| stored.lease.owned_by().as_ref() == Some(&self.me));
        takes.extend(left_over.map(|(id, _)| id.to_owned()));
        self.start(takes);
    }

    fn start(&mut self, ids: Vec<String>) {
        let mut loads = Loads::new();
        for id in ids {
            if self.crew.runs(&id) || self.is_paused(&id) || self.stop.is_taking_stopped() {
                continue;
            }
            let Some(stored) = self.view.lease(&id).cloned() else { continue };
            let Some((prefix, member)) = view::prefix_of(&id).and_then(|prefix| self.members.get_key_value(prefix))
            else {
                continue;
            };
            let range = stored.lease.range();
            let parts = self.view.parts(&id, range);
            let ranges = self.ranges.get(prefix).map_or(&[][..], Vec::as_slice);
            let (shared, status, stop, crew) = (&self.shared, &self.status, &self.stop, &mut self.crew);
            Launch { shared, status, stop, member, crew }.range(Begin::Take(stored), parts, ranges, &mut loads);
        }
    }

    fn ended(
        &mut self,
        id: &str,
        ran: Option<(Arc<Gauge>, u64)>,
        left: Result<Left, Panicked>,
    ) -> Result<(), EngineError> {
        let left = left.map_err(|panicked| EngineError::Panicked { task: id.to_owned(), message: panicked.0 })?;
        // Whoever divides a range takes its parts, as theirs do; others steal them later.
        let parts: Vec<_> = match &left {
            Left::Divided(parts) => parts.iter().map(|part| part.lease.id().as_str().to_owned()).collect(),
            _ => Vec::new(),
        };
        self.view.left(id, left);
        if let Some((gauge, _)) = ran.filter(|_| !self.stop.is_taking_stopped()) {
            self.status.remove(&gauge);
        }
        self.start(parts);
        Ok(())
    }

    /// Whether everything there is has somebody who works on it.
    fn rest(&mut self) {
        let (now, at) = (self.shared.clock.now(), self.shared.clock.monotonic());
        let mut settled = true;
        for (id, stored) in self.view.leases() {
            settled &= self.crew.runs(id) || self.is_paused(id) || self.renewals.owner(stored, now, at).is_some();
        }
        if settled {
            self.participant.idle(self.rounds.borrow_and_update().number);
        }
        self.rests.send_if_modified(|known| std::mem::replace(known, settled) != settled);
    }
}
