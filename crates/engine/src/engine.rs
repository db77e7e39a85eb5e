use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::{Clock, Entropy, timeout};
use feedmill_store_api::{Container, Database, DefaultTtl, DocumentId, ErrorKind};
use tokio_util::sync::CancellationToken;

use crate::dead_letters::{Ledger, Redriver, redrive};
use crate::lag::{Gauge, RangeStatus, Status};
use crate::lease::{Keeper, Owner, Stored, Table, lease_prefix};
use crate::lifetime::{Lifetime, Rounds};
use crate::retry::Patience;
use crate::shutdown::{Stop, shares};
use crate::supervisor::Supervisor;
use crate::worker::{Context, Shared};
use crate::{EngineError, Options, Processor, Tally, Writer, range};

/// What an engine is made of.
pub struct Parts {
    pub database: Arc<dyn Database>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Entropy,
    /// This host's name: the owner in its leases.
    pub host: String,
    /// Whether nobody else can have the store open: then every lease is taken at once, whoever owned it. Otherwise
    /// leases of other owners are left alone.
    pub exclusive: bool,
    pub options: Options,
}

/// Runs processors: keeps their leases, reads their ranges, delivers, checkpoints, stops in order.
pub struct Engine {
    parts: Parts,
    processors: Vec<Processor>,
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
    /// Ranges that somebody must look at, and why: halted, gone, lost, or held by another owner.
    pub halted: Vec<String>,
}

/// A processor that is ready to run.
struct Prepared {
    processor: Processor,
    source: Arc<dyn Container>,
    keeper: Keeper,
    leases: Vec<Stored>,
    ledger: Arc<Ledger>,
}

impl Engine {
    pub fn new(parts: Parts) -> Self {
        let writer = Writer::new(
            Arc::clone(&parts.database),
            Arc::clone(&parts.clock),
            parts.entropy.clone(),
            parts.options.settle.clone(),
        );
        let status = Status::new(writer.clone(), Arc::clone(&parts.clock));
        Self { parts, processors: Vec::new(), writer, status }
    }

    pub fn add(&mut self, processor: Processor) {
        self.processors.push(processor);
    }

    /// How the run is doing; usable before, while and after it.
    pub fn status(&self) -> Status {
        self.status.clone()
    }

    /// Runs until `lifetime` ends or `stop` is cancelled, then stops in order within the grace of the options.
    ///
    /// Ranges that halt do not end a run that is to go on; they are in the summary and in the status.
    pub async fn run(self, lifetime: Lifetime, stop: CancellationToken) -> Result<Summary, EngineError> {
        let clock = Arc::clone(&self.parts.clock);
        let shared = self.shared();
        let preparing = Box::pin(self.prepare(&shared.patience));
        let prepared = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(self.summary()),
            prepared = preparing => prepared?,
        };

        let phases = Stop::default();
        let mut tasks = Supervisor::default();
        let mut helpers = Supervisor::default();
        for prepared in prepared {
            self.start(&shared, prepared, &phases, &mut tasks, &mut helpers);
        }
        let status = self.status.clone();
        helpers.spawn("lag".to_owned(), async move { status.report().await });

        let ended = tokio::select! {
            biased;
            () = stop.cancelled() => Ok(()),
            () = ends(&lifetime, &*clock, &shared.rounds, self.parts.options.poll_delay_min) => Ok(()),
            error = first_panic(&mut tasks) => Err(error),
            error = first_panic(&mut helpers) => Err(error),
        };
        phases.taking();
        let (drain, release) = shares(self.parts.options.shutdown_grace);
        let mut panicked = ended.err();
        if finish(&mut tasks, &*clock, drain, &mut panicked).await.is_none() {
            phases.draining();
            if finish(&mut tasks, &*clock, release, &mut panicked).await.is_none() {
                let left: Vec<_> = tasks.names().collect();
                tracing::warn!(?left, "the grace is over; leases stay with this host");
            }
        }
        match panicked {
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
            writer: self.writer.clone(),
            rounds: Rounds::new(),
        }
    }

    async fn prepare(&self, patience: &Patience) -> Result<Vec<Prepared>, EngineError> {
        let Parts { database, entropy, host, exclusive, options, .. } = &self.parts;
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
        let owner = Arc::new(Owner { host: host.clone(), incarnation: format!("{:016x}", entropy.next_u64()) });
        let mut sources: BTreeMap<&str, Arc<dyn Container>> = BTreeMap::new();
        let mut prepared = Vec::with_capacity(self.processors.len());
        for processor in &self.processors {
            let source = match sources.get(&*processor.source) {
                Some(source) => Arc::clone(source),
                None => self.open(patience, &processor.source).await?,
            };
            sources.insert(&processor.source, Arc::clone(&source));
            let prefix = lease_prefix(&processor.name, database.host(), database.rid(), source.rid());
            DocumentId::new(&*prefix)
                .map_err(|source| EngineError::Name { processor: processor.name.clone(), source })?;
            let table = Table::new(Arc::clone(&leases), &prefix, Arc::clone(&owner), patience.clone());
            let keeper = Keeper::new(table, Arc::clone(&source), processor.start, *exclusive);
            let leases = keeper.prepare().await?;
            let (name, over) = (&processor.name, &processor.source);
            let ledger = Ledger::new(Arc::clone(&dead_letters), name, over, patience.clone(), options);
            ledger.load().await?;
            let (processor, ledger) = (processor.clone(), Arc::new(ledger));
            prepared.push(Prepared { processor, source, keeper, leases, ledger });
        }
        Ok(prepared)
    }

    fn start(
        &self,
        shared: &Shared,
        prepared: Prepared,
        stop: &Stop,
        tasks: &mut Supervisor,
        helpers: &mut Supervisor,
    ) {
        let Prepared { processor, source, keeper, leases, ledger } = prepared;
        for stored in leases {
            let range = stored.lease.range().clone();
            let now = self.parts.clock.monotonic();
            let gauge = Arc::new(Gauge::new(&processor.name, &processor.source, range.clone(), now));
            self.status.add(&gauge);
            let context = Context::new(shared, &processor, &source, range, Arc::clone(&gauge), Arc::clone(&ledger));
            let work = range::keep(Arc::new(context), keeper.clone(), stored, stop.clone());
            tasks.spawn(gauge.name(), work);
        }
        let redriver = Redriver {
            ledger,
            source,
            handler: processor.handler,
            writer: shared.writer.clone(),
            rounds: Arc::clone(&shared.rounds),
        };
        let name = format!("dead letters of {} over {}", processor.name, processor.source);
        helpers.spawn(name, redrive(redriver, stop.clone()));
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
        let ranges = self.status.ranges();
        Summary {
            delivered: ranges.iter().map(|range| range.delivered).sum(),
            tally: self.status.writer(),
            dead_letters: ranges.iter().map(|range| range.dead_letters).sum(),
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

async fn ends(lifetime: &Lifetime, clock: &dyn Clock, rounds: &Rounds, pause: Duration) {
    match lifetime {
        Lifetime::UntilStopped => std::future::pending().await,
        Lifetime::For(duration) => clock.sleep(*duration).await,
        Lifetime::UntilCaughtUp { quiet } => {
            quiet.cancelled().await;
            rounds.caught_up(clock, pause).await;
        }
    }
}

/// Completes when a task panics; never when all of them end well.
async fn first_panic(tasks: &mut Supervisor) -> EngineError {
    loop {
        match tasks.next().await {
            Some((task, Err(panicked))) => return EngineError::Panicked { task, message: panicked.0 },
            Some((_, Ok(()))) => {}
            None => return std::future::pending().await,
        }
    }
}

/// Waits for all tasks; `None` when `limit` passed first. Keeps the first panic.
async fn finish(
    tasks: &mut Supervisor,
    clock: &dyn Clock,
    limit: Duration,
    panicked: &mut Option<EngineError>,
) -> Option<()> {
    let all = async {
        while let Some((task, ended)) = tasks.next().await {
            if let Err(error) = ended {
                panicked.get_or_insert(EngineError::Panicked { task, message: error.0 });
            }
        }
    };
    timeout(clock, limit, all).await
}
