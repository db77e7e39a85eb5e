//! Which ranges run on this host: follows the lease table and the other hosts, plans, and carries out its part.
//!
//! Read `heart.rs` for how a host says that it lives, `view.rs` for what it knows, `duty.rs` for what follows from that,
//! and `../lease/plan.rs` for the rule by which all hosts come to the same answer. Beside hosts of the .NET processor all of
//! that goes by their rules: `guest.rs`.

mod crew;
mod dotnet;
mod duty;
mod follow;
mod foreign;
mod guest;
mod heart;
mod heartbeat;
mod launch;
#[cfg(feature = "planning")]
mod planning;
mod pulse;
mod rest;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::{Monotonic, timeout};
use feedmill_store_api::{Container, ErrorKind, FeedRange, ReadLevel};
use futures::FutureExt;
use futures::future::Either;
use tokio::sync::watch;

use self::crew::Crew;
use self::duty::{Duties, Knowledge};
use self::follow::Follow;
use self::launch::{Launch, Loads};
use self::rest::{Rest, Sign};
use self::view::{Seen, View};
use crate::dead_letters::Ledger;
use crate::lag::{Gauge, Status};
use crate::lease::{Expiry, Keeper, Lost, OwnBeats, Owner, Weights};
use crate::lifetime::{Participant, Round};
use crate::limits::{EXPECTING_INTERVAL, EXPECTING_MAX, WEIGHTS_ANNOUNCED_MAX};
use crate::listing::{Listing, ids_beginning_with};
use crate::protection::Protection;
use crate::range::{Begin, Left, Order};
use crate::shutdown::Stop;
use crate::worker::Shared;
use crate::{EngineError, Processor, metrics};

pub(crate) use guest::Guest;
pub(crate) use heart::{Heart, Replaced};
pub use heartbeat::Pace;
pub(crate) use heartbeat::{Heartbeat, id_prefix as heartbeat_prefix};
#[cfg(feature = "planning")]
pub use planning::Planning;
pub(crate) use pulse::Pulse;

/// A processor whose leases are kept.
pub(crate) struct Member {
    pub(crate) processor: Processor,
    pub(crate) source: Arc<dyn Container>,
    pub(crate) keeper: Keeper,
    pub(crate) ledger: Arc<Ledger>,
}

/// One host's part of the fleet.
pub(crate) struct Fleet {
    shared: Shared,
    status: Status,
    me: Owner,
    leases: Arc<dyn Container>,
    members: BTreeMap<String, Member>,
    /// `None` where nobody else can be.
    heart: Option<Heart>,
    stop: Stop,
    view: View,
    follow: Option<Follow>,
    expiry: Expiry,
    /// Whether it was told that this host is.
    fenced: bool,
    weights: Weights,
    crew: Crew,
    /// The last epoch in which each lease was worked on: a later one of ours was handed to us.
    worked: BTreeMap<String, u64>,
    /// Up to which return of this host the table was followed since. What was handed to us before that others may be taking
    /// as a dead host's.
    followed_since_return: u64,
    list_at: Monotonic,
    /// Of the last listing: physical ranges by prefix, and leases that should be several.
    ranges: BTreeMap<String, Vec<FeedRange>>,
    finer: BTreeMap<String, Vec<FeedRange>>,
    expecting: Option<Expecting>,
    rest: Rest,
    rests: watch::Sender<bool>,
    participant: Participant,
    rounds: watch::Receiver<Round>,
}

/// Leases that living hosts should hand to us.
struct Expecting {
    leases: BTreeSet<String>,
    until: Monotonic,
    look_at: Monotonic,
}

/// What wakes the fleet.
enum Event {
    Stop,
    Beat,
    Round,
    Look,
    Ended(String, Option<(Arc<Gauge>, u64)>, Result<Left, crate::supervisor::Panicked>),
}

impl Fleet {
    pub(crate) fn new(
        shared: Shared,
        status: Status,
        me: Owner,
        leases: Arc<dyn Container>,
        members: Vec<Member>,
        heart: Option<Heart>,
        stop: Stop,
    ) -> Self {
        let members: BTreeMap<_, _> =
            members.into_iter().map(|member| (member.keeper.prefix().to_owned(), member)).collect();
        let options = &shared.options;
        let participant = shared.rounds.participant();
        // A new life is nobody whom others may have counted as dead.
        let followed_since_return = shared.pulse.returns();
        Self {
            view: View::new(members.keys().cloned()),
            expiry: Expiry::new(options.heartbeat_expiry, options.heartbeat_interval * 2),
            list_at: shared.clock.monotonic(),
            ranges: BTreeMap::new(),
            finer: BTreeMap::new(),
            rounds: participant.rounds(),
            participant,
            shared,
            status,
            me,
            leases,
            members,
            heart,
            stop,
            follow: None,
            weights: Weights::default(),
            fenced: false,
            crew: Crew::default(),
            worked: BTreeMap::new(),
            followed_since_return,
            expecting: None,
            rest: Rest::default(),
            rests: watch::Sender::new(false),
        }
    }

    /// True once all hosts together have caught up; to be asked once this one has.
    pub(crate) fn rests(&self) -> watch::Receiver<bool> {
        self.rests.subscribe()
    }

    /// Runs until taking stops and every range has given its lease back.
    pub(crate) async fn run(mut self) -> Result<(), EngineError> {
        let stop = self.stop.clone();
        tokio::select! {
            biased;
            () = stop.taking_stopped() => return Ok(()),
            listed = Box::pin(self.list()) => listed?,
        }
        let mut beats = self.shared.pulse.watch();
        loop {
            self.carry_out()?;
            match self.next(&mut beats).await {
                Event::Stop => break,
                Event::Beat => self.beat().await?,
                Event::Round => {}
                Event::Look => self.look().await?,
                Event::Ended(lease, ran, left) => {
                    self.ended(&lease, ran, left)?;
                    // Many end at once; each of them is not worth a plan.
                    while let Some((lease, ran, left)) = self.crew.ended().now_or_never() {
                        self.ended(&lease, ran, left)?;
                    }
                    self.learned()?;
                }
            }
        }
        while !self.crew.is_empty() {
            if let (task, _, Err(panicked)) = self.crew.ended().await {
                return Err(EngineError::Panicked { task, message: panicked.0 });
            }
        }
        Ok(())
    }

    async fn next(&mut self, beats: &mut pulse::Beats) -> Event {
        let now = self.shared.clock.monotonic();
        let suspicion = self.expiry.due_at().filter(|_| self.shared.pulse.beating_since().is_some());
        let expecting = self.expecting.as_ref().map(|expecting| expecting.look_at);
        let listing = (!self.shared.pulse.is_alone()).then_some(self.list_at);
        let time = match [suspicion, expecting, listing].into_iter().flatten().min() {
            // Never twice at one time, whatever was not done the first time.
            Some(at) => Either::Left(self.shared.clock.sleep(at.since(now).max(Duration::from_millis(1)))),
            None => Either::Right(std::future::pending()),
        };
        tokio::select! {
            biased;
            () = self.stop.taking_stopped() => Event::Stop,
            (lease, ran, left) = self.crew.ended() => Event::Ended(lease, ran, left),
            () = beats.next() => Event::Beat,
            _ = self.rounds.changed() => Event::Round,
            () = time => Event::Look,
        }
    }

    /// A heartbeat of ours succeeded or failed.
    async fn beat(&mut self) -> Result<(), EngineError> {
        let (now, returns) = (self.shared.clock.monotonic(), self.shared.pulse.returns());
        let beating = self.shared.pulse.beating_since().is_some();
        self.fenced &= !beating;
        if !beating && !Protection::OwnHeartbeats.holds() {
            self.watch();
        } else if !self.shared.pulse.allows(now) {
            if !std::mem::replace(&mut self.fenced, true) {
                self.shared.events.tell(crate::Event::Fenced { host: self.me.host.clone() });
            }
            // Others count us as dead; when we come back, everybody may just be coming back.
            self.expiry.begin_anew();
        } else if !beating {
            self.expiry.look_away();
        } else if self.follow().await? && self.followed_since_return < returns {
            self.carry_out()?;
            self.followed_since_return = returns;
        }
        Ok(())
    }

    /// Something is due between heartbeats.
    async fn look(&mut self) -> Result<(), EngineError> {
        let now = self.shared.clock.monotonic();
        if self.list_at <= now {
            let limit = self.shared.options.heartbeat_expiry;
            self.list_at = now + self.shared.options.heartbeat_interval;
            let clock = Arc::clone(&self.shared.clock);
            if let Some(listed) = timeout(&*clock, limit, Box::pin(self.list())).await {
                listed?;
            }
        }
        if self.expecting.as_ref().is_some_and(|expecting| expecting.look_at <= now) {
            self.follow().await?;
            if let Some(expecting) = &mut self.expecting {
                expecting.look_at = now + EXPECTING_INTERVAL;
            }
        }
        if self.shared.pulse.beating_since().is_some() {
            self.watch();
            self.confirm().await;
        }
        Ok(())
    }

    fn watch(&mut self) {
        let pulse = &self.shared.pulse;
        let own = OwnBeats { misses: pulse.misses(), returns: pulse.returns() };
        let own = if Protection::OwnHeartbeats.holds() { own } else { OwnBeats::default() };
        self.expiry.watch(self.shared.clock.monotonic(), own);
    }

    /// Everything there is, and what is missing is made.
    async fn list(&mut self) -> Result<(), EngineError> {
        let ran = self.crew.epochs();
        if !self.shared.pulse.is_alone() {
            let attempted = format!("follow {}", self.leases.name());
            let begin = || Follow::begin(Arc::clone(&self.leases));
            let follow = self.shared.patience.outlast(&attempted, begin).await;
            // From before the listing, so that nothing falls in between.
            self.follow = Some(follow.map_err(|source| EngineError::Store { attempted, source })?);
            for prefix in [heartbeat::id_prefix(), crate::lease::pause_prefix()] {
                self.list_others(prefix).await?;
            }
        }
        self.finer.clear();
        for (prefix, member) in &self.members {
            let listed = member.keeper.prepare().await?;
            let alone = self.shared.pulse.is_alone();
            self.finer.extend(listed.finer(member.processor.ranges(&self.shared.options, alone)));
            self.ranges.insert(prefix.clone(), listed.ranges);
            self.view.replace(prefix, listed.leases);
        }
        // What was written between two feeds is in none. A lease that was taken meanwhile may be younger than the listing.
        for (id, epoch) in ran {
            if self.crew.epoch(&id) == Some(epoch) {
                self.compare(&id);
            }
        }
        self.list_at = self.shared.clock.monotonic() + self.shared.options.lease_list_interval;
        self.learned()
    }

    async fn list_others(&mut self, prefix: &'static str) -> Result<(), EngineError> {
        let attempted = format!("list {prefix} in {}", self.leases.name());
        let query = ids_beginning_with(prefix);
        let mut listing = Listing::of(&*self.leases, &self.shared.patience, &attempted, query);
        let failed = |source| EngineError::Store { attempted: attempted.clone(), source };
        while let Some(page) = listing.next().await.map_err(failed)? {
            for body in page {
                self.view.apply(&feedmill_store_api::ETag::new(""), &body)?;
            }
        }
        Ok(())
    }

    /// What changed in the lease container since the last look: one request. Whether it came through.
    async fn follow(&mut self) -> Result<bool, EngineError> {
        let Some(follow) = &mut self.follow else { return Ok(false) };
        let limit = self.shared.options.heartbeat_interval;
        match timeout(&*self.shared.clock, limit, follow.changes()).await {
            Some(Ok(changes)) => {
                for change in changes {
                    match self.view.apply(&change.etag, &change.body)? {
                        Seen::Lease(id) => {
                            self.compare(&id);
                            self.noticed(&id);
                        }
                        Seen::Removed(id, epoch) => self.crew.removed(&id, epoch),
                        Seen::Other => {}
                    }
                }
            }
            Some(Err(error)) => {
                tracing::warn!(error = %error, "the lease table cannot be followed");
                if error.kind() == ErrorKind::Gone {
                    self.list_at = self.shared.clock.monotonic();
                }
                return Ok(false);
            }
            None => return Ok(false),
        }
        self.watch();
        self.confirm().await;
        self.learned()?;
        Ok(true)
    }

    /// A lease that runs here was written; a stranger's hand ends its work here.
    fn compare(&self, id: &str) {
        let Some(epoch) = self.crew.epoch(id) else { return };
        let Some(stored) = self.view.lease(id) else { return self.crew.order(id, Order::Lost(Lost { owner: None })) };
        let owner = stored.lease.owned_by();
        let ours = owner.as_ref() == Some(&self.me) && stored.lease.epoch() == epoch;
        // What we take is in the feed before and after.
        if !ours && stored.lease.epoch() >= epoch {
            self.crew.order(id, Order::Lost(Lost { owner: owner.map(|owner| owner.host) }));
        }
    }

    /// Somebody wrote a lease: its owner lives, whatever was thought of it. What a host took that came back this moment would
    /// otherwise be taken from it on the strength of what was seen before.
    fn noticed(&mut self, id: &str) {
        if Protection::BackAtWork.holds()
            && let Some(owner) = self.view.lease(id).and_then(|stored| stored.lease.owned_by())
        {
            self.expiry.back(&owner, self.shared.clock.monotonic());
        }
    }

    /// Notes who gave a sign of life, and refuses to go on among strangers.
    fn learned(&mut self) -> Result<(), EngineError> {
        if self.shared.pulse.is_alone() {
            return Ok(());
        }
        foreign::refuse(&self.view, self.shared.clock.now())?;
        let now = self.shared.clock.monotonic();
        let mut owners = BTreeSet::new();
        for host in self.view.hosts().filter(|host| host.host != self.me.host) {
            self.expiry.seen(&host.owner(), Some(&host.sign()), now);
            owners.insert(host.owner());
        }
        for owner in self.view.leases().filter_map(|(_, stored)| stored.lease.owned_by()) {
            if owner != self.me && owners.insert(owner.clone()) {
                self.expiry.seen(&owner, None, now);
            }
        }
        self.expiry.retain(&owners);
        Ok(())
    }

    /// Asks for those who stood still by name: the feed may lag, a quorum read does not.
    async fn confirm(&mut self) {
        for suspect in self.expiry.suspects() {
            let Ok(id) = heartbeat::id(&suspect.host) else { continue };
            let key = heartbeat::key(&id);
            let read = self.leases.read(&key, &id, &ReadLevel::Quorum);
            let Some(Ok((found, _))) = timeout(&*self.shared.clock, self.shared.options.heartbeat_interval, read).await
            else {
                continue;
            };
            let found = found.and_then(|found| Heartbeat::parse(&found.body));
            match found.filter(|found| found.owner() == suspect) {
                Some(found) => {
                    self.expiry.seen(&suspect, Some(&found.sign()), self.shared.clock.monotonic());
                    if self.expiry.suspects().contains(&suspect) {
                        self.expiry.confirm(&suspect);
                    }
                }
                None => self.expiry.confirm(&suspect),
            }
            if self.expiry.is_dead(&suspect) {
                tracing::warn!(
                    host = suspect.host,
                    incarnation = suspect.incarnation,
                    "a host is dead; its leases go to others"
                );
                metrics::host_died();
                let Owner { host, incarnation } = suspect;
                self.shared.events.tell(crate::Event::HostDied { host, incarnation });
            }
        }
    }

    /// Compares what is with what should be, and gives the orders that lead there.
    fn carry_out(&mut self) -> Result<(), EngineError> {
        let now = self.shared.clock.monotonic();
        if !self.shared.pulse.allows(now) {
            self.rest.look(None);
            return Ok(());
        }
        self.weigh(now);
        let duties = self.duties();
        let just_returned = self.followed_since_return < self.shared.pulse.returns() && Protection::TakenAnew.holds();
        for (lease, order) in duties.orders {
            // What is wanted elsewhere is divided there.
            let order = match order {
                Order::Work => self.to_divide(&lease).map_or(Order::Work, Order::Divide),
                order => order,
            };
            self.crew.order(&lease, order);
        }
        let mut loads = Loads::new();
        for (lease, given) in duties.starts {
            self.start(&lease, given && !just_returned, &mut loads);
        }
        self.expect(duties.expected, now);
        let settled = duties.settled;
        if settled {
            self.participant.idle(self.rounds.borrow_and_update().number);
        }
        let signs = settled.then(|| self.signs());
        // Alone with the fleet, one's own rest is everybody's.
        let alone = signs.as_ref().is_some_and(|signs| signs.len() <= 1);
        let rests = self.rest.look(signs) || alone;
        self.rests.send_if_modified(|known| std::mem::replace(known, rests) != rests);
        Ok(())
    }

    fn duties(&self) -> Duties {
        let paused =
            |prefix: &str| self.members.get(prefix).is_some_and(|member| self.view.is_paused(&member.processor.name));
        let serves: BTreeSet<String> = self.members.keys().cloned().collect();
        let says = self.heart.as_ref().map(|heart| heart.says.lock().serves.clone()).unwrap_or_default();
        duty::duties(&Knowledge {
            me: &self.me,
            serves: &serves,
            weights: &says,
            view: &self.view,
            is_dead: &|owner| self.shared.pulse.is_alone() || self.expiry.is_dead(owner),
            is_paused: &paused,
            runs: &|lease| self.crew.runs(lease),
            worked: &self.worked,
        })
    }

    /// What the hosts that live said last.
    fn signs(&self) -> BTreeMap<Owner, Sign> {
        let living = self.view.hosts().filter(|host| {
            !host.stopped
                && (host.owner() == self.me || (host.host != self.me.host && !self.expiry.is_dead(&host.owner())))
        });
        living.map(|host| (host.owner(), Sign { beat: host.beat, rests: host.rests })).collect()
    }

    fn weigh(&mut self, now: Monotonic) {
        let Some(heart) = &self.heart else { return };
        let mut heavy: Vec<(u64, String)> = Vec::new();
        let mut does: BTreeMap<String, Pace> = BTreeMap::new();
        for (id, _) in self.view.leases() {
            match self.crew.gauge(id) {
                Some(gauge) => {
                    let (rate, backlog) = gauge.load(now);
                    let weight = self.weights.measured(id, rate, backlog);
                    if weight > 1 {
                        heavy.push((weight, id.to_owned()));
                    }
                    if let Some(prefix) = view::prefix_of(id) {
                        *does.entry(prefix.to_owned()).or_default() += gauge.pace(now);
                    }
                }
                None => self.weights.forget(id),
            }
        }
        does.retain(|_, pace| *pace != Pace::default());
        heavy.sort_by(|a, b| b.cmp(a));
        heavy.truncate(WEIGHTS_ANNOUNCED_MAX);
        let mut serves: BTreeMap<String, BTreeMap<String, u64>> =
            self.members.keys().map(|prefix| (prefix.clone(), BTreeMap::new())).collect();
        for (weight, id) in heavy {
            if let Some(serves) = view::prefix_of(&id).and_then(|prefix| serves.get_mut(prefix)) {
                serves.insert(view::token_of(&id).to_owned(), weight);
            }
        }
        let mut says = heart.says.lock();
        (says.serves, says.does) = (serves, does);
    }

    fn expect(&mut self, leases: BTreeSet<String>, now: Monotonic) {
        if leases.is_empty() {
            self.expecting = None;
            return;
        }
        match &mut self.expecting {
            Some(expecting) if leases.is_subset(&expecting.leases) => {
                if expecting.until <= now {
                    // A giver that drains for so long is met at a heartbeat.
                    expecting.look_at = now + Duration::from_secs(3_600);
                }
            }
            _ => {
                let (until, look_at) = (now + EXPECTING_MAX, now + EXPECTING_INTERVAL);
                self.expecting = Some(Expecting { leases, until, look_at });
            }
        }
    }

    fn start(&mut self, id: &str, given: bool, loads: &mut Loads) {
        let Some(stored) = self.view.lease(id).cloned() else { return };
        let Some((prefix, member)) = view::prefix_of(id).and_then(|prefix| self.members.get_key_value(prefix)) else {
            return;
        };
        let range = stored.lease.range();
        let parts = self.parts(id, range);
        let ranges = self.ranges.get(prefix).map_or(&[][..], Vec::as_slice);
        let begin = if given { Begin::Given(stored) } else { Begin::Take(stored) };
        let (shared, status, stop, crew) = (&self.shared, &self.status, &self.stop, &mut self.crew);
        let epoch = Launch { shared, status, stop, member, crew }.range(begin, parts, ranges, loads);
        self.worked.insert(id.to_owned(), epoch);
    }

    /// What a lease that runs is to be divided into: also where a division was begun and only now turns out to be.
    fn to_divide(&self, id: &str) -> Option<Vec<FeedRange>> {
        let parts = self.parts(id, self.view.lease(id)?.lease.range());
        (!parts.is_empty()).then_some(parts)
    }

    /// What a lease is to be divided into, whatever wants that.
    fn parts(&self, id: &str, range: &FeedRange) -> Vec<FeedRange> {
        match self.view.parts(id, range) {
            parts if parts.is_empty() => self.finer.get(id).cloned().unwrap_or_default(),
            parts => parts,
        }
    }

    fn ended(
        &mut self,
        id: &str,
        ran: Option<(Arc<Gauge>, u64)>,
        left: Result<Left, crate::supervisor::Panicked>,
    ) -> Result<(), EngineError> {
        let left = left.map_err(|panicked| EngineError::Panicked { task: id.to_owned(), message: panicked.0 })?;
        let stopping = self.stop.is_taking_stopped();
        if let Some((_, epoch)) = &ran {
            self.worked.insert(id.to_owned(), *epoch);
        }
        if let Left::Divided(_) = left {
            self.worked.remove(id);
            self.finer.remove(id);
        }
        let is_others = matches!(left, Left::Others(_));
        self.view.left(id, left);
        if is_others {
            self.noticed(id);
        }
        if let Some((gauge, _)) = ran.filter(|_| !stopping) {
            self.status.remove(&gauge);
        }
        Ok(())
    }
}
