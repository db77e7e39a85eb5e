//! How many documents a second does feedmill project, from nothing to caught up, next to what its own store can put?
//!
//! Loads LDBC `snb-1k` whole (1.59 million feed items), runs all processors until caught up, then puts the very same
//! documents into an empty store of the same kind through `store-api`: in the same batches, with the same number of requests
//! in flight, the same durability. Each store runs in a process of its own, so that the peak of memory is its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use feedmill_benches::{MeasuredDatabase, cpu_seconds, peak_memory_bytes};
use feedmill_clock::{Clock, Entropy, SystemClock};
use feedmill_documents::containers;
use feedmill_engine::{ContainerTally, Engine, Lifetime, Options, Parts, StartFrom, Tally};
use feedmill_local_store::LocalStore;
use feedmill_store_api::{BatchOutcome, Container, Database, DocumentId, FeedStart, Operation, PartitionKey};
use feedmill_workload::ldbc::Dataset;
use feedmill_workload::loader::{self, Loader};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Physical partitions of each container.
const PARTITIONS: u32 = 4;
/// Set for the child process that measures one kind of store.
const KIND: &str = "FEEDMILL_BENCH_STORE";

const DERIVED: [&str; 6] = [
    containers::AUTHOR_POSTS,
    containers::POST_REPLIES,
    containers::FOLLOWING,
    containers::USER_FEED,
    containers::COUNTERS,
    containers::NOTIFICATIONS,
];

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let Some(data) = data() else {
        println!("skipped: catch_up: no snb-1k in $FEEDMILL_DATA or ../shared/data beside the checkout");
        return Ok(());
    };
    if let Ok(kind) = std::env::var(KIND) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        println!("{}", runtime.block_on(measure(&kind, &data))?);
        return Ok(());
    }
    let mut report = BTreeMap::new();
    for kind in ["memory", "disk"] {
        eprintln!("measuring the {kind} store …");
        let output = Command::new(std::env::current_exe()?).env(KIND, kind).output()?;
        if !output.status.success() {
            return Err(format!("{kind}: {}", String::from_utf8_lossy(&output.stderr)).into());
        }
        report.insert(kind, serde_json::from_slice::<Value>(&output.stdout)?);
    }
    print(&report);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench/catch_up.json");
    std::fs::create_dir_all(path.parent().ok_or("the report has a folder")?)?;
    std::fs::write(&path, serde_json::to_vec_pretty(&report)?)?;
    println!("\nas JSON: target/bench/catch_up.json");
    Ok(())
}

fn data() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let folder = std::env::var_os("FEEDMILL_DATA").map_or(beside, PathBuf::from).join("snb-1k");
    folder.is_dir().then_some(folder)
}

fn print(report: &BTreeMap<&str, Value>) {
    let rows = [
        ("documents projected", "documents", 1.0, ""),
        ("projecting", "project_seconds", 1.0, "s"),
        ("projected documents/s", "projected_per_second", 1.0, ""),
        ("store's own puts/s, same batches", "put_per_second", 1.0, ""),
        ("projected / put", "ratio", 100.0, "%"),
        ("peak memory while projecting", "peak_bytes", 1e-6, "MB"),
        ("processor time while projecting", "cpu_seconds", 1.0, "s"),
        ("processor time of the puts alone", "put_cpu_seconds", 1.0, "s"),
        ("in the store: writes", "writes_seconds", 1.0, "s"),
        ("in the store: reads and queries", "reads_seconds", 1.0, "s"),
        ("in the store: change feed pages", "feed_seconds", 1.0, "s"),
        ("write requests", "write_requests", 1.0, ""),
        ("read requests", "read_requests", 1.0, ""),
        ("loading the sources", "load_seconds", 1.0, "s"),
    ];
    println!("{:<36}{:>14}{:>14}", "", "memory", "disk");
    for (label, field, factor, unit) in rows {
        print!("{label:<36}");
        for kind in ["memory", "disk"] {
            let value = report.get(kind).and_then(|report| report[field].as_f64()).unwrap_or(f64::NAN) * factor;
            let digits = if value < 100.0 { 1 } else { 0 };
            print!("{:>14}", format!("{value:.digits$}{}{unit}", if unit.is_empty() { "" } else { " " }));
        }
        println!();
    }
}

fn open(kind: &str, folder: &Path) -> Result<LocalStore, Failure> {
    let options = feedmill_local_store::Options::default();
    let clock = Arc::new(SystemClock);
    Ok(if kind == "disk" { LocalStore::open(folder, options, clock)? } else { LocalStore::memory(options, clock) })
}

async fn provisioned(store: &LocalStore) -> Result<Arc<dyn Database>, Failure> {
    let database = store.database("feedmill").await?;
    for spec in containers::all(PARTITIONS) {
        database.provision(&spec).await?;
    }
    Ok(database)
}

async fn measure(kind: &str, data: &Path) -> Result<Value, Failure> {
    let folder = tempfile::tempdir_in(Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"))?;
    let store = open(kind, &folder.path().join("projected"))?;
    let database = provisioned(&store).await?;
    let clock = SystemClock;
    let began = clock.monotonic();
    let loader = Loader::new(Arc::clone(&database), Arc::new(clock), Entropy::seeded(1), loader::Options::default());
    loader.load(Dataset::open(data)?.snapshot(None)?, |_| {}).await?;
    let load_seconds = clock.monotonic().since(began).as_secs_f64();

    let (measured, times) = MeasuredDatabase::new(Arc::clone(&database));
    let options = Options::default();
    let in_flight = options.settle.requests_in_flight_max;
    let (began, cpu) = (clock.monotonic(), cpu_seconds().unwrap_or(f64::NAN));
    let tally = project(measured, options).await?;
    let project_seconds = clock.monotonic().since(began).as_secs_f64();
    let project_cpu = cpu_seconds().unwrap_or(f64::NAN) - cpu;
    let peak_bytes = peak_memory_bytes();

    let batches = batches(&*database).await?;
    let documents: usize = batches.iter().map(|batch| batch.operations.len()).sum();
    drop(database);
    store.close().await?;

    let store = open(kind, &folder.path().join("put"))?;
    let database = provisioned(&store).await?;
    let (began, cpu) = (clock.monotonic(), cpu_seconds().unwrap_or(f64::NAN));
    put(&database, batches, in_flight).await?;
    let put_seconds = clock.monotonic().since(began).as_secs_f64();
    let put_cpu = cpu_seconds().unwrap_or(f64::NAN) - cpu;
    drop(database);
    store.close().await?;

    let (projected, puts) = (documents as f64 / project_seconds, documents as f64 / put_seconds);
    let containers: BTreeMap<&str, Value> =
        tally.containers.iter().map(|(name, tally)| (&**name, settled(tally))).collect();
    let seconds = |spent: feedmill_benches::Spent| spent.time.as_secs_f64();
    Ok(json!({
        "documents": documents, "load_seconds": load_seconds, "project_seconds": project_seconds,
        "projected_per_second": projected, "put_per_second": puts, "ratio": projected / puts,
        "peak_bytes": peak_bytes, "cpu_seconds": project_cpu, "put_cpu_seconds": put_cpu,
        "writes_seconds": seconds(times.writes()), "write_requests": times.writes().calls,
        "reads_seconds": seconds(times.reads()), "read_requests": times.reads().calls,
        "feed_seconds": seconds(times.feed()), "feed_requests": times.feed().calls, "containers": containers,
    }))
}

fn settled(tally: &ContainerTally) -> Value {
    let (reads, writes) = (tally.reads.units(), tally.writes.units());
    json!({
        "written": tally.written, "skipped": tally.skipped, "conflicts": tally.conflicts, "read_units": reads, "write_units": writes,
    })
}

async fn project(database: Arc<dyn Database>, options: Options) -> Result<Tally, Failure> {
    let mut engine = Engine::new(Parts {
        database,
        clock: Arc::new(SystemClock),
        entropy: Entropy::seeded(1),
        host: "bench".to_owned(),
        exclusive: true,
        options,
    });
    let start = StartFrom::Beginning;
    let notifications = feedmill_notifications::Options { own_actions: true, ..unlimited()? };
    let all = [
        feedmill_index::processors(&Default::default(), start),
        feedmill_user_feed::processors(&Default::default(), start),
        feedmill_counters::processors(&Default::default(), start),
        feedmill_notifications::processors(&notifications, start),
    ];
    for processor in all.into_iter().flatten() {
        engine.add(processor);
    }
    let quiet = CancellationToken::new();
    quiet.cancel();
    let summary = engine.run(Lifetime::UntilCaughtUp { quiet }, CancellationToken::new()).await?;
    if summary.halted.is_empty() { Ok(summary.tally) } else { Err(summary.halted.join("; ").into()) }
}

/// The data is old: by default nobody would be told of it.
fn unlimited() -> Result<feedmill_notifications::Options, serde_json::Error> {
    serde_json::from_value(json!({"retention": "none"}))
}

/// What was written together: all of one partition key under one LSN.
struct Batch {
    container: &'static str,
    key: PartitionKey,
    operations: Vec<Operation>,
}

async fn batches(database: &dyn Database) -> Result<Vec<Batch>, Failure> {
    let mut batches: Vec<Batch> = Vec::new();
    for name in DERIVED {
        let container = database.container(name).await?;
        let field = container.partition_key_paths()[0].trim_start_matches('/').to_owned();
        for range in container.feed_ranges().await? {
            let mut start = FeedStart::Beginning;
            let mut last = None;
            loop {
                let page = container.read_page(&range, &start, 1_000).await?;
                if page.changes.is_empty() {
                    break;
                }
                for change in &page.changes {
                    let mut document: Value = serde_json::from_slice(&change.body)?;
                    let fields = document.as_object_mut().ok_or("a document is an object")?;
                    fields.retain(|name, _| !name.starts_with('_') || name == "_source");
                    let text = |field: &str| document[field].as_str().unwrap_or_default().to_owned();
                    let (id, key) = (DocumentId::new(text("id"))?, PartitionKey::from(text(&field)));
                    let operation = Operation::Create { id, body: document.to_string().into() };
                    match batches.last_mut() {
                        Some(batch) if last == Some(change.lsn) && batch.key == key => batch.operations.push(operation),
                        _ => batches.push(Batch { container: name, key, operations: vec![operation] }),
                    }
                    last = Some(change.lsn);
                }
                start = FeedStart::Position(page.position);
            }
        }
    }
    Ok(batches)
}

async fn put(database: &Arc<dyn Database>, batches: Vec<Batch>, in_flight: usize) -> Result<(), Failure> {
    let mut open: BTreeMap<&str, Arc<dyn Container>> = BTreeMap::new();
    for name in DERIVED {
        open.insert(name, database.container(name).await?);
    }
    let (open, batches, next) = (Arc::new(open), Arc::new(batches), Arc::new(AtomicUsize::new(0)));
    let tasks = (0..in_flight).map(|_| {
        let (open, batches, next) = (Arc::clone(&open), Arc::clone(&batches), Arc::clone(&next));
        tokio::spawn(async move {
            while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                let container = open.get(batch.container).ok_or("opened above")?;
                if let [only] = batch.operations.as_slice() {
                    container.write(&batch.key, only.clone()).await.map_err(|error| error.to_string())?;
                    continue;
                }
                match container.batch(&batch.key, batch.operations.clone()).await {
                    Ok(BatchOutcome::Committed { .. }) => {}
                    Ok(BatchOutcome::Refused { error, .. }) | Err(error) => return Err(error.to_string()),
                }
            }
            Ok::<_, String>(())
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await??;
    }
    Ok(())
}
