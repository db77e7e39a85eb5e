//! Which changes a processor has not settled yet, as its stored leases say: what is in flight.

use std::collections::BTreeSet;

use feedmill_store_api::{
    Container, Database, Document, ETag, Error, ErrorKind, FeedRange, FeedStart, PageRequest, PartitionKey, ReadLevel,
    Result, Scope,
};
use serde::Deserialize;

use crate::Difference;
use crate::lease::{Stored, lease_prefix, parts};
use crate::limits::LISTING_ITEMS;
use crate::listing::ids_beginning_with;
use crate::worker::KeyPaths;

/// Changes of one source that one processor has yet to settle.
#[derive(Clone, Debug, Default)]
pub struct Backlog {
    ids: BTreeSet<String>,
    keys: BTreeSet<PartitionKey>,
    /// There are more than were read, or nobody knows.
    more: bool,
}

/// Changes that wait and that somebody asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    pub changes: u64,
    /// There may be others: more wait than were read, or the processor has never run.
    pub unknown: bool,
}

#[derive(Deserialize)]
struct Named {
    id: String,
}

impl Waiting {
    /// Reads the feed from every lease on, `changes_max` changes at most; counts those whose document is wanted.
    pub async fn of(
        database: &dyn Database,
        leases: &str,
        (processor, source): (&str, &str),
        changes_max: usize,
        is_wanted: impl Fn(&[u8]) -> bool + Send + Sync,
    ) -> Result<Self> {
        let mut changes = 0;
        let see = |body: &[u8]| changes += u64::from(is_wanted(body));
        let all = walk(database, leases, processor, source, changes_max, see).await?;
        Ok(Self { changes, unknown: !all })
    }
}

/// Shows every change behind the leases of a processor. False where there are more than `changes_max`, and where it has no
/// leases: who has never run has everything before it.
async fn walk(
    database: &dyn Database,
    leases: &str,
    processor: &str,
    source: &str,
    changes_max: usize,
    mut see: impl FnMut(&[u8]) + Send,
) -> Result<bool> {
    let source = database.container(source).await?;
    let leases = database.container(leases).await?;
    let prefix = lease_prefix(processor, database.host(), database.rid(), source.rid());
    let query = ids_beginning_with(format!("{prefix}.."));
    let (mut request, mut places) = (PageRequest::first(LISTING_ITEMS), Vec::new());
    loop {
        let page = leases.query(&Scope::Container, &query, &request, &ReadLevel::Quorum).await?;
        for lease in page.items {
            let Stored { lease, .. } = Stored::parse(&Document { etag: ETag::new(""), body: lease })
                .map_err(|error| Error::new(ErrorKind::Corrupt, "read a lease").with_source(error))?;
            places.push((lease.range().clone(), lease.start().unwrap_or(FeedStart::Beginning)));
        }
        match page.continuation {
            Some(continuation) => request.continuation = Some(continuation),
            None => break,
        }
    }
    let (mut room, mut all) = (changes_max, true);
    for (range, start) in &places {
        let mut left = vec![range.clone()];
        while let Some(part) = left.pop() {
            match walk_range(&*source, &part, start, &mut room, &mut see).await {
                Ok(ended) => all &= ended,
                Err(error) if error.kind() == ErrorKind::Gone => {
                    let parts = parts(&part, &source.feed_ranges().await?);
                    if parts.len() < 2 {
                        return Err(error);
                    }
                    // Parts that have leases are walked with these; the whole stays a while where its removal was interrupted.
                    let is_walked = |part: &FeedRange| {
                        let mut ranges = places.iter().map(|(range, _)| range);
                        ranges.any(|other| other != range && range.contains(other) && other.contains(part))
                    };
                    left.extend(parts.into_iter().filter(|part| !is_walked(part)));
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(all && !places.is_empty())
}

/// Whether it came to the end.
async fn walk_range(
    source: &dyn Container,
    range: &FeedRange,
    start: &FeedStart,
    room: &mut usize,
    see: &mut (impl FnMut(&[u8]) + Send),
) -> Result<bool> {
    let mut start = start.clone();
    while *room > 0 {
        let page = source.read_page(range, &start, LISTING_ITEMS).await?;
        if page.changes.is_empty() {
            return Ok(true);
        }
        *room = room.saturating_sub(page.changes.len());
        page.changes.iter().for_each(|change| see(&change.body));
        start = start.after(page.position);
    }
    Ok(false)
}

impl Backlog {
    /// Reads the feed from every lease on, `changes_max` changes at most.
    pub async fn of(
        database: &dyn Database,
        leases: &str,
        processor: &str,
        source: &str,
        changes_max: usize,
    ) -> Result<Self> {
        let container = database.container(source).await?;
        let keys = KeyPaths::new(container.partition_key_paths());
        let mut backlog = Self::default();
        let see = |body: &[u8]| {
            backlog.ids.extend(serde_json::from_slice::<Named>(body).ok().map(|named| named.id));
            backlog.keys.extend(keys.of(body).ok());
        };
        backlog.more = !walk(database, leases, processor, source, changes_max, see).await?;
        Ok(backlog)
    }

    pub fn is_empty(&self) -> bool {
        !self.more && self.ids.is_empty()
    }

    /// Whether a change that is still to be settled may make up the difference: one of a source of the target, of work
    /// for one, or of the target's own key where it is a count.
    pub fn may_explain(&self, difference: &Difference) -> bool {
        let of_source = |id: &str| {
            let work = format!("{id}:");
            self.ids.contains(id) || self.ids.range(work.clone()..).next().is_some_and(|next| next.starts_with(&work))
        };
        self.more
            || difference.sources.iter().any(|source| of_source(&source.1))
            || difference.sources.is_empty() && self.keys.contains(&difference.address.key)
    }
}
