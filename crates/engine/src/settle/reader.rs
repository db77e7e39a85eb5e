use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use feedmill_clock::Monotonic;
use feedmill_store_api::limits::POINT_READS_MAX;
use feedmill_store_api::{
    Document, DocumentId, ETag, PageRequest, PartitionKey, Query, QueryPage, ReadLevel, RequestCharge, Scope,
    SessionToken,
};
use parking_lot::Mutex;
use serde::Deserialize;

use super::settler::SettleError;
use super::tally::{ContainerTally, Tally};
use super::writer::{Opened, Writer};
use crate::Delivery;
use crate::protection::Protection;

/// Ids of one `read_many` request.
const IDS_MAX: usize = 100;
/// Results of one page when all are wanted.
const PAGE_ITEMS: usize = 1_000;

/// Reads for handlers and projections, each as fresh as settling needs it: the delivered key with the page's session
/// token, everything else as a quorum read, because a session token says nothing about another container. The sources of
/// targets that are there already are read by quorum, all of them: somebody may have settled for a later change.
pub struct Reader<'a> {
    pub(super) writer: &'a Writer,
    /// None for an operator, whose reads are all quorum reads.
    delivery: Option<&'a Delivery>,
    /// Nothing was read before.
    pub(super) made_at: Monotonic,
    tally: Mutex<Tally>,
    /// Writes so far, those too that were sent again.
    sent: AtomicU64,
}

impl<'a> Reader<'a> {
    pub(super) fn new(writer: &'a Writer, delivery: Option<&'a Delivery>) -> Self {
        Self { writer, delivery, made_at: writer.clock().monotonic(), tally: Mutex::default(), sent: AtomicU64::new(0) }
    }

    /// The document as it is now; `None` when there is none.
    pub async fn read(
        &self,
        container: &str,
        key: &PartitionKey,
        id: &DocumentId,
    ) -> Result<Option<Document>, SettleError> {
        let opened = self.writer.open(container).await?;
        let level = self.level(container, key);
        let (document, charge) = opened.container.read(key, id, &level).await?;
        self.charge_read(container, charge);
        Ok(document)
    }

    /// Any number of documents of one key, in the order of `ids`.
    pub async fn read_many(
        &self,
        container: &str,
        key: &PartitionKey,
        ids: &[DocumentId],
    ) -> Result<Vec<Option<Document>>, SettleError> {
        let opened = self.writer.open(container).await?;
        let level = self.level(container, key);
        self.read_many_at(&opened, key, ids, &level).await
    }

    /// Of any number of documents of one key those that are there, where most are not: their absence costs next to
    /// nothing. What the key has between the first id and the last is paged through.
    pub async fn read_sparse(
        &self,
        container: &str,
        key: &PartitionKey,
        ids: &[DocumentId],
    ) -> Result<BTreeMap<DocumentId, Document>, SettleError> {
        let wanted: BTreeMap<&str, &DocumentId> = ids.iter().map(|id| (id.as_str(), id)).collect();
        let mut there = BTreeMap::new();
        if wanted.len() <= POINT_READS_MAX {
            let ids: Vec<DocumentId> = wanted.into_values().cloned().collect();
            let found = self.read_many(container, key, &ids).await?;
            there.extend(ids.into_iter().zip(found).filter_map(|(id, found)| Some((id, found?))));
            return Ok(there);
        }
        let (first, last) = (wanted.keys().next().copied(), wanted.keys().next_back().copied());
        let query = Query::new("SELECT * FROM c WHERE c.id >= @first AND c.id <= @last ORDER BY c.id")
            .with("@first", first)
            .with("@last", last);
        let mut continuation = None;
        loop {
            let page = self.query(container, key, &query, PAGE_ITEMS, continuation).await?;
            for body in page.items {
                #[derive(Deserialize)]
                struct Listed {
                    id: String,
                    _etag: ETag,
                }
                let listed: Listed = serde_json::from_slice(&body).map_err(|error| {
                    SettleError::Invalid(format!("list the documents of {key} in {container}: {error}"))
                })?;
                if let Some(&id) = wanted.get(listed.id.as_str()) {
                    there.insert(id.clone(), Document { etag: listed._etag, body });
                }
            }
            continuation = page.continuation;
            if continuation.is_none() {
                return Ok(there);
            }
        }
    }

    pub(super) async fn read_many_at(
        &self,
        opened: &Opened,
        key: &PartitionKey,
        ids: &[DocumentId],
        level: &ReadLevel,
    ) -> Result<Vec<Option<Document>>, SettleError> {
        let mut documents = Vec::with_capacity(ids.len());
        for ids in ids.chunks(IDS_MAX) {
            let (found, charge) = opened.container.read_many(key, ids, level).await?;
            self.charge_read(opened.container.name(), charge);
            documents.extend(found);
        }
        Ok(documents)
    }

    /// One page of a single-partition query, at most `items_max` results.
    pub async fn query(
        &self,
        container: &str,
        key: &PartitionKey,
        query: &Query,
        items_max: usize,
        continuation: Option<String>,
    ) -> Result<QueryPage, SettleError> {
        let opened = self.writer.open(container).await?;
        let level = self.level(container, key);
        let scope = Scope::Partition(key.clone());
        let page = opened.container.query(&scope, query, &PageRequest { items_max, continuation }, &level).await?;
        self.charge_read(container, page.charge);
        Ok(page)
    }

    /// One page of a query wherever it looks, as of a quorum.
    pub(super) async fn query_in(
        &self,
        container: &str,
        scope: &Scope,
        query: &Query,
        request: &PageRequest,
    ) -> Result<QueryPage, SettleError> {
        let opened = self.writer.open(container).await?;
        let page = opened.container.query(scope, query, request, &Self::fresh()).await?;
        self.charge_read(container, page.charge);
        Ok(page)
    }

    /// All results of a single-partition query. For what is known to be small.
    pub async fn query_all(
        &self,
        container: &str,
        key: &PartitionKey,
        query: &Query,
    ) -> Result<Vec<Bytes>, SettleError> {
        let mut items = Vec::new();
        let mut continuation = None;
        loop {
            let page = self.query(container, key, query, PAGE_ITEMS, continuation).await?;
            items.extend(page.items);
            continuation = page.continuation;
            if continuation.is_none() {
                return Ok(items);
            }
        }
    }

    /// The container's resource id.
    pub async fn rid(&self, container: &str) -> Result<Arc<str>, SettleError> {
        Ok(self.writer.open(container).await?.container.rid().into())
    }

    /// Every read of it is a quorum read.
    pub(super) fn fresher(&self) -> Self {
        Self::new(self.writer, None)
    }

    /// So many writes are about to be sent. How many were before.
    pub(super) fn sends(&self, writes: usize) -> u64 {
        self.sent.fetch_add(writes as u64, Ordering::Relaxed)
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally.lock().clone()
    }

    /// Takes over what another one has read.
    pub(super) fn absorb(&self, mut other: Self) {
        self.tally.lock().add(&std::mem::take(other.tally.get_mut()));
    }

    pub(super) fn record(&self, container: &str, change: impl FnOnce(&mut ContainerTally)) {
        change(self.tally.lock().of(container));
    }

    fn charge_read(&self, container: &str, charge: RequestCharge) {
        self.record(container, |tally| tally.reads += charge);
    }

    fn level(&self, container: &str, key: &PartitionKey) -> ReadLevel {
        match self.delivery {
            Some(delivery) if *container == *delivery.container && *key == delivery.key => {
                ReadLevel::Session(delivery.session.clone())
            }
            _ => Self::fresh(),
        }
    }

    /// As new as everything that is acknowledged.
    pub(super) fn fresh() -> ReadLevel {
        if Protection::QuorumRead.holds() { ReadLevel::Quorum } else { ReadLevel::Session(SessionToken(String::new())) }
    }
}

impl Drop for Reader<'_> {
    fn drop(&mut self) {
        self.writer.add(self.tally.get_mut());
    }
}
