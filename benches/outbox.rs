//! How many events a second does the relay drain, next to what the database alone can claim and mark?
//!
//! 100,000 events wait in a PostgreSQL of our own, of as many keys, and then of 100 keys with 1,000 each. In one run, with the same
//! number of connections at work and the same batches, they are drained three times: by two statements that claim and mark and
//! look at nothing (the ceiling: per-key order, routes and documents cost nothing there), by relays whose store takes everything
//! and keeps nothing, and by relays into the store in memory. The server does not wait for the disk, in all three.
//!
//! Once server and relays share the machine's processors, as they compete there; once the server has one and the relays have the
//! others, as they would on two machines.

use std::sync::Arc;

use feedmill_benches::{DiscardingDatabase, bind_family, cpu_seconds, cpu_seconds_of_family};
use feedmill_clock::{Clock, Entropy, SystemClock};
use feedmill_documents::containers;
use feedmill_local_store::LocalStore;
use feedmill_outbox::{Lifetime, Options, Outbox, PgPool, Relays, Summary};
use feedmill_store_api::Database;
use feedmill_test_servers::Postgres;
use serde_json::{Value, json};
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

type Failure = Box<dyn std::error::Error>;

/// What one drain took.
struct Drained {
    per_second: f64,
    /// Processor time of an event, in microseconds.
    server_us: f64,
    own_us: f64,
    summary: Summary,
}

fn main() -> Result<(), Failure> {
    let Some(server) = Postgres::own("outbox") else { return Ok(()) };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let processors = std::thread::available_parallelism()?.get();
    let bound = |to: &str, of: &str| bind_family(server.process(), to) && bind_family(std::process::id(), of);
    let mut runs = Vec::new();
    println!("each with all {processors} processors:");
    runs.extend(runtime.block_on(measure(&server, "shared"))?);
    if processors > 1 && bound("0", &format!("1-{}", processors - 1)) {
        println!("\nthe server with one processor, the relays with the others:");
        runs.extend(runtime.block_on(measure(&server, "apart"))?);
    } else {
        println!("\nskipped: the server with a processor of its own, because there is none or no `taskset`");
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench/outbox.json");
    std::fs::create_dir_all(path.parent().ok_or("the report has a folder")?)?;
    std::fs::write(&path, serde_json::to_vec_pretty(&json!({ "events": EVENTS, "runs": runs }))?)?;
    println!("\nas JSON: target/bench/outbox.json");
    Ok(())
}

async fn measure(server: &Postgres, processors: &str) -> Result<Vec<Value>, Failure> {
    let pool = feedmill_outbox::connect(&server.database(), 16).await?;
    feedmill_outbox::migrate(&pool).await?;
    println!(
        "   keys relays    SQL/s  no store/s in memory/s  ratio   µs an event: SQL, server, relay   the relays' time (in memory)"
    );
    let mut report = Vec::new();
    for keys in KEYS {
        for relays in RELAYS {
            let options = Options { relays, ..Options::default() };
            let memory = memory().await?;
            let discarding: Arc<dyn Database> = Arc::new(DiscardingDatabase(Arc::clone(&memory)));
            let sql = timed(server, &pool, keys, drain_by_sql(&pool, &options)).await?;
            let discarded = timed(server, &pool, keys, drain(&pool, &options, &discarding)).await?;
            let stored = timed(server, &pool, keys, drain(&pool, &options, &memory)).await?;
            let spent = stored.summary.spent;
            let whole = f64::from(relays) * EVENTS as f64 / stored.per_second;
            let part = |time: std::time::Duration| 100.0 * time.as_secs_f64() / whole;
            let (claiming, writing, marking) = (part(spent.claiming), part(spent.writing), part(spent.marking));
            println!(
                "{keys:>7}{relays:>7}{:>9.0}{:>11.0}{:>12.0}{:>6.0}%   {:>9.1}{:>10.1}{:>10.1}     claim {claiming:.0}%, write {writing:.0}%, mark {marking:.0}%, rest {:.0}%",
                sql.per_second,
                discarded.per_second,
                stored.per_second,
                100.0 * stored.per_second / sql.per_second,
                sql.server_us,
                stored.server_us,
                stored.own_us,
                100.0 - claiming - writing - marking,
            );
            report.push(json!({
                "processors": processors, "keys": keys, "relays": relays, "batch_rows": options.batch_rows_max,
                "sql_per_second": sql.per_second, "discarded_per_second": discarded.per_second,
                "stored_per_second": stored.per_second, "batches": stored.summary.batches,
                "cpu_us_per_event": {
                    "sql": { "server": sql.server_us, "client": sql.own_us },
                    "discarded": { "server": discarded.server_us, "relay": discarded.own_us },
                    "stored": { "server": stored.server_us, "relay": stored.own_us },
                },
                "percent_of_relays_time": { "claiming": claiming, "writing": writing, "marking": marking },
            }));
        }
    }
    Ok(report)
}

/// Events of `keys` likes, in the order in which they would be if all of them changed in turns.
async fn fill(pool: &PgPool, keys: u64) -> Result<(), Failure> {
    sqlx::query("TRUNCATE outbox").execute(pool).await?;
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

/// Drains an outbox in which all events wait; fails when any still does.
async fn timed(
    server: &Postgres,
    pool: &PgPool,
    keys: u64,
    draining: impl Future<Output = Result<Summary, Failure>>,
) -> Result<Drained, Failure> {
    fill(pool, keys).await?;
    let used = || Some((cpu_seconds_of_family(server.process())?, cpu_seconds()?));
    let (server_before, own_before) = used().ok_or("the processes' times are in /proc")?;
    let began = SystemClock.monotonic();
    let summary = draining.await?;
    let seconds = SystemClock.monotonic().since(began).as_secs_f64();
    let (server_after, own_after) = used().ok_or("the processes' times are in /proc")?;
    let left: i64 =
        sqlx::query_scalar("SELECT count(*) FROM outbox WHERE processed_at IS NULL").fetch_one(pool).await?;
    if left > 0 {
        return Err(format!("{left} events still wait").into());
    }
    let each_us = |before: f64, after: f64| (after - before) * 1e6 / EVENTS as f64;
    Ok(Drained {
        per_second: EVENTS as f64 / seconds,
        server_us: each_us(server_before, server_after),
        own_us: each_us(own_before, own_after),
        summary,
    })
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
            loop {
                let mut claim = pool.begin().await?;
                let ids: Vec<i64> = sqlx::query_scalar(
                    "SELECT id FROM outbox WHERE processed_at IS NULL ORDER BY id LIMIT $1 FOR UPDATE SKIP LOCKED",
                )
                .bind(rows)
                .fetch_all(&mut *claim)
                .await?;
                if ids.is_empty() {
                    return Ok::<_, sqlx::Error>(());
                }
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
