//! What do ten thousand leases cost a host: how long does it plan in a cycle, and how much memory and processor time does it take to hold them all at rest?
//!
//! Planning is that of the engine, with everything that goes before it in a cycle: who lives, who has what, what of it runs here. It is measured at rest and when as many
//! hosts as a tenth have just joined, from what one host knows, 100 times each. Then one host with a whole engine has all leases of an empty container on the store
//! in memory, each with its worker, in a process of its own; what is counted begins when it has them all.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use feedmill_benches::{cpu_seconds, peak_memory_bytes};
use feedmill_clock::{Clock, Entropy, SystemClock};
use feedmill_engine::{Delivery, Engine, Handler, Lifetime, Options, Outcome, Parts, Planning, Processor, StartFrom};
use feedmill_engine::{SettleError, Settler};
use feedmill_local_store::LocalStore;
use feedmill_store_api::{ContainerSpec, DefaultTtl};
use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const FLEETS: [(usize, usize); 5] = [(10, 100), (10, 1_920), (10, 10_000), (100, 10_000), (100, 50_000)];
const CYCLES: usize = 100;
const HELD: [usize; 3] = [1_000, 5_000, 10_000];
const PARTITIONS: u32 = 10;
/// At rest, between heartbeats and polls.
const WATCHED: Duration = Duration::from_secs(30);
/// Tells the program, run again, how many leases to hold.
const HOLD: &str = "--hold";

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(leases) = arguments.iter().position(|argument| argument == HOLD).and_then(|at| arguments.get(at + 1)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        println!("{}", runtime.block_on(hold(leases.parse()?))?);
        return Ok(());
    }
    println!(
        "{:>8}{:>10}{:>12}{:>12}{:>14}{:>12}",
        "hosts", "leases", "at rest ms", "joined ms", "joined max ms", "to give"
    );
    let mut plans = Vec::new();
    for (hosts, leases) in FLEETS {
        let rest = timed(&Planning::new(hosts, hosts, leases)?);
        let joined = timed(&Planning::new(hosts + hosts / 10, hosts, leases)?);
        let (at_rest, median, max, given) = (rest.median_ms, joined.median_ms, joined.max_ms, joined.given);
        println!("{hosts:>8}{leases:>10}{at_rest:>12.2}{median:>12.2}{max:>14.2}{given:>12}");
        plans.push(json!({
            "hosts": hosts, "leases": leases, "rest_ms": at_rest, "joined_ms": median, "joined_max_ms": max,
        }));
    }
    println!("\n{:>8}{:>14}{:>14}{:>18}", "leases", "memory MB", "KB a lease", "core at rest");
    let mut held = Vec::new();
    for leases in HELD {
        let output = Command::new(std::env::current_exe()?).args([HOLD, &leases.to_string()]).output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        let row: Value = serde_json::from_slice(&output.stdout)?;
        let number = |field: &str| row[field].as_f64().unwrap_or(f64::NAN);
        let (bytes, core) = (number("bytes"), 100.0 * number("core"));
        println!("{leases:>8}{:>14.0}{:>14.1}{:>17.1}%", bytes / 1e6, bytes / 1e3 / leases as f64, core);
        held.push(row);
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench/lease_plan.json");
    std::fs::create_dir_all(path.parent().ok_or("the report has a folder")?)?;
    std::fs::write(&path, serde_json::to_vec_pretty(&json!({"plans": plans, "held": held}))?)?;
    println!("\nas JSON: target/bench/lease_plan.json");
    Ok(())
}

struct Timed {
    median_ms: f64,
    max_ms: f64,
    given: usize,
}

fn timed(planning: &Planning) -> Timed {
    let mut took = Vec::with_capacity(CYCLES);
    let mut given = 0;
    for _ in 0..CYCLES {
        let began = SystemClock.monotonic();
        given = std::hint::black_box(planning).cycle();
        took.push(SystemClock.monotonic().since(began).as_secs_f64() * 1e3);
    }
    took.sort_by(f64::total_cmp);
    Timed { median_ms: took[CYCLES / 2], max_ms: took[CYCLES - 1], given }
}

/// Nothing is ever delivered here.
struct Idle;

impl Handler for Idle {
    fn handle<'a>(&'a self, _: &'a Delivery, _: &'a Settler<'a>) -> BoxFuture<'a, Result<Outcome, SettleError>> {
        Box::pin(std::future::ready(Ok(Outcome::default())))
    }
}

/// One host has them all and nothing happens.
async fn hold(leases: usize) -> Result<Value, Failure> {
    let clock = Arc::new(SystemClock);
    let store = LocalStore::memory(feedmill_local_store::Options::default(), clock.clone());
    let database = store.database("bench").await?;
    let specs = [
        ContainerSpec::new("source", "/k").ttl(DefaultTtl::Forever).partitions(PARTITIONS),
        ContainerSpec::new("deadLetters", "/id").ttl(DefaultTtl::Forever),
        ContainerSpec::new("leases", "/id").ttl(DefaultTtl::Forever),
    ];
    for spec in specs {
        database.provision(&spec).await?;
    }
    let before = peak_memory_bytes().ok_or("the kernel tells how much memory there is")?;
    let options = Options { ranges_per_partition: leases / PARTITIONS as usize, ..Options::default() };
    let entropy = Entropy::seeded(1);
    let (host, exclusive) = ("host".to_owned(), false);
    let mut engine = Engine::new(Parts { database, clock: clock.clone(), entropy, host, exclusive, options });
    engine.add(Processor {
        name: "idle".to_owned(),
        source: "source".to_owned(),
        start: StartFrom::Beginning,
        handler: Arc::new(Idle),
        gather: false,
        ranges_min: 1,
    });
    let (stop, status) = (CancellationToken::new(), engine.status());
    let running = tokio::spawn(engine.run(Lifetime::UntilStopped, stop.clone()));
    while status.ranges().len() < leases {
        if running.is_finished() {
            running.await??;
            return Err("the engine ended by itself".into());
        }
        clock.sleep(Duration::from_millis(100)).await;
    }
    clock.sleep(WATCHED).await;
    let cpu = cpu_seconds().ok_or("the kernel tells the processor time")?;
    clock.sleep(WATCHED).await;
    let core = (cpu_seconds().ok_or("the kernel tells the processor time")? - cpu) / WATCHED.as_secs_f64();
    let bytes = peak_memory_bytes().ok_or("the kernel tells how much memory there is")? - before;
    stop.cancel();
    running.await??;
    Ok(json!({"leases": leases, "bytes": bytes, "core": core}))
}
