//! How many events a second does the relay drain, next to what the database alone can claim and mark?
//!
//! 100,000 events wait in a PostgreSQL of our own, of as many keys, and then of 100 keys with 1,000 each. They are drained by two
//! statements, which is the ceiling: one locks the oldest rows and returns what is to be written, one marks them; whether an
//! earlier event of a key waits nobody asks, so no relay could make do with less. Then by relays whose store takes everything and
//! keeps nothing, and by relays into the store in memory. All three in turns, several times, with the same connections and batches.
//! The server does not wait for the disk.
//!
//! Once server and relays share the machine's processors, as they compete there; once the server has one and the relays have the
//! others, as they would on two machines. `-- shared` or `-- apart` measures one of the two, a number only so many relays.

use std::sync::Arc;
use std::time::Duration;

use feedmill_benches::{DiscardingDatabase, bind_family, cpu_seconds, cpu_seconds_of_family, cpu_seconds_of_machine};
use feedmill_clock::{Clock, Entropy, SystemClock};
use feedmill_documents::containers;
use feedmill_local_store::LocalStore;
use feedmill_outbox::{Lifetime, Options, Outbox, PgPool, Relays, Spent, Summary};
use feedmill_store_api::Database;
use feedmill_test_servers::Postgres;
use serde_json::{Value, json};
use sqlx::{Connection, Row};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const EVENTS: u64 = 100_000;
/// Likes of one post; those of one claim travel together.
const LIKES_OF_A_POST: u64 = 20;
const RELAYS: [u32; 3] = [1, 2, 4];
/// A row that changed once, and one that changed a thousand times.
const KEYS: [u64; 2] = [EVENTS, EVENTS / 1_000];
/// Each is drained so often, in turns, so that what else the machine does meets all of them.
const ROUNDS: u32 = 2;

type Failure = Box<dyn std::error::Error>;

/// What some drains took, together.
#[derive(Default)]
struct Drained {
    drains: u32,
    seconds: f64,
    used: Used,
    summary: Summary,
}

impl Drained {
    fn events(&self) -> f64 {
        f64::from(self.drains) * EVENTS as f64
    }

    fn per_second(&self) -> f64 {
        self.events() / self.seconds
    }

    /// Processor time of an event, in microseconds: the server's and our own.
    fn cpu_us(&self) -> [f64; 2] {
        [self.used.server, self.used.own].map(|seconds| seconds * 1e6 / self.events())
    }

    /// Of the time that so many relays had: claiming, writing and marking, in percent.
    fn parts(&self, relays: u32) -> [f64; 3] {
        let Spent { claiming, writing, marking } = self.summary.spent;
        let whole = f64::from(relays) * self.seconds;
        [claiming, writing, marking].map(|time| 100.0 * time.as_secs_f64() / whole)
    }

    /// Of the time that all processors had: what others used, and what nobody did, in percent.
    fn rest(&self, processors: f64) -> [f64; 2] {
        let Used { server, own, machine } = self.used;
        let all = processors * self.seconds;
        [machine - server - own, all - machine].map(|seconds| 100.0 * (seconds / all).max(0.0))
    }
}

/// Processor time, in seconds.
#[derive(Clone, Copy, Default)]
struct Used {
    server: f64,
    own: f64,
    machine: f64,
}

impl Used {
    fn so_far(server: &Postgres) -> Option<Self> {
        let (of_server, own) = (cpu_seconds_of_family(server.process())?, cpu_seconds()?);
        Some(Self { server: of_server, own, machine: cpu_seconds_of_machine()? })
    }

    fn add(&mut self, before: Self, after: Self) {
        self.server += after.server - before.server;
        self.own += after.own - before.own;
        self.machine += after.machine - before.machine;
    }
}

/// Where server and relays run.
struct Place {
    name: &'static str,
    processors: f64,
}

fn main() -> Result<(), Failure> {
    let Some(server) = Postgres::own("outbox") else { return Ok(()) };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let processors = std::thread::available_parallelism()?.get();
    let asked: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let (numbers, places): (Vec<_>, Vec<_>) = asked.iter().partition(|asked| asked.parse::<u32>().is_ok());
    let relays: Vec<u32> = numbers.iter().filter_map(|number| number.parse().ok()).collect();
    let relays = if relays.is_empty() { &RELAYS[..] } else { &relays };
    let wanted = |place: &str| places.is_empty() || places.iter().any(|asked| *asked == place);
    let place = |name| Place { name, processors: processors as f64 };
    let bound = |to: &str, of: &str| bind_family(server.process(), to) && bind_family(std::process::id(), of);
    let mut runs = Vec::new();
    if wanted("shared") {
        println!("each with all {processors} processors:");
        runs.extend(runtime.block_on(measure(&server, place("shared"), relays))?);
    }
    if wanted("apart") {
        if processors > 1 && bound("0", &format!("1-{}", processors - 1)) {
            println!("\nthe server with one processor, the relays with the others:");
            runs.extend(runtime.block_on(measure(&server, place("apart"), relays))?);
        } else {
            println!("\nskipped: the server with a processor of its own, because there is none or no `taskset`");
        }
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench/outbox.json");
    std::fs::create_dir_all(path.parent().ok_or("the report has a folder")?)?;
    std::fs::write(&path, serde_json::to_vec_pretty(&json!({ "events": EVENTS, "rounds": ROUNDS, "runs": runs }))?)?;
    println!("\nas JSON: target/bench/outbox.json");
    Ok(())
}

async fn measure(server: &Postgres, place: Place, relays: &[u32]) -> Result<Vec<Value>, Failure> {
    let pool = feedmill_outbox::connect(&server.database(), 16).await?;
    feedmill_outbox::migrate(&pool).await?;
    // It would come once a minute, to whomever it meets; before each drain it is done by hand.
    sqlx::raw_sql("ALTER TABLE outbox SET (autovacuum_enabled = false)").execute(&pool).await?;
    println!("                                   of the    µs an event     of all processors    of the relays' time");
    println!("   keys relays               /s   ceiling  server  client    others  nobody    claim  write   mark");
    let mut report = Vec::new();
    for keys in KEYS {
        for &relays in relays {
            let options = Options { relays, ..Options::default() };
            let (mut sql, mut discarded, mut stored) = <(Drained, Drained, Drained)>::default();
            for _ in 0..ROUNDS {
                let memory = memory().await?;
                let discarding: Arc<dyn Database> = Arc::new(DiscardingDatabase(Arc::clone(&memory)));
                timed(server, &pool, keys, &mut sql, drain_by_sql(&pool, &options)).await?;
                timed(server, &pool, keys, &mut discarded, drain(&pool, &options, &discarding)).await?;
                timed(server, &pool, keys, &mut stored, drain(&pool, &options, &memory)).await?;
            }
            for (way, drained) in [("ceiling", &sql), ("no store", &discarded), ("in memory", &stored)] {
                let of_ceiling = 100.0 * drained.per_second() / sql.per_second();
                let ([server, client], [others, nobody]) = (drained.cpu_us(), drained.rest(place.processors));
                let [claim, write, mark] = drained.parts(relays);
                print!("{keys:>7}{relays:>7} {way:<9}{:>9.0}{of_ceiling:>9.0}%", drained.per_second());
                print!("{server:>8.1}{client:>8.1}{others:>9.0}%{nobody:>7.0}%");
                println!("{claim:>8.0}%{write:>6.0}%{mark:>6.0}%");
                report.push(json!({
                    "processors": place.name, "keys": keys, "relays": relays, "batch_rows": options.batch_rows_max, "way": way,
                    "per_second": drained.per_second(), "percent_of_ceiling": of_ceiling, "batches": drained.summary.batches,
                    "cpu_us_per_event": { "server": server, "client": client },
                    "percent_of_all_processors": { "others": others, "nobody": nobody },
                    "percent_of_relays_time": { "claiming": claim, "writing": write, "marking": mark },
                }));
            }
        }
    }
    Ok(report)
}

/// Events of `keys` likes, in the order in which they would be if all of them changed in turns.
async fn fill(pool: &PgPool, keys: u64) -> Result<(), Failure> {
    // The checkpoint is over before the drain, and what is filled in after it is not logged whole again.
    sqlx::raw_sql("TRUNCATE outbox; CHECKPOINT").execute(pool).await?;
    sqlx::query(
        "INSERT INTO outbox (event_key, topic, partition_key, sequence, payload)
         SELECT 'reaction:' || n % $2 || ':' || n / $2, 'reaction', 'reaction:' || n % $2, 1 + n / $2,
                jsonb_build_object('postId', (n % $2 / $3)::text, 'userId', (n % $2)::text, 'type', 'like',
                    'createdAt', '2024-01-01T00:00:00.000Z', 'version', 1 + n / $2)
         FROM generate_series(0::int8, $1 - 1) AS n",
    )
    .bind(i64::try_from(EVENTS)?)
    .bind(i64::try_from(keys)?)
    .bind(i64::try_from(LIKES_OF_A_POST)?)
    .execute(pool)
    .await?;
    sqlx::raw_sql("VACUUM ANALYZE outbox").execute(pool).await?;
    Ok(())
}

/// Drains an outbox in which all events wait, and adds what that took to `drained`; fails when any still does.
async fn timed(
    server: &Postgres,
    pool: &PgPool,
    keys: u64,
    drained: &mut Drained,
    draining: impl Future<Output = Result<Summary, Failure>>,
) -> Result<(), Failure> {
    fill(pool, keys).await?;
    let before = Used::so_far(server).ok_or("the processes' times are in /proc")?;
    let began = SystemClock.monotonic();
    let summary = draining.await?;
    drained.seconds += SystemClock.monotonic().since(began).as_secs_f64();
    let machine = cpu_seconds_of_machine();
    // A process of the server that is just ending would be counted neither among its children nor with those that have ended.
    SystemClock.sleep(Duration::from_millis(200)).await;
    let mut after = Used::so_far(server).ok_or("the processes' times are in /proc")?;
    after.machine = machine.unwrap_or(after.machine);
    let left: i64 =
        sqlx::query_scalar("SELECT count(*) FROM outbox WHERE processed_at IS NULL").fetch_one(pool).await?;
    if left > 0 {
        return Err(format!("{left} events still wait").into());
    }
    drained.drains += 1;
    drained.used.add(before, after);
    drained.summary = drained.summary + summary;
    Ok(())
}

async fn memory() -> Result<Arc<dyn Database>, Failure> {
    let store = LocalStore::memory(feedmill_local_store::Options::default(), Arc::new(SystemClock));
    let database = store.database("bench").await?;
    for spec in containers::all(4) {
        database.provision(&spec).await?;
    }
    Ok(database)
}

async fn drain(pool: &PgPool, options: &Options, database: &Arc<dyn Database>) -> Result<Summary, Failure> {
    let outbox = Outbox::open(pool.clone(), options.clone(), Arc::new(SystemClock)).await?;
    let relays = Relays::new(&outbox, database, &Entropy::seeded(1));
    Ok(relays.run(Lifetime::UntilDrained, CancellationToken::new()).await?)
}

async fn drain_by_sql(pool: &PgPool, options: &Options) -> Result<Summary, Failure> {
    let mut tasks = JoinSet::new();
    for _ in 0..options.relays {
        let (pool, rows) = (pool.clone(), i64::from(options.batch_rows_max));
        tasks.spawn(async move {
            let mut connection = pool.acquire().await?;
            loop {
                let mut claim = connection
                    .begin_with(
                        "BEGIN; SET LOCAL plan_cache_mode = force_generic_plan; SET LOCAL synchronous_commit = off",
                    )
                    .await?;
                let rows = sqlx::query(
                    "SELECT id, partition_key, sequence, topic, payload::text FROM outbox WHERE processed_at IS NULL
                     ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED",
                )
                .bind(rows)
                .fetch_all(&mut *claim)
                .await?;
                if rows.is_empty() {
                    return Ok::<_, sqlx::Error>(());
                }
                let ids = rows.iter().map(|row| row.try_get::<i64, _>(0)).collect::<Result<Vec<_>, _>>()?;
                sqlx::query("UPDATE outbox SET processed_at = now() WHERE id = ANY($1)")
                    .bind(&ids)
                    .execute(&mut *claim)
                    .await?;
                claim.commit().await?;
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(Summary::default())
}
