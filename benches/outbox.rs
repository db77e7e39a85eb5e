//! How many events a second does the relay drain, next to what the database alone can claim and mark?
//!
//! 100,000 events wait in a PostgreSQL of our own, of as many keys, and then of 100 keys with 1,000 each. In one run, with the same
//! number of connections at work and the same batches, they are drained three times: by two statements that claim and mark and
//! look at nothing (the ceiling: per-key order, routes and documents cost nothing there), by relays whose store takes everything
//! and keeps nothing, and by relays into the store in memory. The server does not wait for the disk, in all three.

use std::sync::Arc;

use feedmill_benches::DiscardingDatabase;
use feedmill_clock::{Clock, Entropy, SystemClock};
use feedmill_documents::containers;
use feedmill_local_store::LocalStore;
use feedmill_outbox::{Lifetime, Options, Outbox, PgPool, Relays};
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

fn main() -> Result<(), Failure> {
    let Some(postgres) = Postgres::own("outbox") else { return Ok(()) };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(measure(&postgres.database()))?;
    println!(
        "{:>8}{:>8}{:>14}{:>14}{:>14}{:>8}{:>8}",
        "keys", "relays", "SQL alone/s", "no store/s", "memory/s", "ratio", "ratio"
    );
    for row in &report {
        let number = |field: &str| row[field].as_f64().unwrap_or(f64::NAN);
        let ratio = |field: &str| format!("{:.0}%", 100.0 * number(field) / number("sql_per_second"));
        println!(
            "{:>8}{:>8}{:>14.0}{:>14.0}{:>14.0}{:>8}{:>8}",
            row["keys"],
            row["relays"],
            number("sql_per_second"),
            number("discarded_per_second"),
            number("stored_per_second"),
            ratio("discarded_per_second"),
            ratio("stored_per_second")
        );
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench/outbox.json");
    std::fs::create_dir_all(path.parent().ok_or("the report has a folder")?)?;
    std::fs::write(&path, serde_json::to_vec_pretty(&json!({ "events": EVENTS, "runs": report }))?)?;
    println!("\nas JSON: target/bench/outbox.json");
    Ok(())
}

async fn measure(url: &str) -> Result<Vec<Value>, Failure> {
    let pool = feedmill_outbox::connect(url, 16).await?;
    feedmill_outbox::migrate(&pool).await?;
    let mut report = Vec::new();
    for keys in KEYS {
        fill(&pool, keys).await?;
        for relays in RELAYS {
            eprintln!("measuring {keys} keys with {relays} at a time …");
            let options = Options { relays, ..Options::default() };
            let sql = timed(&pool, drain_by_sql(&pool, &options)).await?;
            let memory = memory().await?;
            let discarding: Arc<dyn Database> = Arc::new(DiscardingDatabase(Arc::clone(&memory)));
            let discarded = timed(&pool, drain(&pool, &options, &discarding)).await?;
            let stored = timed(&pool, drain(&pool, &options, &memory)).await?;
            report.push(json!({
                "keys": keys, "relays": relays, "batch_rows": options.batch_rows_max, "sql_per_second": sql,
                "discarded_per_second": discarded, "stored_per_second": stored,
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
    Ok(())
}

/// Events a second, from an outbox in which all of them wait; fails when any still does.
async fn timed(pool: &PgPool, draining: impl Future<Output = Result<(), Failure>>) -> Result<f64, Failure> {
    sqlx::query("UPDATE outbox SET processed_at = NULL").execute(pool).await?;
    // What an earlier drain left behind must not be this one's burden.
    sqlx::raw_sql("VACUUM FULL ANALYZE outbox").execute(pool).await?;
    let began = SystemClock.monotonic();
    draining.await?;
    let seconds = SystemClock.monotonic().since(began).as_secs_f64();
    let left: i64 =
        sqlx::query_scalar("SELECT count(*) FROM outbox WHERE processed_at IS NULL").fetch_one(pool).await?;
    if left > 0 { Err(format!("{left} events still wait").into()) } else { Ok(EVENTS as f64 / seconds) }
}

async fn memory() -> Result<Arc<dyn Database>, Failure> {
    let store = LocalStore::memory(feedmill_local_store::Options::default(), Arc::new(SystemClock));
    let database = store.database("bench").await?;
    for spec in containers::all(4) {
        database.provision(&spec).await?;
    }
    Ok(database)
}

async fn drain(pool: &PgPool, options: &Options, database: &Arc<dyn Database>) -> Result<(), Failure> {
    let outbox = Outbox::open(pool.clone(), options.clone(), Arc::new(SystemClock)).await?;
    let relays = Relays::new(&outbox, database, &Entropy::seeded(1));
    relays.run(Lifetime::UntilDrained, CancellationToken::new()).await?;
    Ok(())
}

async fn drain_by_sql(pool: &PgPool, options: &Options) -> Result<(), Failure> {
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
    Ok(())
}
