use std::sync::Arc;

use feedmill_store_api::{
    Container, Database, Document, DocumentId, Error, ErrorKind, FeedPage, FeedRange, FeedStart, Operation,
    PageRequest, PartitionKey, PassingContainer, PassingDatabase, Query, QueryPage, ReadLevel, RequestCharge, Result,
    Scope, Written,
};
use futures::future::BoxFuture;
use parking_lot::Mutex;

/// Sees every request of the engine, and may spoil it.
#[derive(Default)]
pub(super) struct Spy {
    pub(super) requests: Mutex<Vec<Request>>,
    spoil: Mutex<Option<Spoil>>,
}

type Spoil = Box<dyn FnMut(&Request) -> Fate + Send>;

#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) container: String,
    pub(super) kind: Kind,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Read,
    Query,
    Page,
    Write(Operation),
}

pub(super) enum Fate {
    Pass,
    /// It does not reach the store.
    Unavailable,
    /// It takes effect; its reply does not arrive.
    LoseReply,
    /// Whoever sends it breaks.
    Panic,
}

impl Spy {
    /// Asks `spoil` about every request from now on.
    pub(super) fn spoil(&self, spoil: impl FnMut(&Request) -> Fate + Send + 'static) {
        *self.spoil.lock() = Some(Box::new(spoil));
    }

    pub(super) fn count(&self, wanted: impl Fn(&Request) -> bool) -> usize {
        self.requests.lock().iter().filter(|request| wanted(request)).count()
    }

    /// Bodies of all replaces of leases so far.
    pub(super) fn lease_writes(&self) -> Vec<serde_json::Value> {
        let requests = self.requests.lock();
        let bodies = requests.iter().filter(|request| request.container == "leases").filter_map(|request| {
            let Kind::Write(Operation::Replace { body, .. }) = &request.kind else { return None };
            Some(serde_json::from_slice(body).unwrap())
        });
        bodies.collect()
    }

    /// Whether the reply is lost.
    fn at(&self, container: &str, kind: Kind) -> Result<bool> {
        let request = Request { container: container.to_owned(), kind };
        let fate = self.spoil.lock().as_mut().map_or(Fate::Pass, |spoil| spoil(&request));
        self.requests.lock().push(request);
        match fate {
            Fate::Pass => Ok(false),
            Fate::Unavailable => Err(Error::new(ErrorKind::Unavailable, "spoilt")),
            Fate::LoseReply => Ok(true),
            Fate::Panic => panic!("the request broke its sender"),
        }
    }
}

fn reply<T>(lost: bool, result: Result<T>) -> Result<T> {
    let answer = result?;
    if lost { Err(Error::new(ErrorKind::Unavailable, "the reply was lost").perhaps_applied()) } else { Ok(answer) }
}

pub(super) struct SpiedDatabase {
    pub(super) inner: Arc<dyn Database>,
    pub(super) spy: Arc<Spy>,
}

impl PassingDatabase for SpiedDatabase {
    fn inner(&self) -> &dyn Database {
        &*self.inner
    }

    fn wrap(&self, inner: Arc<dyn Container>) -> Arc<dyn Container> {
        Arc::new(Spied { inner, spy: Arc::clone(&self.spy) })
    }
}

struct Spied {
    inner: Arc<dyn Container>,
    spy: Arc<Spy>,
}

impl PassingContainer for Spied {
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
            let lost = self.spy.at(self.name(), Kind::Read)?;
            reply(lost, self.inner.read(key, id, level).await)
        })
    }

    fn write<'a>(&'a self, key: &'a PartitionKey, operation: Operation) -> BoxFuture<'a, Result<Written>> {
        Box::pin(async move {
            let lost = self.spy.at(self.name(), Kind::Write(operation.clone()))?;
            reply(lost, self.inner.write(key, operation).await)
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
            let lost = self.spy.at(self.name(), Kind::Query)?;
            reply(lost, self.inner.query(scope, query, page, level).await)
        })
    }

    fn read_page<'a>(
        &'a self,
        range: &'a FeedRange,
        start: &'a FeedStart,
        items_max: usize,
    ) -> BoxFuture<'a, Result<FeedPage>> {
        Box::pin(async move {
            let lost = self.spy.at(self.name(), Kind::Page)?;
            reply(lost, self.inner.read_page(range, start, items_max).await)
        })
    }
}
