//! A host of the .NET change feed processor, played after what its sources do and after none of our code: it renews, steals,
//! splits and checkpoints documents of its own making.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use feedmill_clock::{Clock, ManualClock};
use feedmill_local_store::{LocalStore, PhysicalPartition};
use feedmill_store_api::{
    Container, DocumentId, ETag, ErrorKind, FeedRange, FeedStart, Operation, PageRequest, PartitionKey, Position,
    Query, ReadLevel, Scope,
};
use futures::future::BoxFuture;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;

use super::world::{SOURCE, World};

const ACQUIRE: Duration = Duration::from_secs(13);
const EXPIRY: Duration = Duration::from_secs(60);
const RENEW: Duration = Duration::from_secs(17);
const POLL: Duration = Duration::from_secs(5);
const LOCK_SLEEP: Duration = Duration::from_secs(15);

/// Its class has these fields and no others: what else was in a document is gone after it wrote it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Lease {
    #[serde(rename = "id")]
    id: String,
    #[serde(rename = "version", default)]
    version: i64,
    #[serde(rename = "_etag", default)]
    etag: Option<String>,
    lease_token: String,
    #[serde(default)]
    feed_range: Option<Value>,
    owner: Option<String>,
    continuation_token: Option<String>,
    #[serde(rename = "properties", default)]
    properties: BTreeMap<String, String>,
    #[serde(rename = "timestamp", default)]
    timestamp: Option<String>,
    #[serde(rename = "_ts", default)]
    ts: i64,
    #[serde(default)]
    mode: Option<String>,
}

impl Lease {
    fn range(&self) -> FeedRange {
        serde_json::from_value(self.feed_range.as_ref().unwrap()["Range"].clone()).unwrap()
    }
}

/// What it made of a range.
enum Why {
    LeaseLost,
    Released,
    Gone,
}

/// One host, alive as long as this is there.
pub(super) struct DotNet {
    pub(super) delivered: Arc<Mutex<Vec<String>>>,
    host: Arc<Host>,
    balancer: AbortOnDropHandle<()>,
}

struct Host {
    name: &'static str,
    prefix: String,
    clock: ManualClock,
    store: LocalStore,
    leases: Arc<dyn Container>,
    source: Arc<dyn Container>,
    delivered: Arc<Mutex<Vec<String>>>,
    supervisors: Mutex<BTreeMap<String, Option<AbortOnDropHandle<()>>>>,
}

impl DotNet {
    pub(super) async fn start(world: &World, name: &'static str) -> Self {
        let source = world.source().await;
        let prefix = format!("p{}_{}_{}", world.database.host(), world.database.rid(), source.rid());
        let delivered = Arc::default();
        let host = Arc::new(Host {
            name,
            prefix,
            clock: world.clock.clone(),
            store: world.store.clone(),
            leases: world.database.container("leases").await.unwrap(),
            source,
            delivered: Arc::clone(&delivered),
            supervisors: Mutex::default(),
        });
        let balancer = AbortOnDropHandle::new(tokio::spawn(Arc::clone(&host).run()));
        Self { delivered, host, balancer }
    }

    /// As a kill does: nothing more happens.
    pub(super) fn kill(self) {
        drop(self.balancer);
        self.host.supervisors.lock().clear();
    }

    /// Stops in order and releases what it has.
    pub(super) async fn stop(self) {
        drop(self.balancer);
        let owned: Vec<_> = std::mem::take(&mut *self.host.supervisors.lock()).into_keys().collect();
        for id in owned {
            self.host.release(&id).await;
        }
    }
}

impl Host {
    async fn run(self: Arc<Self>) {
        self.bootstrap().await;
        loop {
            self.balance().await;
            self.clock.sleep(ACQUIRE).await;
        }
    }

    async fn bootstrap(&self) {
        let (info, lock) = (format!("{}.info", self.prefix), format!("{}.lock", self.prefix));
        while self.read(&info).await.is_none() {
            if self.create(&lock, &json!({"id": lock, "ttl": 30})).await.is_none() {
                self.clock.sleep(LOCK_SLEEP).await;
                continue;
            }
            for partition in self.partitions() {
                self.create_lease(0, &partition.id.to_string(), &partition.range, None, BTreeMap::new()).await;
            }
            self.create(&info, &json!({"id": info})).await;
            self.delete(&lock).await;
        }
    }

    fn partitions(&self) -> Vec<PhysicalPartition> {
        self.store.partitions("db", SOURCE).unwrap()
    }

    async fn create_lease(
        &self,
        version: i64,
        token: &str,
        range: &FeedRange,
        continuation: Option<&str>,
        properties: BTreeMap<String, String>,
    ) -> Option<Lease> {
        let lease = Lease {
            id: format!("{}..{token}", self.prefix),
            version,
            etag: None,
            lease_token: token.to_owned(),
            feed_range: Some(json!({"Range": {"min": range.min(), "max": range.max()}})),
            owner: None,
            continuation_token: continuation.map(str::to_owned),
            properties,
            timestamp: None,
            ts: 0,
            mode: Some("Incremental Feed".to_owned()),
        };
        let body = serde_json::to_value(&lease).unwrap();
        self.create(&lease.id, &body).await.map(|()| lease)
    }

    async fn balance(self: &Arc<Self>) {
        let leases = self.list().await;
        let now = self.clock.now();
        let expired = |lease: &Lease| {
            let written = match &lease.timestamp {
                Some(timestamp) => timestamp.parse().unwrap(),
                None => jiff::Timestamp::from_second(lease.ts).unwrap(),
            };
            lease.owner.as_ref().is_none_or(|owner| owner.is_empty()) || written + EXPIRY < now
        };
        let mut counts: Vec<(String, usize)> = Vec::new();
        for lease in leases.iter().filter(|lease| !expired(lease)) {
            let owner = lease.owner.clone().unwrap();
            match counts.iter_mut().find(|(known, _)| *known == owner) {
                Some((_, count)) => *count += 1,
                None => counts.push((owner, 1)),
            }
        }
        if !counts.iter().any(|(owner, _)| owner == self.name) {
            counts.push((self.name.to_owned(), 0));
        }
        let (partitions, workers) = (leases.len(), counts.len());
        let target = if partitions > workers { partitions.div_ceil(workers) } else { 1 };
        let mine = counts.iter().find(|(owner, _)| owner == self.name).unwrap().1;
        if mine >= target {
            return;
        }
        let need = target - mine;
        let free: Vec<_> = leases.iter().filter(|lease| expired(lease)).take(need).cloned().collect();
        let taken = if free.is_empty() {
            let (victim, most) = counts.iter().max_by_key(|(_, count)| *count).unwrap();
            if *most <= target - usize::from(need > 1) {
                return;
            }
            leases.iter().find(|lease| lease.owner.as_ref() == Some(victim)).cloned().into_iter().collect()
        } else {
            free
        };
        for lease in taken {
            self.add(lease).await;
        }
    }

    /// Acquires a lease, and starts its supervisor. Boxed, because a supervisor adds the children of its range.
    fn add(self: &Arc<Self>, lease: Lease) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let id = lease.id.clone();
            if self.supervisors.lock().contains_key(&id) {
                return;
            }
            let before = lease.owner.clone();
            let me = self.name.to_owned();
            let acquired =
                self.update(lease, |found| found.owner == before, move |lease| lease.owner = Some(me.clone()));
            if let Some(lease) = acquired.await {
                self.supervisors.lock().insert(id.clone(), None);
                let supervisor = AbortOnDropHandle::new(tokio::spawn(Arc::clone(self).supervise(lease)));
                self.supervisors.lock().insert(id, Some(supervisor));
            }
        })
    }

    async fn supervise(self: Arc<Self>, lease: Lease) {
        let id = lease.id.clone();
        let why = tokio::select! {
            why = self.renew(id.clone()) => why,
            why = self.process(lease) => why,
        };
        if let Some(Some(own)) = self.supervisors.lock().remove(&id) {
            own.detach();
        }
        if matches!(why, Why::Released) {
            self.release(&id).await;
        }
    }

    async fn renew(&self, id: String) -> Why {
        self.clock.sleep(RENEW / 2).await;
        loop {
            let Some(lease) = self.read_lease(&id).await else { return Why::LeaseLost };
            if lease.owner.as_deref() != Some(self.name) || self.update(lease, |_| false, |_| {}).await.is_none() {
                return Why::LeaseLost;
            }
            self.clock.sleep(RENEW).await;
        }
    }

    async fn process(self: &Arc<Self>, mut lease: Lease) -> Why {
        loop {
            let from = match &lease.continuation_token {
                Some(token) => FeedStart::Position(Position::new(token.as_str())),
                None => FeedStart::Beginning,
            };
            let range = lease.range();
            // By the id of a partition where it is one: that of a partition that was merged is gone.
            let is_gone = lease.version == 0
                && !self.partitions().iter().any(|partition| partition.id.to_string() == lease.lease_token);
            let read = if is_gone { None } else { Some(self.source.read_page(&range, &from, 100).await) };
            let page = match read {
                Some(Ok(page)) => page,
                Some(Err(error)) if error.kind() != ErrorKind::Gone => return Why::Released,
                _ => return self.gone(lease).await,
            };
            if page.changes.is_empty() {
                self.clock.sleep(POLL).await;
                continue;
            }
            self.delivered.lock().extend(page.changes.iter().map(super::handlers::id));
            let (me, at) = (self.name, page.position.as_str().to_owned());
            let is_mine = move |found: &Lease| found.owner.as_deref() == Some(me);
            match self.update(lease, is_mine, move |lease| lease.continuation_token = Some(at.clone())).await {
                Some(written) => lease = written,
                None => return Why::LeaseLost,
            }
        }
    }

    async fn gone(self: &Arc<Self>, lease: Lease) -> Why {
        let range = lease.range();
        let over: Vec<_> = self.partitions().into_iter().filter(|partition| partition.range.overlaps(&range)).collect();
        let (at, properties) = (lease.continuation_token.as_deref(), &lease.properties);
        let mut children = Vec::new();
        match (lease.version, over.as_slice()) {
            (0, [_]) => {
                children.push(self.create_lease(1, &range.token(), &range, at, properties.clone()).await);
            }
            (0, several) => {
                for partition in several {
                    let token = partition.id.to_string();
                    children.push(self.create_lease(0, &token, &partition.range, at, properties.clone()).await);
                }
            }
            (_, [_]) => return Why::Released,
            (_, several) => {
                for partition in several {
                    let part = partition.range.intersection(&range).unwrap();
                    children.push(self.create_lease(1, &part.token(), &part, at, properties.clone()).await);
                }
            }
        }
        for child in children.into_iter().flatten() {
            self.add(child).await;
        }
        self.delete(&lease.id).await;
        Why::Gone
    }

    async fn release(&self, id: &str) {
        if let Some(lease) = self.read_lease(id).await.filter(|lease| lease.owner.as_deref() == Some(self.name)) {
            self.update(lease, |_| false, |lease| lease.owner = None).await;
        }
    }

    /// Writes a lease with the time; after a refusal the change is made again to what is found, where `goes_on`.
    async fn update(
        &self,
        mut lease: Lease,
        goes_on: impl Fn(&Lease) -> bool,
        change: impl Fn(&mut Lease),
    ) -> Option<Lease> {
        for _ in 0..6 {
            change(&mut lease);
            lease.timestamp = Some(self.clock.now().to_string());
            let id = DocumentId::new(&*lease.id).unwrap();
            let body = Bytes::from(serde_json::to_vec(&lease).unwrap());
            // Of a lease it has just created it knows no etag, and writes without a condition.
            let operation =
                Operation::Replace { id, body, if_match: lease.etag.as_ref().map(|etag| ETag::new(&**etag)) };
            match self.leases.write(&PartitionKey::from(&*lease.id), operation).await {
                Ok(written) => {
                    lease.etag = written.etag.map(|etag| etag.as_str().to_owned());
                    return Some(lease);
                }
                Err(error) if error.kind() == ErrorKind::Precondition => {
                    lease = self.read_lease(&lease.id).await.filter(&goes_on)?;
                }
                Err(_) => return None,
            }
        }
        None
    }

    async fn list(&self) -> Vec<Lease> {
        let text = format!("SELECT * FROM c WHERE STARTSWITH(c.id, '{}..')", self.prefix);
        let (query, mut request, mut leases) = (Query::new(text), PageRequest::first(100), Vec::new());
        loop {
            let page = self.leases.query(&Scope::Container, &query, &request, &ReadLevel::Quorum).await.unwrap();
            leases.extend(page.items.iter().map(|item| serde_json::from_slice::<Lease>(item).unwrap()));
            match page.continuation {
                Some(continuation) => request.continuation = Some(continuation),
                None => return leases,
            }
        }
    }

    async fn read_lease(&self, id: &str) -> Option<Lease> {
        self.read(id).await.map(|found| serde_json::from_value(found).unwrap())
    }

    async fn read(&self, id: &str) -> Option<Value> {
        let (key, id) = (PartitionKey::from(id), DocumentId::new(id).unwrap());
        let (found, _) = self.leases.read(&key, &id, &ReadLevel::Quorum).await.unwrap();
        found.map(|found| serde_json::from_slice(&found.body).unwrap())
    }

    async fn create(&self, id: &str, body: &Value) -> Option<()> {
        let operation = Operation::Create { id: DocumentId::new(id).unwrap(), body: Bytes::from(body.to_string()) };
        self.leases.write(&PartitionKey::from(id), operation).await.ok().map(|_| ())
    }

    async fn delete(&self, id: &str) {
        let operation = Operation::Delete { id: DocumentId::new(id).unwrap(), if_match: None };
        drop(self.leases.write(&PartitionKey::from(id), operation).await);
    }
}
