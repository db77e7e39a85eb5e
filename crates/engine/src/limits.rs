//! Bounds that are not options: each with its reason.

use std::time::Duration;

use feedmill_store_api::limits::{ID_BYTES_MAX, ITEM_BYTES_MAX};

/// Bytes of the error text in a dead letter. Long enough for a reason, short enough to list thousands.
pub(crate) const LETTER_ERROR_BYTES_MAX: usize = 4 * 1024;
/// Bytes of the source document in a dead letter; a larger one is left out.
pub(crate) const LETTER_DOCUMENT_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of a dead letter's id before its tail is replaced by a hash.
pub(crate) const LETTER_ID_BYTES_MAX: usize = 900;
/// Hexadecimal digits of that hash, and the character before them.
pub(crate) const LETTER_ID_HASH_BYTES: usize = 17;
/// Dead letters or leases of one page of a listing.
pub(crate) const LISTING_ITEMS: usize = 500;
/// Times in a row that a worker may break without settling a page before its range halts. A bug that breaks it again
/// each time would otherwise keep a job from ever ending.
pub(crate) const RESTARTS_MAX: u32 = 5;
/// Longest wait before a key whose changes gather is handled again, unless the handling before the last one took as long. How
/// long a handling takes is its cost only while nothing else holds it up: behind a frozen host or a store that does not
/// answer, a multiple of it would be hours.
pub(crate) const GATHER_PAUSE_DOUBTED_MAX: Duration = Duration::from_secs(60);
/// Longest wait of all: a count of three minutes still costs no more than a twentieth of the time.
pub(crate) const GATHER_PAUSE_MAX: Duration = Duration::from_secs(60 * 60);

/// A worker's loop goes round at least this often, also where it has nothing to do: a probe takes one that stands still for hung.
pub(crate) const TURN_INTERVAL: Duration = Duration::from_secs(15);

/// A host that was not heard of sends nothing from this long before others may count it as dead: what is on its way then
/// has arrived before they act.
pub(crate) const FENCE_BEFORE_EXPIRY: Duration = Duration::from_secs(2);
/// Leases of one physical partition: beyond that each has a thousandth of what a partition can take, and only costs polls.
pub(crate) const RANGES_PER_PARTITION_MAX: usize = 1_000;
/// Leases that are being taken at the same time.
pub(crate) const TAKING_AT_ONCE: usize = 32;
/// Changes of the lease container read at once.
pub(crate) const FOLLOW_ITEMS: usize = 1_000;
/// Leases of one host whose weight is announced, the heaviest: bounds the heartbeat document.
pub(crate) const WEIGHTS_ANNOUNCED_MAX: usize = 500;
/// How often a host looks for leases that are being handed to it: most of the time without progress of a planned move.
pub(crate) const EXPECTING_INTERVAL: Duration = Duration::from_millis(250);
/// How long it looks that often. A giver that drains for longer is met at a heartbeat.
pub(crate) const EXPECTING_MAX: Duration = Duration::from_secs(30);
/// Expiries of shared leases are no shorter: a lease is renewed three times before it expires, and its worker stops 2 s before.
pub(crate) const SHARED_EXPIRY_MIN: Duration = Duration::from_secs(15);
/// Attempts at a write of a shared lease that others wrote in between without taking it, as with .NET.
pub(crate) const SHARED_ATTEMPTS_MAX: u32 = 6;
/// Life of the bootstrap's lock where its container lets documents expire, as with .NET.
pub(crate) const BOOTSTRAP_LOCK_TTL_SECONDS: u32 = 30;
/// A lock that is older is a crashed host's. Longer than its life, because clocks differ.
pub(crate) const BOOTSTRAP_LOCK_MAX: Duration = Duration::from_secs(60);
/// Between two looks whether the bootstrap of another is over, as with .NET.
pub(crate) const BOOTSTRAP_WAIT: Duration = Duration::from_secs(15);
/// An owner by other rules that wrote its lease within this time lives: the expiry of the .NET processor.
pub(crate) const FOREIGN_EXPIRY: Duration = Duration::from_secs(60);

/// A dead letter stays an item the service takes: the escaped error may be six times as long, the rest is small.
const _: () = assert!(LETTER_DOCUMENT_BYTES_MAX + 6 * LETTER_ERROR_BYTES_MAX + 16 * 1024 < ITEM_BYTES_MAX);
const _: () = assert!(LETTER_ID_BYTES_MAX + LETTER_ID_HASH_BYTES <= ID_BYTES_MAX);
