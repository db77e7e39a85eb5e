use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::Harness;
use crate::{
    BatchOutcome, Change, Container, ContainerSpec, Document, DocumentId, ETag, Error, ErrorKind, FeedPage, FeedRange,
    FeedStart, Operation, PageRequest, PartitionKey, Position, Query, QueryPage, ReadLevel, RequestCharge, Result,
    Scope, Written,
};

/// The path that documents of the suite are partitioned by, without its slash.
pub(super) const KEY: &str = "pk";

/// More pages than any case has, so that a store that stands still fails a case instead of hanging it.
const PAGES_MAX: usize = 5_000;

/// One container made for one case, and short ways to use it. Each checks that the request was charged for.
pub(super) struct Fixture {
    pub(super) container: Arc<dyn Container>,
}

impl Fixture {
    pub(super) async fn new(harness: &dyn Harness) -> Self {
        Self::with(harness, |spec| spec).await
    }

    pub(super) async fn with(harness: &dyn Harness, change: impl FnOnce(ContainerSpec) -> ContainerSpec) -> Self {
        let spec = change(ContainerSpec::new(harness.container_name(), format!("/{KEY}")));
        let database = harness.database();
        database.provision(&spec).await.expect("a new container can be provisioned");
        let container = database.container(&spec.name).await.expect("a provisioned container is there");
        Self { container }
    }

    pub(super) async fn create(&self, key: &str, id_: &str, more: Value) -> Written {
        let operation = Operation::Create { id: id(id_), body: body(key, id_, more) };
        self.write(key, operation).await.expect("a document that is not there can be created")
    }

    pub(super) async fn upsert(&self, key: &str, id_: &str, more: Value) -> Written {
        let operation = Operation::Upsert { id: id(id_), body: body(key, id_, more) };
        self.write(key, operation).await.expect("any document can be upserted")
    }

    pub(super) async fn replace(&self, key: &str, id_: &str, more: Value, if_match: Option<ETag>) -> Result<Written> {
        self.write(key, Operation::Replace { id: id(id_), body: body(key, id_, more), if_match }).await
    }

    pub(super) async fn delete(&self, key: &str, id_: &str, if_match: Option<ETag>) -> Result<Written> {
        self.write(key, Operation::Delete { id: id(id_), if_match }).await
    }

    pub(super) async fn write(&self, key: &str, operation: Operation) -> Result<Written> {
        let written = self.container.write(&PartitionKey::from(key), operation).await;
        if let Ok(written) = &written {
            assert_charged(written.charge, "a write");
        }
        written
    }

    pub(super) async fn batch(&self, key: &str, operations: Vec<Operation>) -> Result<BatchOutcome> {
        let outcome = self.container.batch(&PartitionKey::from(key), operations).await;
        if let Ok(BatchOutcome::Committed { charge, .. } | BatchOutcome::Refused { charge, .. }) = &outcome {
            assert_charged(*charge, "a batch");
        }
        outcome
    }

    pub(super) async fn commit(&self, key: &str, operations: Vec<Operation>) -> Vec<Option<ETag>> {
        match self.batch(key, operations).await.expect("a batch within the limits is answered") {
            BatchOutcome::Committed { etags, .. } => etags,
            BatchOutcome::Refused { index, error, .. } => {
                panic!("operation {index} of a good batch was refused: {error}")
            }
        }
    }

    pub(super) async fn read(&self, key: &str, id_: &str) -> Option<Document> {
        self.read_at(key, id_, &ReadLevel::Quorum).await
    }

    pub(super) async fn read_at(&self, key: &str, id_: &str, level: &ReadLevel) -> Option<Document> {
        let (document, charge) =
            self.container.read(&PartitionKey::from(key), &id(id_), level).await.expect("any id can be read");
        assert_charged(charge, "a read");
        document
    }

    /// What is stored, without the store's own fields.
    pub(super) async fn content(&self, key: &str, id: &str) -> Option<Value> {
        self.read(key, id).await.map(|document| content(&document.body))
    }

    pub(super) async fn ranges(&self) -> Vec<FeedRange> {
        self.container.feed_ranges().await.expect("a container has ranges")
    }

    pub(super) async fn page(&self, range: &FeedRange, start: &FeedStart, items_max: usize) -> FeedPage {
        let page = self.container.read_page(range, start, items_max).await;
        let page = page.unwrap_or_else(|error| panic!("read {range} from {start:?}: {error}"));
        assert_charged(page.charge, "a feed page");
        page
    }

    /// All pages of a range up to the first empty one, and where that ended.
    pub(super) async fn pages(
        &self,
        range: &FeedRange,
        start: FeedStart,
        items_max: usize,
    ) -> (Vec<FeedPage>, Position) {
        let mut pages = Vec::new();
        let mut start = start;
        loop {
            let page = self.page(range, &start, items_max).await;
            if page.changes.is_empty() {
                return (pages, page.position);
            }
            start = start.after(page.position.clone());
            pages.push(page);
            assert!(pages.len() < PAGES_MAX, "the feed of {range} never ends");
        }
    }

    /// The changes of one range from `start` to its end.
    pub(super) async fn changes(&self, range: &FeedRange, start: FeedStart) -> Vec<Change> {
        let (pages, _) = self.pages(range, start, 100).await;
        pages.into_iter().flat_map(|page| page.changes).collect()
    }

    /// Ids in the order of the feed, over all ranges.
    pub(super) async fn feed_ids(&self, items_max: usize) -> Vec<String> {
        let mut ids = Vec::new();
        for range in self.ranges().await {
            let (pages, _) = self.pages(&range, FeedStart::Beginning, items_max).await;
            ids.extend(pages.iter().flat_map(|page| &page.changes).map(|change| id_of(&change.body)));
        }
        ids
    }

    pub(super) async fn query_page(&self, scope: &Scope, query: &Query, page: &PageRequest) -> Result<QueryPage> {
        let found = self.container.query(scope, query, page, &ReadLevel::Quorum).await;
        if let Ok(found) = &found {
            assert_charged(found.charge, "a query page");
            assert!(found.items.len() <= page.items_max, "a query page is no larger than asked for");
        }
        found
    }

    /// All results of a query, read in pages of `items_max`.
    pub(super) async fn query(&self, scope: &Scope, query: &Query, items_max: usize) -> Vec<Value> {
        let mut results = Vec::new();
        let mut request = PageRequest::first(items_max);
        for _ in 0..PAGES_MAX {
            let page = self.query_page(scope, query, &request).await;
            let page = page.unwrap_or_else(|error| panic!("{}: {error:?}", query.text));
            results.extend(page.items.iter().map(parse));
            match page.continuation {
                Some(continuation) => request.continuation = Some(continuation),
                None => return results,
            }
        }
        panic!("{}: the pages never end", query.text)
    }
}

pub(super) fn id(id: &str) -> DocumentId {
    DocumentId::new(id).expect("ids of the suite are legal")
}

pub(super) fn key(key: &str) -> Scope {
    Scope::Partition(PartitionKey::from(key))
}

pub(super) fn body(key: &str, id: &str, more: Value) -> Bytes {
    let mut body = json!({ "id": id, KEY: key });
    if let (Value::Object(body), Value::Object(more)) = (&mut body, more) {
        body.extend(more);
    }
    Bytes::from(body.to_string())
}

pub(super) fn create(key: &str, id_: &str, more: Value) -> Operation {
    Operation::Create { id: id(id_), body: body(key, id_, more) }
}

/// A document's JSON text of exactly this many bytes.
pub(super) fn body_of_size(key: &str, id: &str, bytes: usize) -> Bytes {
    let empty = body(key, id, json!({ "pad": "" })).len();
    body(key, id, json!({ "pad": "x".repeat(bytes - empty) }))
}

pub(super) fn parse(text: &Bytes) -> Value {
    serde_json::from_slice(text).expect("the store answers with JSON")
}

pub(super) fn id_of(body: &Bytes) -> String {
    parse(body)["id"].as_str().expect("a document has an id").to_owned()
}

/// A document without the fields that the store sets.
pub(super) fn content(body: &Bytes) -> Value {
    let mut value = parse(body);
    if let Value::Object(fields) = &mut value {
        fields.retain(|name, _| !["_etag", "_ts", "_rid", "_self", "_attachments", "_lsn"].contains(&name.as_str()));
    }
    value
}

pub(super) fn assert_charged(charge: RequestCharge, what: &str) {
    assert!(charge.units() > 0.0, "{what} costs something, not {charge}");
}

/// The request failed for this reason, and surely changed nothing.
pub(super) fn assert_refused<T>(result: Result<T>, kind: ErrorKind, what: &str) -> Error {
    match result {
        Ok(_) => panic!("{what} must be refused as {kind:?}, but succeeded"),
        Err(error) => {
            assert_eq!(error.kind(), kind, "{what}: {error}");
            assert_eq!(error.applied(), crate::Applied::No, "{what}: {error}");
            error
        }
    }
}
