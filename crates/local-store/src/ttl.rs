use std::ops::Range;

use feedmill_store_api::Error;

use crate::commit::remove_version;
use crate::container::Core;
use crate::error::{corrupt, unavailable};
use crate::history;
use crate::keys::{self, Bucket, Pointer, Version};
use crate::storage::{Batch, Direction, Table, View};

/// Expired documents that one commit takes along. Enough to outrun any writer, as a commit brings one to a hundred
/// documents of which each expires once; few enough to go unnoticed.
const PURGED_MAX: usize = 128;

pub(crate) fn expires_seconds(timestamp_seconds: i64, lives_seconds: Option<u32>) -> Option<i64> {
    lives_seconds.map(|seconds| timestamp_seconds.saturating_add(i64::from(seconds)))
}

/// Adds to `batch` the removal of some documents of these buckets that have expired by now, and gives the time
/// before which nothing more expires there. `now` is the version under which it is told, and the time. `touched` are left alone: the commit itself decides about them.
///
/// Nobody sees a difference: an expired document is gone for every reader already.
pub(crate) fn purge(
    core: &Core,
    buckets: &Range<u16>,
    view: &dyn View,
    now: (Version, i64),
    touched: impl Fn(&[u8]) -> bool,
    batch: &mut Batch,
) -> Result<Option<i64>, Error> {
    let (mut purged, mut next) = (0, None);
    for bucket in buckets.clone() {
        let at = purge_bucket(core, Bucket(bucket), view, now, &touched, &mut purged, batch)?;
        next = next.into_iter().chain(at).min();
    }
    Ok(next)
}

fn purge_bucket(
    core: &Core,
    bucket: Bucket,
    view: &dyn View,
    (version, now_seconds): (Version, i64),
    touched: impl Fn(&[u8]) -> bool,
    purged: &mut usize,
    batch: &mut Batch,
) -> Result<Option<i64>, Error> {
    let (from, to) = keys::bucket_bounds(bucket);
    let mut cursor = view.cursor(Table::Expiry, &from, &to, Direction::Forward);
    while cursor.advance().map_err(|failure| unavailable(&failure))? {
        let at = keys::expiry_of(cursor.key());
        if *purged == PURGED_MAX || at.is_none_or(|at| at > now_seconds) {
            return Ok(at);
        }
        let document = cursor.value();
        if touched(document) {
            continue;
        }
        let found = view.get(Table::Documents, document).map_err(|failure| unavailable(&failure))?;
        let pointer = found.as_deref().and_then(Pointer::decode);
        let effective_key = document.get(..core.schema.effective_key_bytes());
        let (Some(pointer), Some(effective_key)) = (pointer, effective_key) else {
            return Err(corrupt(format!("purge what has expired in {}", core.name())));
        };
        if core.history.seconds().is_some() {
            history::expire(core, view, effective_key, pointer, (version, now_seconds), batch)?;
        }
        remove_version(core, view, effective_key, pointer, &[], batch)?;
        batch.remove(Table::Documents, document.to_vec());
        *purged += 1;
    }
    Ok(None)
}
