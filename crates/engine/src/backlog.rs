//! Which changes a processor has not settled yet, as its stored leases say: what is in flight.

use std::collections::BTreeSet;

use feedmill_store_api::{
    Container, Database, Document, ETag, Error, ErrorKind, FeedStart, PageRequest, PartitionKey, ReadLevel, Result,
    Scope,
};
use serde::Deserialize;

use crate::Difference;
use crate::lease::{LeaseDocument, Stored, lease_prefix};
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

#[derive(Deserialize)]
struct Named {
    id: String,
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
        let source = database.container(source).await?;
        let leases = database.container(leases).await?;
        let prefix = lease_prefix(processor, database.host(), database.rid(), source.rid());
        let query = ids_beginning_with(format!("{prefix}.."));
        let mut backlog = Self::default();
        let (mut request, mut room, mut found) = (PageRequest::first(LISTING_ITEMS), changes_max, false);
        loop {
            let page = leases.query(&Scope::Container, &query, &request, &ReadLevel::Quorum).await?;
            for lease in page.items {
                let Stored { lease, .. } = Stored::parse(&Document { etag: ETag::new(""), body: lease })
                    .map_err(|error| Error::new(ErrorKind::Corrupt, "read a lease").with_source(error))?;
                found = true;
                backlog.read(&*source, &lease, &mut room).await?;
            }
            match page.continuation {
                Some(continuation) => request.continuation = Some(continuation),
                None => break,
            }
        }
        // Who has never run has everything before it.
        backlog.more |= !found;
        Ok(backlog)
    }

    async fn read(&mut self, source: &dyn Container, lease: &LeaseDocument, room: &mut usize) -> Result<()> {
        let keys = KeyPaths::new(source.partition_key_paths());
        let mut start = lease.start().unwrap_or(FeedStart::Beginning);
        while *room > 0 {
            let page = match source.read_page(lease.range(), &start, LISTING_ITEMS).await {
                Ok(page) => page,
                // It was split, and its parts have no leases yet.
                Err(error) if error.kind() == ErrorKind::Gone => break,
                Err(error) => return Err(error),
            };
            if page.changes.is_empty() {
                return Ok(());
            }
            *room = room.saturating_sub(page.changes.len());
            for change in &page.changes {
                self.ids.extend(serde_json::from_slice::<Named>(&change.body).ok().map(|named| named.id));
                self.keys.extend(keys.of(&change.body).ok());
            }
            start = start.after(page.position);
        }
        self.more = true;
        Ok(())
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
