//! The loop: claim, publish, mark.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::{Entropy, Monotonic};
use feedmill_store_api::Database;
use parking_lot::Mutex;
use sqlx::{AssertSqlSafe, PgConnection};
use tokio_util::sync::CancellationToken;

use crate::claim::{Claim, Event, OneOf};
use crate::error::Attempted;
use crate::mark::{Mark, Postponed};
use crate::progress::{Progress, Spent, Step, Summary};
use crate::publish::{Published, Publisher};
use crate::retry::{self, Next};
use crate::send::Verdict;
use crate::wake::Wake;
use crate::{Error, Lifetime, Outbox, metrics, mirror};

/// The first wait of an outage; doubled up to `outage_wait_max`.
const OUTAGE_WAIT_FIRST: Duration = Duration::from_millis(500);

/// The first wait of a relay that found nothing to take; doubled up to `poll`. What other relays held is soon free again, and
/// nobody says so.
const IDLE_FIRST: Duration = Duration::from_millis(5);

/// How much longer than `publish_max` a claim may stand still before the server ends it. A relay that froze then holds up
/// nobody; what it still writes is harmless, because an older version never wins.
const CLAIM_GRACE: Duration = Duration::from_secs(30);

/// Carries events to documents. Any number may share an outbox, in one process or many.
///
/// Dropping a future of it at any time is safe: what was written and not marked is written again.
pub struct Relay {
    outbox: Outbox,
    publisher: Publisher,
    entropy: Entropy,
    /// Its own, kept from batch to batch. Who abandons a batch leaves none, and the server ends the claim with it.
    connection: Mutex<Option<PgConnection>>,
    claim: Claim,
    mark: Mark,
    first_waits: String,
    progress: Progress,
}

impl Relay {
    pub fn new(outbox: Outbox, database: Arc<dyn Database>, entropy: Entropy) -> Self {
        Self::one_of(OneOf { number: 0, relays: 1 }, outbox, database, entropy)
    }

    pub(crate) fn one_of(one_of: OneOf, outbox: Outbox, database: Arc<dyn Database>, entropy: Entropy) -> Self {
        let (table, options) = (&outbox.table, &outbox.options);
        let (claim, mark) = (Claim::new(table, options.on_dead, one_of), Mark::new(table));
        let publisher = Publisher::new(database, outbox.clock.clone(), options.clone());
        let first_waits = format!(
            "SELECT EXISTS (SELECT FROM {name} AS o
             WHERE o.{processed_at} IS NULL AND NOT ({dead})
               AND NOT (o.{retry_count} > 0 AND coalesce(o.{next_retry_at} > to_timestamp($1), false))
               AND o.{sequence} = (SELECT min(e.{sequence}) FROM {name} AS e
                                   WHERE e.{partition_key} = o.{partition_key} AND e.{processed_at} IS NULL {passed}))",
            name = table.name,
            processed_at = table.processed_at,
            dead = table.dead("o"),
            retry_count = table.retry_count,
            next_retry_at = table.next_retry_at,
            sequence = table.sequence,
            partition_key = table.partition_key,
            passed = match options.on_dead {
                crate::OnDead::Hold => String::new(),
                crate::OnDead::Pass => format!("AND NOT ({})", table.dead("e")),
            },
        );
        Self {
            outbox,
            publisher,
            entropy,
            connection: Mutex::default(),
            claim,
            mark,
            first_waits,
            progress: Progress::default(),
        }
    }

    pub fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Relays until `lifetime` ends or `stop` is cancelled; a batch in hand is finished first, within `publish_max`.
    ///
    /// Outages of PostgreSQL and of the store are waited out. Fails when the database refuses for good: a missing column
    /// or permission.
    pub async fn run(&self, lifetime: Lifetime, stop: CancellationToken) -> Result<Summary, Error> {
        let (clock, options) = (&self.outbox.clock, &self.outbox.options);
        let wake = Wake::start(&self.outbox.pool, &options.listen, clock);
        let end = match lifetime {
            Lifetime::For(length) => Some(clock.monotonic() + length),
            Lifetime::UntilStopped | Lifetime::UntilDrained => None,
        };
        let left = |end: Option<Monotonic>| end.map_or(Duration::MAX, |end| end.since(clock.monotonic()));
        let mut summary = Summary::default();
        let (mut outages, mut idles) = (0, 0);
        let mut swept = clock.monotonic();
        while !stop.is_cancelled() && !left(end).is_zero() {
            let turn = match self.turn(outages, lifetime, &mut swept, &mut summary).await {
                Err(error) if error.is_transient() => {
                    summary.lost += 1;
                    ::metrics::counter!(metrics::LOST).increment(1);
                    tracing::warn!(error = %error, cause = ?std::error::Error::source(&error), "batch lost");
                    Turn::Outage
                }
                turn => turn?,
            };
            self.progress.set(summary);
            outages = if turn == Turn::Outage { outages + 1 } else { 0 };
            idles = if turn == Turn::Idle { idles + 1 } else { 0 };
            let idle = match turn {
                Turn::Busy => continue,
                Turn::Drained => break,
                Turn::Idle => retry::doubled(IDLE_FIRST, idles - 1, options.poll),
                Turn::Outage => self.outage_wait(outages - 1),
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                // New events change nothing about an outage.
                () = wake.woken(), if turn == Turn::Idle => {}
                () = clock.sleep(idle.min(left(end))) => {}
            }
        }
        Ok(summary)
    }

    async fn turn(
        &self,
        outages: u32,
        lifetime: Lifetime,
        swept: &mut Monotonic,
        summary: &mut Summary,
    ) -> Result<Turn, Error> {
        let (step, spent) = self.batch(outages).await?;
        summary.batches += u64::from(step.claimed > 0);
        summary.total += step;
        summary.spent += spent;
        let options = &self.outbox.options;
        let now = self.outbox.clock.monotonic();
        if now.since(*swept) >= options.retention_every {
            let removed = self.outbox.sweep().await?;
            summary.removed += removed;
            if removed < u64::from(options.retention_rows_max) {
                *swept = now;
            }
        }
        Ok(if step.deferred > 0 && step.relayed == 0 {
            Turn::Outage
        } else if step.claimed > 0 {
            Turn::Busy
        } else if lifetime == Lifetime::UntilDrained && self.is_drained().await? {
            Turn::Drained
        } else {
            Turn::Idle
        })
    }

    /// Claims, publishes and marks one batch.
    pub async fn step(&self) -> Result<Step, Error> {
        let (step, _) = self.batch(0).await?;
        Ok(step)
    }

    async fn batch(&self, outages: u32) -> Result<(Step, Spent), Error> {
        let (clock, options) = (&self.outbox.clock, &self.outbox.options);
        let begun = clock.monotonic();
        let attempt = || "begin a claim".to_owned();
        let kept = self.connection.lock().take();
        let mut connection = match kept {
            Some(connection) => connection,
            None => self.outbox.connect_to_claim().await.attempted(attempt)?,
        };
        let begin = self.outbox.begin_claim(&mut connection, options.publish_max + CLAIM_GRACE);
        let mut claim = begin.await.attempted(attempt)?;
        let events = self.claim.take(&mut claim, self.outbox.now_seconds(), options.batch_rows_max).await?;
        let claimed = clock.monotonic();
        let mut spent = Spent { claiming: claimed.since(begun), ..Spent::default() };
        if events.is_empty() {
            claim.rollback().await.attempted(|| "end a claim of nothing".to_owned())?;
            *self.connection.lock() = Some(connection);
            return Ok((Step::default(), spent));
        }
        let mut published = self.publisher.publish(&events).await;
        let written = clock.monotonic();
        spent.writing = written.since(claimed);
        self.mirror(&mut claim, &events, &mut published).await?;
        let step = self.record(&mut claim, &events, &published, outages).await?;
        claim.commit().await.attempted(|| format!("mark a batch of {} events", events.len()))?;
        *self.connection.lock() = Some(connection);
        spent.marking = clock.monotonic().since(written);
        ::metrics::histogram!(metrics::BATCH).record((spent.claiming + spent.writing + spent.marking).as_secs_f64());
        report(&events, &published);
        Ok((step, spent))
    }

    async fn mirror(&self, claim: &mut PgConnection, events: &[Event], published: &mut Published) -> Result<(), Error> {
        let mut mirrored = Vec::new();
        let mut documents = Vec::new();
        for (index, event) in events.iter().enumerate() {
            let landed = matches!(published.verdicts[index], Some(Verdict::Landed { .. }));
            let routed = self.publisher.route(event).is_some_and(|route| route.mirror);
            if landed
                && routed
                && let Ok(prepared) = &published.prepared[index]
            {
                mirrored.push(index);
                documents.push(String::from_utf8_lossy(&prepared.body).into_owned());
            }
        }
        for (refused, why) in mirror::copy(claim, &documents).await? {
            published.verdicts[mirrored[refused]] = Some(Verdict::Failed(why));
        }
        Ok(())
    }

    async fn record(
        &self,
        claim: &mut PgConnection,
        events: &[Event],
        published: &Published,
        outages: u32,
    ) -> Result<Step, Error> {
        let now = self.outbox.now_seconds();
        let mut step = Step { claimed: events.len() as u64, ..Step::default() };
        let (mut relayed, mut postponed) = (Vec::new(), Vec::new());
        for (event, verdict) in events.iter().zip(&published.verdicts) {
            match verdict {
                None => {}
                Some(Verdict::Landed { written }) => {
                    step.relayed += 1;
                    step.written += u64::from(*written);
                    relayed.push(event.id.clone());
                }
                Some(Verdict::Failed(why)) => {
                    step.failed += 1;
                    let next = retry::next(event.retry_count, event.max_retries, &self.outbox.options, &self.entropy);
                    step.dead += u64::from(next == Next::Dead);
                    let at_seconds = match next {
                        Next::After(delay) => Some(now + delay.as_secs_f64()),
                        Next::Dead => None,
                    };
                    tracing::warn!(event = event.event_key, dead = next == Next::Dead, error = why, "event failed");
                    postponed.push(Postponed { id: event.id.clone(), at_seconds, error: why.clone(), counts: true });
                }
                Some(Verdict::Deferred { why, after }) => {
                    step.deferred += 1;
                    let delay = self.outage_wait(outages).max(*after);
                    let at_seconds = Some(now + delay.as_secs_f64());
                    postponed.push(Postponed { id: event.id.clone(), at_seconds, error: why.clone(), counts: false });
                }
            }
        }
        self.mark.relayed(claim, now, &relayed).await?;
        self.mark.postponed(claim, &postponed).await?;
        Ok(step)
    }

    fn outage_wait(&self, outages: u32) -> Duration {
        self.entropy.jitter(retry::doubled(OUTAGE_WAIT_FIRST, outages, self.outbox.options.outage_wait_max))
    }

    /// Whether nothing is left but dead letters, what waits for a retry, and what these hold up.
    async fn is_drained(&self) -> Result<bool, Error> {
        let waits: bool = sqlx::query_scalar(AssertSqlSafe(self.first_waits.as_str()))
            .bind(self.outbox.now_seconds())
            .fetch_one(&self.outbox.pool)
            .await
            .attempted(|| "look whether events wait".to_owned())?;
        Ok(!waits)
    }
}

/// What follows a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// The next batch at once.
    Busy,
    /// Until something wakes us.
    Idle,
    /// A growing wait.
    Outage,
    /// The end.
    Drained,
}

/// Counted first: a metric is looked up by its labels, and a batch has few of them.
fn report(events: &[Event], published: &Published) {
    let mut counted: BTreeMap<(&'static str, Option<&'static str>, &str), u64> = BTreeMap::new();
    let lag = ::metrics::histogram!(metrics::LAG);
    for (event, verdict) in events.iter().zip(&published.verdicts) {
        let Some(verdict) = verdict else { continue };
        let mut count = |metric, outcome| *counted.entry((metric, outcome, &event.topic)).or_default() += 1;
        match verdict {
            Verdict::Landed { written } => {
                count(metrics::RELAYED, Some(if *written { "written" } else { "superseded" }));
                lag.record(event.age_seconds);
            }
            Verdict::Failed(_) => {
                count(metrics::FAILED, None);
                if event.retry_count >= event.max_retries {
                    count(metrics::DEAD, None);
                }
            }
            Verdict::Deferred { .. } => count(metrics::DEFERRED, None),
        }
    }
    for ((metric, outcome, topic), count) in counted {
        let topic = topic.to_owned();
        match outcome {
            Some(outcome) => ::metrics::counter!(metric, "topic" => topic, "outcome" => outcome),
            None => ::metrics::counter!(metric, "topic" => topic),
        }
        .increment(count);
    }
}
