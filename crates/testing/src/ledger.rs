use std::fmt;
use std::sync::Arc;

use feedmill_store_api::{
    BatchOutcome, Container, Database, Document, DocumentId, FeedPage, FeedRange, FeedStart, Operation, PageRequest,
    PartitionKey, PassingContainer, PassingDatabase, Query, QueryPage, ReadLevel, RequestCharge, Result, Scope,
    Written,
};
use futures::future::BoxFuture;
use parking_lot::Mutex;

/// Every request that was answered, in order. Clones share it.
#[derive(Clone, Default)]
pub struct Ledger(Arc<Mutex<Vec<Request>>>);

/// One request and its charge.
#[derive(Clone, Debug)]
pub struct Request {
    pub container: String,
    /// What was asked: `quorum query SELECT …`.
    pub asked: String,
    pub kind: RequestKind,
    pub charge: RequestCharge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestKind {
    Read,
    Write,
    /// A page of a feed that had changes in it; one without is the price of waiting, not of a change.
    Page,
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>8.2} RU  {:<14} {}", self.charge.units(), self.container, self.asked)
    }
}

impl Ledger {
    /// How many there are so far.
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those after the first so many.
    pub fn since(&self, len: usize) -> Vec<Request> {
        self.0.lock()[len..].to_vec()
    }

    /// The database, every request to which is written down here.
    pub(crate) fn of(&self, inner: Arc<dyn Database>) -> Arc<dyn Database> {
        Arc::new(LedgerDatabase { inner, ledger: self.clone() })
    }

    fn note(&self, container: &dyn Container, kind: RequestKind, asked: String, charge: RequestCharge) {
        self.0.lock().push(Request { container: container.name().to_owned(), asked, kind, charge });
    }
}

struct LedgerDatabase {
    inner: Arc<dyn Database>,
    ledger: Ledger,
}

impl PassingDatabase for LedgerDatabase {
    fn inner(&self) -> &dyn Database {
        &*self.inner
    }

    fn wrap(&self, inner: Arc<dyn Container>) -> Arc<dyn Container> {
        Arc::new(LedgerContainer { inner, ledger: self.ledger.clone() })
    }
}

struct LedgerContainer {
    inner: Arc<dyn Container>,
    ledger: Ledger,
}

impl LedgerContainer {
    fn read(&self, level: &ReadLevel, asked: &str, charge: RequestCharge) {
        let level = if *level == ReadLevel::Quorum { "quorum" } else { "session" };
        self.ledger.note(&*self.inner, RequestKind::Read, format!("{level} {asked}"), charge);
    }
}

fn verb(operation: &Operation) -> &'static str {
    match operation {
        Operation::Create { .. } => "create",
        Operation::Upsert { .. } => "upsert",
        Operation::Replace { .. } => "replace",
        Operation::Delete { .. } => "delete",
    }
}

impl PassingContainer for LedgerContainer {
    fn inner(&self) -> &dyn Container {
        &*self.inner
    }

    fn read<'a>(
        &'a self,
        key: &'a PartitionKey,
        id: &'a DocumentId,
        level: &'a ReadLevel,
    ) -> BoxFuture<'a, Result<(Option<Document>, RequestCharge)>> {
        Box::pin(async move {
            let (found, charge) = self.inner.read(key, id, level).await?;
            let absent = if found.is_none() { ", absent" } else { "" };
            self.read(level, &format!("read {id}{absent}"), charge);
            Ok((found, charge))
        })
    }

    fn read_many<'a>(
        &'a self,
        key: &'a PartitionKey,
        ids: &'a [DocumentId],
        level: &'a ReadLevel,
    ) -> BoxFuture<'a, Result<(Vec<Option<Document>>, RequestCharge)>> {
        Box::pin(async move {
            let (found, charge) = self.inner.read_many(key, ids, level).await?;
            let there = found.iter().flatten().count();
            self.read(level, &format!("read of {}, {there} of them there", ids.len()), charge);
            Ok((found, charge))
        })
    }

    fn write<'a>(&'a self, key: &'a PartitionKey, operation: Operation) -> BoxFuture<'a, Result<Written>> {
        Box::pin(async move {
            let asked = format!("{} {}", verb(&operation), operation.id());
            let written = self.inner.write(key, operation).await?;
            self.ledger.note(&*self.inner, RequestKind::Write, asked, written.charge);
            Ok(written)
        })
    }

    fn batch<'a>(&'a self, key: &'a PartitionKey, operations: Vec<Operation>) -> BoxFuture<'a, Result<BatchOutcome>> {
        Box::pin(async move {
            let asked = format!("batch of {}", operations.len());
            let outcome = self.inner.batch(key, operations).await?;
            let (BatchOutcome::Committed { charge, .. } | BatchOutcome::Refused { charge, .. }) = &outcome;
            self.ledger.note(&*self.inner, RequestKind::Write, asked, *charge);
            Ok(outcome)
        })
    }

    fn query<'a>(
        &'a self,
        scope: &'a Scope,
        query: &'a Query,
        page: &'a PageRequest,
        level: &'a ReadLevel,
    ) -> BoxFuture<'a, Result<QueryPage>> {
        Box::pin(async move {
            let answer = self.inner.query(scope, query, page, level).await?;
            self.read(level, &format!("query {}, {} results", query.text, answer.items.len()), answer.charge);
            Ok(answer)
        })
    }

    fn read_page<'a>(
        &'a self,
        range: &'a FeedRange,
        start: &'a FeedStart,
        items_max: usize,
    ) -> BoxFuture<'a, Result<FeedPage>> {
        Box::pin(async move {
            let page = self.inner.read_page(range, start, items_max).await?;
            if !page.changes.is_empty() {
                let asked = format!("feed page of {}", page.changes.len());
                self.ledger.note(&*self.inner, RequestKind::Page, asked, page.charge);
            }
            Ok(page)
        })
    }
}
