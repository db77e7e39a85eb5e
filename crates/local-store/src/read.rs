use std::io::Write as _;

use bytes::Bytes;
use feedmill_store_api::{Document, DocumentId, Error, PartitionKey, ReadLevel, RequestCharge, limits};

use crate::container::Core;
use crate::epk::EffectiveKey;
use crate::error::{corrupt, invalid, unavailable};
use crate::keys::{self, Bucket, Pointer, Record, Version};
use crate::rid;
use crate::storage::{Table, Value, View};

/// Several documents of one key, as they were at one moment.
pub(crate) fn read(
    core: &Core,
    key: &PartitionKey,
    ids: &[DocumentId],
    level: &ReadLevel,
) -> Result<(Vec<Option<Document>>, RequestCharge), Error> {
    let (count, max) = (ids.len(), limits::BATCH_OPERATIONS_MAX);
    if count > max {
        return Err(invalid(format!("read {count} documents of {} at once: at most {max}", core.name())));
    }
    let effective_key = core.effective_key(key)?;
    let now_seconds = core.now_seconds();
    let view = core.shard.view();
    let mut documents = Vec::with_capacity(ids.len());
    for id in ids {
        documents.push(find(core, &*view, &effective_key, id, now_seconds)?);
    }
    let bytes = documents.iter().map(|found: &Option<Document>| found.as_ref().map(|document| document.body.len()));
    let charge = core.charge().read_many(bytes, level);
    Ok((documents, charge))
}

fn find(
    core: &Core,
    view: &dyn View,
    effective_key: &EffectiveKey,
    id: &DocumentId,
    now_seconds: i64,
) -> Result<Option<Document>, Error> {
    let damaged = || corrupt(format!("read {id} in {}", core.name()));
    let found = view.get(Table::Documents, &keys::document(effective_key, id.as_str()));
    let Some(found) = found.map_err(|failure| unavailable(&failure))? else { return Ok(None) };
    let pointer = Pointer::decode(&found).ok_or_else(damaged)?;
    if !pointer.is_live(now_seconds) {
        return Ok(None);
    }
    let version_key = keys::version(core.buckets.of(effective_key), pointer.version);
    let stored = view.get(Table::Versions, &version_key).map_err(|failure| unavailable(&failure))?;
    let record = stored.as_deref().and_then(|bytes| Record::decode(bytes, effective_key.len()));
    let record = record.ok_or_else(damaged)?;
    let body = render(core, pointer.version, &record);
    Ok(Some(Document { etag: pointer.version.etag(), body }))
}

/// The bytes of a version that must be there.
pub(crate) fn stored<'v>(
    core: &Core,
    view: &'v dyn View,
    bucket: Bucket,
    version: Version,
) -> Result<Value<'v>, Error> {
    let found = view.get(Table::Versions, &keys::version(bucket, version));
    found.map_err(|failure| unavailable(&failure))?.ok_or_else(|| missing(core, version))
}

/// What [`stored`] has found.
pub(crate) fn record<'s>(core: &Core, stored: &'s [u8], version: Version) -> Result<Record<'s>, Error> {
    Record::decode(stored, core.schema.effective_key_bytes()).ok_or_else(|| missing(core, version))
}

fn missing(core: &Core, version: Version) -> Error {
    corrupt(format!("read version {:x} in {}", version.0, core.name()))
}

/// What [`render`] puts in.
pub(crate) const RENDERED_FIELDS: [&str; 4] = ["_rid", "_self", "_etag", "_ts"];

/// A stored body with the fields that are the store's own.
pub(crate) fn render(core: &Core, version: Version, record: &Record<'_>) -> Bytes {
    let document = rid::document(core.database_id, core.id, record.created.0);
    let (database, container) = (&core.database_rid, &core.rid);
    let open = record.body.strip_suffix(b"}").unwrap_or(record.body);
    let mut body = Vec::with_capacity(record.body.len() + 160);
    body.extend(open);
    // An object without members cannot be stored: a document has at least its id.
    let appended = write!(
        body,
        r#","_rid":"{document}","_self":"dbs/{database}/colls/{container}/docs/{document}/","_etag":"\"{:x}\"","_ts":{}}}"#,
        version.0, record.timestamp_seconds,
    );
    debug_assert!(appended.is_ok(), "writing to memory does not fail");
    Bytes::from(body)
}
