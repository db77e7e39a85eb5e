//! A processor of two revisions: the same sources give another document by the newer one, and while a fleet is upgraded
//! hosts of both run.

use std::collections::BTreeMap;
use std::sync::Arc;

use feedmill_documents::containers::{FOLLOWS, USER_FEED};
use feedmill_engine::{
    Address, Basis, Delivery, Desired, Expiry, Fields, Handler, Outcome, Processor, Projection, Reader, SettleError,
    Settler, SourceRef, StartFrom,
};
use feedmill_store_api::{Document, DocumentId, PartitionKey};
use futures::FutureExt;
use futures::future::BoxFuture;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::store::Store;

pub(super) const OLD: u32 = 1;
pub(super) const NEW: u32 = 2;

/// One document for each edge: its version, and the revision that made it.
#[derive(Clone, Copy)]
struct Revised {
    revision: u32,
}

/// An edge.
#[derive(Clone)]
struct Edge {
    key: PartitionKey,
    id: DocumentId,
}

pub(super) fn processor(revision: u32) -> Processor {
    let (name, source) = ("revised".to_owned(), FOLLOWS.to_owned());
    Processor {
        name,
        source,
        start: StartFrom::Beginning,
        handler: Arc::new(Revised { revision }),
        gather: false,
        ranges_min: 1,
    }
}

/// What is not as the newer revision makes it.
pub(super) async fn differences(store: &Store) -> Vec<String> {
    let found = store.by_id(USER_FEED).await;
    let edges = store.by_id(FOLLOWS).await.into_iter();
    let differs = |(id, edge): (String, Value)| {
        let target = found.get(&id).filter(|target| target.get("deletedAt").is_none());
        let is = target.map(|target| (target["version"].clone(), target["revision"].clone()));
        let should = edge.get("deletedAt").is_none().then(|| (edge["version"].clone(), json!(NEW)));
        (is != should).then(|| format!("{id} should be {should:?} and is {is:?}"))
    };
    edges.filter_map(differs).collect()
}

impl Handler for Revised {
    fn handle<'a>(
        &'a self,
        delivery: &'a Delivery,
        settler: &'a Settler<'a>,
    ) -> BoxFuture<'a, Result<Outcome, SettleError>> {
        async move {
            let edge = |body| serde_json::from_slice::<Value>(body).expect("documents are JSON");
            let ids = delivery.changes.iter().map(|change| {
                DocumentId::new(edge(&change.body)["id"].as_str().unwrap_or_default()).expect("it is a document's id")
            });
            let targets = ids.map(|id| Edge { key: delivery.key.clone(), id }).collect();
            settler.settle(self, targets, None).await?;
            Ok(Outcome::default())
        }
        .boxed()
    }
}

impl Projection for Revised {
    type Target = Edge;
    type Sources = BTreeMap<DocumentId, Option<Document>>;

    fn container(&self) -> &'static str {
        USER_FEED
    }

    fn address(&self, target: &Edge) -> Address {
        Address { key: PartitionKey::from(target.id.as_str()), id: target.id.clone() }
    }

    fn read<'a>(
        &'a self,
        targets: &'a [Edge],
        reader: &'a Reader<'a>,
    ) -> BoxFuture<'a, Result<Self::Sources, SettleError>> {
        async move {
            let mut sources = BTreeMap::new();
            for Edge { key, id } in targets {
                sources.insert(id.clone(), reader.read(FOLLOWS, key, id).await?);
            }
            Ok(sources)
        }
        .boxed()
    }

    fn compute(&self, target: &Edge, sources: &Self::Sources, _: Option<&Document>) -> Result<Desired, String> {
        let edge = sources[&target.id].as_ref().ok_or("edges are never removed")?;
        let source = SourceRef(FOLLOWS.into(), target.id.to_string(), Some(edge.etag.clone()));
        let basis = Basis::Sources { rev: self.revision, sources: vec![source] };
        let edge: Value = edge.parse().map_err(|error| error.to_string())?;
        if let Some(deleted_at) = edge["deletedAt"].as_str() {
            let deleted_at: Timestamp = deleted_at.parse().map_err(|_| "deletedAt is no time")?;
            return Ok(Desired::Absent { deleted_at, basis });
        }
        let fields = json!({"version": edge["version"], "revision": self.revision});
        let fields = Fields::of(&fields).map_err(|error| error.to_string())?;
        Ok(Desired::Document { fields, expires: Expiry::ContainerDefault, basis })
    }
}
