use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::{Clock, Entropy, timeout};
use feedmill_store_api::{Container, Database, DefaultTtl, DocumentId, ETag, ErrorKind};
use futures::FutureExt;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;

use crate::dead_letters::{Ledger, Redriver, redrive};
use crate::events::{Event, Events};
use crate::fleet::{Fleet, Guest, Heart, Heartbeat, Member, Pulse, Replaced};
use crate::lag::{RangeStatus, Status};
use crate::lease::{Keeper, Owner, Table, lease_prefix};
use crate::lifetime::{Lifetime, Rounds};
use crate::limits::FENCE_BEFORE_EXPIRY;
use crate::retry::Patience;
use crate::shutdown::{Stop, shares};
use crate::supervisor::{Panicked, Supervisor};
use crate::worker::{Renewal, Shared};
use crate::{EngineError, LeaseMode, Options, Processor, Tally, Writer};

/// What an engine is made of.
pub struct Parts {
    pub database: Arc<dyn Database>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Entropy,
    /// This host's name: the owner in its leases.
    pub host: String,
    /// Whether nobody else can have the store open, as it is with the embedded one: then there are no heartbeats, and
    /// every lease is taken at once, whoever owned it.
    pub exclusive: bool,
    pub options: Options,
}

/// Runs processors: keeps their leases, reads their ranges, delivers, checkpoints, stops in order.
pub struct Engine {
    parts: Parts,
    processors: Vec<Processor>,
    pulse: Pulse,
    events: Events,
    writer: Writer,
    status: Status,
}

/// What a run did.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Changes settled or written down.
    pub delivered: u64,
    pub tally: Tally,
    /// Dead letters written.
    pub dead_letters: u64,
    pub ranges: Vec<RangeStatus>,
    /// Ranges that somebody must look at, and why.
    pub halted: Vec<String>,
}

/// What a run begins with.
struct Prepared {
    me: Owner,
    leases: Arc<dyn Container>,
    members: Vec<Member>,
    /// `None` where nobody else can be, and where leases alone say who is there.
    heart: Option<(Heart, ETag)>,
}

/// Between two rounds that nobody is waiting for.
const ROUND_INTERVAL: Duration = Duration::from_secs(1);

impl Engine {
    pub fn new(parts: Parts) -> Self {
        let pulse = if parts.exclusive { Pulse::alone() } else { Pulse::silent() };
        let writer = Writer::with_pulse(
            Arc::clone(&parts.database),
            Arc::clone(&parts.clock),
            parts.entropy.clone(),
            parts.options.settle.clone(),
            pulse.clone(),
        );
        let status = Status::new(writer.clone(), Arc::clone(&parts.clock));
        Self { parts, processors: Vec::new(), pulse, events: Events::new(), writer, status }
    }

    pub fn add(&mut self, processor: Processor) {
        self.processors.push(processor);
    }

    /// How the run is doing; usable before, while and after it.
    pub fn status(&self) -> Status {
        self.status.clone()
    }

    /// What happens to leases and hosts from now on. A listener that falls far behind is told how much it missed.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.listen()
    }

    /// Runs until `lifetime` ends or `stop` is cancelled, then stops in order within the grace of the options.
    ///
    /// Ranges that halt do not end a run that is to go on; they are in the summary and in the status.
    pub async fn run(self, lifetime: Lifetime, stop: CancellationToken) -> Result<Summary, EngineError> {
        crate::metrics::begin();
        let clock = Arc::clone(&self.parts.clock);
        let shared = self.shared();
        let preparing = Box::pin(self.prepare(&shared));
        let Prepared { me, leases, members, heart } = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(self.summary()),
            prepared = preparing => prepared?,
        };

        let phases = Stop::default();
        let mut tasks = Supervisor::default();
        let mut helpers = Supervisor::default();
        for member in &members {
            let name = format!("dead letters of {} over {}", member.processor.name, member.processor.source);
            helpers.spawn(name, redrive(self.redriver(&shared, member), phases.clone()).map(Ok));
        }
        let status = self.status.clone();
        helpers.spawn("lag".to_owned(), async move { status.report().map(Ok).await });
        let beating = CancellationToken::new();
        let heart = match heart {
            Some((heart, etag)) => {
                helpers.spawn("heartbeat".to_owned(), beat(heart.clone(), etag, beating.clone()));
                Some(heart)
            }
            None => None,
        };
        let alone = self.parts.exclusive;
        let (status, stopping) = (self.status.clone(), phases.clone());
        let rests = if self.is_guest() {
            let guest = Guest::new(shared.clone(), status, me, leases, members, stopping);
            let rests = guest.rests();
            tasks.spawn("fleet".to_owned(), guest.run());
            rests
        } else {
            let fleet = Fleet::new(shared.clone(), status, me, leases, members, heart.clone(), stopping);
            let rests = fleet.rests();
            tasks.spawn("fleet".to_owned(), fleet.run());
            rests
        };

        let ending = Ending { clock: &*clock, rounds: &shared.rounds, pause: self.parts.options.poll_delay_min, alone };
        let ended = tokio::select! {
            biased;
            () = stop.cancelled() => Ok(()),
            () = ending.comes(&lifetime, rests) => Ok(()),
            error = first_failure(&mut tasks) => Err(error),
            error = first_failure(&mut helpers) => Err(error),
        };
        phases.taking();
        let (drain, release) = shares(self.parts.options.shutdown_grace);
        let mut failed = ended.err();
        if finish(&mut tasks, &*clock, drain, &mut failed).await.is_none() {
            phases.draining();
            if finish(&mut tasks, &*clock, release, &mut failed).await.is_none() {
                tracing::warn!("the grace is over; some leases stay with this host");
            }
        }
        // Not before: whoever drains needs the heartbeat.
        beating.cancel();
        if let Some(heart) = heart.filter(|_| !matches!(failed, Some(EngineError::Replaced { .. }))) {
            heart.end().await;
        }
        match failed {
            Some(error) => Err(error),
            None => Ok(self.summary()),
        }
    }

    fn shared(&self) -> Shared {
        let options = Arc::new(self.parts.options.clone());
        let patience = Patience {
            clock: Arc::clone(&self.parts.clock),
            entropy: self.parts.entropy.clone(),
            min: options.backoff_min,
            max: options.backoff_max,
        };
        Shared {
            clock: Arc::clone(&self.parts.clock),
            entropy: self.parts.entropy.clone(),
            patience,
            options,
            renewal: self.is_guest().then(|| Renewal {
                every: self.parts.options.shared_renew_interval(),
                good_for: self.parts.options.shared_lease_expiry.saturating_sub(FENCE_BEFORE_EXPIRY),
            }),
            writer: self.writer.clone(),
            rounds: Rounds::new(),
            pulse: self.pulse.clone(),
            events: self.events.clone(),
        }
    }

    /// Whether others may have our leases by the rules of .NET.
    fn is_guest(&self) -> bool {
        !self.parts.exclusive && self.parts.options.lease_mode == LeaseMode::Shared
    }

    async fn prepare(&self, shared: &Shared) -> Result<Prepared, EngineError> {
        let Parts { database, entropy, host, options, .. } = &self.parts;
        let patience = &shared.patience;
        options.check()?;
        let mut seen = BTreeSet::new();
        for Processor { name, source, .. } in &self.processors {
            if !seen.insert((name, source)) {
                let (processor, source_container) = (name.clone(), source.clone());
                return Err(EngineError::Duplicate { processor, source_container });
            }
        }
        let leases = self.open(patience, &options.leases).await?;
        keeps(&*leases, &["/id", "/partitionKey"], "/id")?;
        let dead_letters = self.open(patience, &options.dead_letters).await?;
        keeps(&*dead_letters, &["/id"], "/id")?;
        let owner = Owner { host: host.clone(), incarnation: format!("{:016x}", entropy.next_u64()) };
        let me = Arc::new(owner.clone());
        let mode = if self.is_guest() { LeaseMode::Shared } else { LeaseMode::Own };
        let mut sources: BTreeMap<&str, Arc<dyn Container>> = BTreeMap::new();
        let mut members = Vec::with_capacity(self.processors.len());
        for processor in &self.processors {
            let source = match sources.get(&*processor.source) {
                Some(source) => Arc::clone(source),
                None => self.open(patience, &processor.source).await?,
            };
            sources.insert(&processor.source, Arc::clone(&source));
            let prefix = lease_prefix(&processor.name, database.host(), database.rid(), source.rid());
            DocumentId::new(&*prefix)
                .map_err(|source| EngineError::Name { processor: processor.name.clone(), source })?;
            let table = Table::new(Arc::clone(&leases), &prefix, Arc::clone(&me), patience.clone(), mode);
            let ranges = processor.ranges(options, self.parts.exclusive);
            let keeper = Keeper::new(table, Arc::clone(&source), processor.start, ranges);
            let (name, over) = (&processor.name, &processor.source);
            let ledger = Ledger::new(Arc::clone(&dead_letters), name, over, patience.clone(), options);
            ledger.load().await?;
            let (processor, ledger) = (processor.clone(), Arc::new(ledger));
            members.push(Member { processor, source, keeper, ledger });
        }
        let heart = match self.parts.exclusive || self.is_guest() {
            true => None,
            false => Some(self.announce(shared, &owner, &leases, &members).await?),
        };
        Ok(Prepared { me: owner, leases, members, heart })
    }

    /// Tells the others that this host is there.
    async fn announce(
        &self,
        shared: &Shared,
        me: &Owner,
        leases: &Arc<dyn Container>,
        members: &[Member],
    ) -> Result<(Heart, ETag), EngineError> {
        let options = &self.parts.options;
        let (interval, expiry) = (options.heartbeat_interval, options.heartbeat_expiry);
        let by_partition_key = leases.partition_key_paths().iter().any(|path| path == "/partitionKey");
        let mut says = Heartbeat::new(me, env!("CARGO_PKG_VERSION"), &options.hash(), by_partition_key)
            .map_err(|source| EngineError::Host { host: me.host.clone(), source })?;
        says.serves = members.iter().map(|member| (member.keeper.prefix().to_owned(), BTreeMap::new())).collect();
        let heart = Heart::new(Arc::clone(leases), shared, (interval, expiry), says);
        let attempted = format!("announce host {}", me.host);
        let begun = shared.patience.outlast(&attempted, || heart.begin()).await;
        let etag = begun.map_err(|source| EngineError::Store { attempted, source })?;
        Ok((heart, etag))
    }

    fn redriver(&self, shared: &Shared, member: &Member) -> Redriver {
        Redriver {
            ledger: Arc::clone(&member.ledger),
            source: Arc::clone(&member.source),
            handler: Arc::clone(&member.processor.handler),
            writer: shared.writer.clone(),
            rounds: Arc::clone(&shared.rounds),
        }
    }

    async fn open(&self, patience: &Patience, name: &str) -> Result<Arc<dyn Container>, EngineError> {
        let attempted = format!("open container {name}");
        match patience.outlast(&attempted, || self.parts.database.container(name)).await {
            Ok(container) => Ok(container),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(EngineError::MissingContainer { name: name.to_owned() })
            }
            Err(source) => Err(EngineError::Store { attempted, source }),
        }
    }

    fn summary(&self) -> Summary {
        let (ranges, left) = (self.status.ranges(), self.status.left());
        Summary {
            delivered: left.delivered + ranges.iter().map(|range| range.delivered).sum::<u64>(),
            tally: self.status.writer(),
            dead_letters: left.dead_letters + ranges.iter().map(|range| range.dead_letters).sum::<u64>(),
            halted: ranges.iter().filter_map(trouble).collect(),
            ranges,
        }
    }
}

fn trouble(range: &RangeStatus) -> Option<String> {
    let trouble = range.state.trouble()?;
    Some(format!("{} over {} {}: {trouble}", range.processor, range.source, range.range))
}

/// Whether a container keeps what is put into it, under a key that its documents have.
fn keeps(container: &dyn Container, keys: &[&str], expected: &'static str) -> Result<(), EngineError> {
    let name = || container.name().to_owned();
    if let Some(DefaultTtl::Seconds(seconds)) = container.spec().default_ttl {
        return Err(EngineError::Expires { name: name(), seconds });
    }
    match container.partition_key_paths() {
        [path] if keys.contains(&&**path) => Ok(()),
        paths => Err(EngineError::PartitionKey { name: name(), expected, found: paths.join(", ") }),
    }
}

/// When a run is over by itself.
struct Ending<'a> {
    clock: &'a dyn Clock,
    rounds: &'a Rounds,
    pause: Duration,
    alone: bool,
}

impl Ending<'_> {
    async fn comes(&self, lifetime: &Lifetime, mut rests: watch::Receiver<bool>) {
        match lifetime {
            Lifetime::UntilStopped => self.meanwhile(std::future::pending()).await,
            Lifetime::For(duration) => self.meanwhile(self.clock.sleep(*duration)).await,
            Lifetime::UntilCaughtUp { quiet } => {
                self.meanwhile(quiet.cancelled()).await;
                self.rounds.caught_up(self.clock, self.pause).await;
                if !self.alone {
                    self.meanwhile(async {
                        // Without a fleet there is nobody to wait for; its end is seen elsewhere.
                        let _rests = rests.wait_for(|rests| *rests).await;
                    })
                    .await;
                }
            }
        }
    }

    /// Lets others know whether this host rests until `end` comes.
    async fn meanwhile(&self, end: impl Future<Output = ()>) {
        if self.alone {
            return end.await;
        }
        tokio::select! {
            biased;
            () = end => {}
            () = self.rounds.go_round(self.clock, ROUND_INTERVAL) => {}
        }
    }
}

async fn beat(heart: Heart, etag: ETag, stop: CancellationToken) -> Result<(), EngineError> {
    match heart.run(etag, stop).await {
        Some(Replaced { host, incarnation }) => {
            tracing::error!(host, incarnation, "another process has begun with this host's name");
            Err(EngineError::Replaced { host })
        }
        None => Ok(()),
    }
}

type Ended = Result<(), EngineError>;

fn failure(task: String, ended: Result<Ended, Panicked>) -> Option<EngineError> {
    match ended {
        Ok(ended) => ended.err(),
        Err(panicked) => Some(EngineError::Panicked { task, message: panicked.0 }),
    }
}

/// Completes when a task fails; never when all of them end well.
async fn first_failure(tasks: &mut Supervisor<Ended>) -> EngineError {
    loop {
        match tasks.next().await {
            Some((task, ended)) => {
                if let Some(error) = failure(task, ended) {
                    return error;
                }
            }
            None => return std::future::pending().await,
        }
    }
}

/// Waits for all tasks; `None` when `limit` passed first. Keeps the first failure.
async fn finish(
    tasks: &mut Supervisor<Ended>,
    clock: &dyn Clock,
    limit: Duration,
    failed: &mut Option<EngineError>,
) -> Option<()> {
    let all = async {
        while let Some((task, ended)) = tasks.next().await {
            if let Some(error) = failure(task, ended) {
                failed.get_or_insert(error);
            }
        }
    };
    timeout(clock, limit, all).await
}
