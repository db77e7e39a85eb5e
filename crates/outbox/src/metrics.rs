//! What the relay reports. Labels: `topic`, as bounded as the configured routes are.

/// Events that reached their document, by topic and outcome (`written`, `superseded`).
pub const RELAYED: &str = "feedmill_outbox_events_relayed_total";
/// Attempts that failed by an event's own fault, by topic.
pub const FAILED: &str = "feedmill_outbox_events_failed_total";
/// Events that used up their retries, by topic.
pub const DEAD: &str = "feedmill_outbox_events_dead_total";
/// Attempts put off because a store was throttled or away, by topic.
pub const DEFERRED: &str = "feedmill_outbox_events_deferred_total";
/// Seconds from an event's insertion to its mark.
pub const LAG: &str = "feedmill_outbox_relay_lag_seconds";
/// Age in seconds of the oldest event that waits and is not dead, 0 where none does: how far the documents are behind. Gauge.
pub const REPLICATION_LAG: &str = "feedmill_outbox_replication_lag_seconds";
/// Events that wait, dead ones included; counted up to 100,000. Gauge.
pub const PENDING: &str = "feedmill_outbox_pending_events";
/// Seconds from claim to commit of one batch.
pub const BATCH: &str = "feedmill_outbox_batch_seconds";
/// Batches lost to a failure of PostgreSQL.
pub const LOST: &str = "feedmill_outbox_batches_lost_total";
/// Relayed events removed by retention.
pub const REMOVED: &str = "feedmill_outbox_events_removed_total";
/// Request units (hundredths, because a counter holds whole numbers).
pub const CHARGE: &str = "feedmill_outbox_request_units_hundredths_total";
