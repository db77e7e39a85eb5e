//! When a target is written, and when it is left alone.

use feedmill_store_api::{Document, Operation};
use jiff::Timestamp;

use super::desired::{Basis, Desired, Expiry};
use super::envelope::{self, Stored, StoredCount};
use super::options::Options;
use super::projection::Address;
use super::settler::SettleError;
use crate::protection::Protection;

/// Cosmos stores `ttl` as a signed 32-bit number of seconds.
const TTL_SECONDS_MAX: i64 = i32::MAX as i64;

/// What else a decision depends on.
pub(super) struct Context<'a> {
    pub(super) key_field: &'a str,
    pub(super) options: &'a Options,
    pub(super) now: Timestamp,
    /// Writes also what was made from the same sources.
    pub(super) repair: bool,
}

/// The write that makes `current` what it should be, on the condition that it is still the current one; `None` when
/// nothing is written.
pub(super) fn write(
    context: &Context<'_>,
    address: Address,
    desired: &Desired,
    current: Option<&Document>,
) -> Result<Option<Operation>, SettleError> {
    if let (Desired::Document { expires: Expiry::At(at), .. }, None) = (desired, current)
        && *at <= context.now
    {
        // What nobody would ever see creates nothing.
        return Ok(None);
    }
    let basis = match desired {
        Desired::Document { basis, .. } | Desired::Absent { basis, .. } => basis,
        Desired::Leave => return Ok(None),
    };
    if let Some(current) = current
        && (is_newer(basis, current)? || !context.repair && is_done(basis, current)?)
    {
        return Ok(None);
    }
    if is_taken_for_done(desired, current) {
        return Ok(None);
    }
    let body = match desired {
        Desired::Document { fields, expires, basis } => {
            envelope::document(&address, context.key_field, fields, basis, ttl(*expires, context.now))
        }
        Desired::Absent { deleted_at, basis } => {
            let ttl = seconds(context.options.tombstone_ttl.as_secs().try_into().unwrap_or(TTL_SECONDS_MAX));
            envelope::tombstone(&address, context.key_field, *deleted_at, basis, ttl)
        }
        Desired::Leave => return Ok(None),
    };
    let body = body.map_err(|error| SettleError::Invalid(format!("write {} as JSON: {error}", address.id)))?;
    let id = address.id;
    if !Protection::WriteCondition.holds() {
        return Ok(Some(Operation::Upsert { id, body }));
    }
    Ok(Some(match current {
        None => Operation::Create { id, body },
        Some(current) => Operation::Replace { id, body, if_match: Some(current.etag.clone()) },
    }))
}

/// What simpler rules would leave alone: what looks as it should, by whatever sources. Never, while all rules hold.
fn is_taken_for_done(desired: &Desired, current: Option<&Document>) -> bool {
    let contains = |text: &str| {
        current.is_some_and(|current| std::str::from_utf8(&current.body).is_ok_and(|body| body.contains(text)))
    };
    match (desired, current) {
        (Desired::Absent { .. }, None) => !Protection::TombstoneWhereNothingWas.holds(),
        (Desired::Absent { .. }, Some(_)) => !Protection::ExactSkip.holds() && contains("\"deletedAt\""),
        (Desired::Document { fields, basis: Basis::Sources { .. }, .. }, Some(_)) => {
            !Protection::ExactSkip.holds() && contains(fields.as_str())
        }
        (Desired::Document { fields, basis: Basis::Count { .. }, .. }, Some(_)) => {
            !Protection::AsOf.holds() && contains(fields.as_str())
        }
        _ => false,
    }
}

/// Whether a newer revision made it.
fn is_newer(basis: &Basis, current: &Document) -> Result<bool, SettleError> {
    let Basis::Sources { rev, .. } = basis else { return Ok(false) };
    if !Protection::Revision.holds() {
        return Ok(false);
    }
    Ok(current.parse::<Stored>()?.source.is_some_and(|source| source.rev > *rev))
}

/// Whether `current` was made from the very sources that `desired` was computed from.
pub(super) fn is_settled(desired: &Desired, current: &Document) -> Result<bool, SettleError> {
    match desired {
        Desired::Document { basis, .. } | Desired::Absent { basis, .. } => is_done(basis, current),
        Desired::Leave => Ok(false),
    }
}

/// Whether the stored target is what these sources make, or what a newer revision made.
///
/// Equal content is not enough, and neither is absence: an older settle may still have a write in the air on the same
/// etag. Only a target that names exactly these sources, none of them missing, proves that nobody older comes after.
pub(super) fn is_done(basis: &Basis, current: &Document) -> Result<bool, SettleError> {
    Ok(match basis {
        Basis::Sources { rev, sources } => current.parse::<Stored>()?.source.is_some_and(|source| {
            let complete = sources.iter().all(|source| source.2.is_some());
            if !Protection::Revision.holds() {
                return complete && source.from == *sources;
            }
            source.rev > *rev || (complete && source.rev == *rev && source.from == *sources)
        }),
        Basis::Count { container_rid, lsn } => {
            let stored: StoredCount<'_> = current.parse()?;
            stored.as_of.is_some_and(|as_of| as_of.container == **container_rid && as_of.lsn >= *lsn)
        }
    })
}

fn ttl(expires: Expiry, now: Timestamp) -> Option<i32> {
    match expires {
        Expiry::ContainerDefault => None,
        Expiry::Never => Some(-1),
        // Rounded up, and at least a second: zero is refused, and readers go by `expiresAt`.
        Expiry::At(at) => Some(seconds(
            at.duration_since(now)
                .as_millis()
                .div_euclid(1_000)
                .try_into()
                .map_or(TTL_SECONDS_MAX, |seconds: i64| seconds.saturating_add(1)),
        )),
        Expiry::Seconds(seconds) => Some(self::seconds(seconds.into())),
    }
}

fn seconds(seconds: i64) -> i32 {
    i32::try_from(seconds.clamp(1, TTL_SECONDS_MAX)).expect("clamped to what fits")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use feedmill_store_api::{DocumentId, ETag, PartitionKey};

    use super::super::desired::{Fields, SourceRef};
    use super::*;

    fn basis(rev: u32, etags: &[Option<&str>]) -> Basis {
        let source = |etag: &Option<&str>| SourceRef("posts".into(), "1".into(), etag.map(ETag::new));
        Basis::Sources { rev, sources: etags.iter().map(source).collect() }
    }

    fn decide(basis: Basis, current: Option<&Document>) -> Option<Operation> {
        let options = Options::default();
        let context = Context { key_field: "k", options: &options, now: Timestamp::UNIX_EPOCH, repair: false };
        let fields = Fields::of(&serde_json::json!({"value": 1})).unwrap();
        let desired = Desired::Document { fields, expires: Expiry::ContainerDefault, basis };
        let address = Address { key: PartitionKey::from("k"), id: DocumentId::new("k:1").unwrap() };
        write(&context, address, &desired, current).unwrap()
    }

    fn stored(operation: Option<Operation>) -> Document {
        match operation {
            Some(Operation::Create { body, .. } | Operation::Replace { body, .. }) => {
                Document { etag: ETag::new("\"t1\""), body }
            }
            other => panic!("expected a write, got {other:?}"),
        }
    }

    #[test]
    fn the_same_sources_and_revision_write_nothing() {
        let current = stored(decide(basis(1, &[Some("a"), Some("b")]), None));
        assert!(decide(basis(1, &[Some("a"), Some("b")]), Some(&current)).is_none());
    }

    #[test]
    fn another_source_version_replaces_on_the_etag_that_was_read() {
        let current = stored(decide(basis(1, &[Some("a"), Some("b")]), None));
        let written = decide(basis(1, &[Some("a"), Some("c")]), Some(&current));
        assert!(matches!(written, Some(Operation::Replace { if_match: Some(etag), .. }) if etag == current.etag));
    }

    #[test]
    fn equal_content_is_written_all_the_same_when_a_source_was_missing() {
        let current = stored(decide(basis(1, &[Some("a"), None]), None));
        assert!(decide(basis(1, &[Some("a"), None]), Some(&current)).is_some());
    }

    #[test]
    fn an_older_revision_does_not_replace_a_newer_ones_document() {
        let current = stored(decide(basis(2, &[Some("a")]), None));
        assert!(decide(basis(1, &[Some("b")]), Some(&current)).is_none());
        assert!(decide(basis(3, &[Some("a")]), Some(&current)).is_some());
    }

    #[test]
    fn a_repair_writes_what_looks_settled_but_for_what_a_newer_revision_made() {
        let options = Options::default();
        let context = Context { key_field: "k", options: &options, now: Timestamp::UNIX_EPOCH, repair: true };
        let fields = Fields::of(&serde_json::json!({"value": 1})).unwrap();
        let desired = Desired::Document { fields, expires: Expiry::ContainerDefault, basis: basis(1, &[Some("a")]) };
        let address = Address { key: PartitionKey::from("k"), id: DocumentId::new("k:1").unwrap() };
        for (rev, written) in [(1, true), (2, false)] {
            let current = stored(decide(basis(rev, &[Some("a")]), None));
            assert_eq!(write(&context, address.clone(), &desired, Some(&current)).unwrap().is_some(), written);
        }
    }

    #[test]
    fn a_count_is_done_only_for_changes_it_was_counted_for() {
        let count = |rid: &str, lsn| Basis::Count { container_rid: rid.into(), lsn };
        let current = stored(decide(count("r", 5), None));
        assert!(decide(count("r", 5), Some(&current)).is_none());
        assert!(decide(count("r", 4), Some(&current)).is_none());
        assert!(decide(count("r", 6), Some(&current)).is_some());
        assert!(decide(count("other", 5), Some(&current)).is_some());
    }

    #[test]
    fn a_document_nobody_settled_is_replaced() {
        let foreign = Document { etag: ETag::new("\"x\""), body: Bytes::from_static(br#"{"id":"k:1","k":"k"}"#) };
        assert!(decide(basis(1, &[Some("a")]), Some(&foreign)).is_some());
    }

    #[test]
    fn what_has_expired_already_creates_nothing_but_still_corrects_what_is_there() {
        let options = Options::default();
        let context = Context { key_field: "k", options: &options, now: Timestamp::UNIX_EPOCH, repair: false };
        let fields = Fields::of(&serde_json::json!({"value": 1})).unwrap();
        let desired =
            Desired::Document { fields, expires: Expiry::At(Timestamp::UNIX_EPOCH), basis: basis(1, &[Some("b")]) };
        let address = Address { key: PartitionKey::from("k"), id: DocumentId::new("k:1").unwrap() };
        assert!(write(&context, address.clone(), &desired, None).unwrap().is_none());
        let current = stored(decide(basis(1, &[Some("a")]), None));
        assert!(write(&context, address, &desired, Some(&current)).unwrap().is_some());
    }

    #[test]
    fn an_expiry_becomes_whole_seconds_that_the_store_accepts() {
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(ttl(Expiry::ContainerDefault, now), None);
        assert_eq!(ttl(Expiry::Never, now), Some(-1));
        assert_eq!(ttl(Expiry::At(now + Duration::from_millis(1_500)), now), Some(2));
        assert_eq!(ttl(Expiry::At(now - Duration::from_secs(9)), now), Some(1));
        assert_eq!(ttl(Expiry::Seconds(0), now), Some(1));
        assert_eq!(ttl(Expiry::At(Timestamp::MAX), now), Some(i32::MAX));
    }
}
