use std::sync::Arc;

use feedmill_documents::{IdError, containers, id};
use feedmill_engine::{Address, DeadLetters, LetterFilter, SettleError, Waiting, Writer};
use feedmill_store_api::{Database, DocumentId, PageRequest, PartitionKey, Query, Scope};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::cut::WithoutCut;
use crate::mention::names;
use crate::places::{self, Place};
use crate::{Looked, Report, Role};

/// Rows of one page.
const PAGE_ITEMS: usize = 1_000;
/// Changes of one processor and source that are looked through for what is still to be settled.
const WAITING_MAX: usize = 100_000;

/// What a person is erased with.
pub struct Erasure<'a> {
    pub database: &'a dyn Database,
    pub writer: &'a Writer,
    pub letters: &'a DeadLetters,
    /// Name of the lease container.
    pub leases: &'a str,
    /// Every processor's name and source.
    pub feeds: &'a [(String, String)],
    /// Told of a container whenever something more of it was looked at.
    pub tell: &'a (dyn Fn(&Looked) + Sync),
}

/// Why it could not be seen through; what was done is done, and the same again does the rest.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Store(#[from] feedmill_store_api::Error),
    #[error("look through {container}")]
    Container { container: String, source: SettleError },
    #[error("nobody has this id")]
    Id(#[from] IdError),
}

/// A document of a [`Place`].
#[derive(Deserialize)]
struct Row {
    id: String,
    #[serde(default)]
    k: Option<String>,
    #[serde(rename = "deletedAt", default)]
    deleted_at: Option<Value>,
    #[serde(default)]
    ttl: Option<i64>,
    #[serde(rename = "_ts", default)]
    timestamp_seconds: i64,
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    chunk: Option<u32>,
}

/// What is done with a document.
enum Fate {
    Stays(Option<Timestamp>),
    Goes(Address),
    /// Goes in part.
    Rewritten(Address),
    Busy,
    Live,
}

impl Row {
    fn fate(&self, role: Role, own_cuts: &str) -> Fate {
        if self.deleted_at.is_some() {
            return Fate::Stays(self.end());
        }
        let (Some(key), Ok(id)) = (self.k.as_deref().map(PartitionKey::from), DocumentId::new(&*self.id)) else {
            // It has no key of ours, so nobody here wrote it.
            return Fate::Live;
        };
        let address = Address { key, id };
        match role {
            Role::Source => Fate::Live,
            Role::Work if self.chunk.is_some() && self.state.as_deref() != Some("done") => Fate::Busy,
            Role::Work if self.chunk.is_none() && self.id != own_cuts => Fate::Rewritten(address),
            Role::Index | Role::Projection | Role::Work | Role::DeadLetters => Fate::Goes(address),
        }
    }

    /// When it is gone by itself.
    fn end(&self) -> Option<Timestamp> {
        let ttl = self.ttl.filter(|ttl| *ttl > 0)?;
        Timestamp::from_second(self.timestamp_seconds.saturating_add(ttl)).ok()
    }
}

impl Erasure<'_> {
    /// Takes out all there is of `user`, unless a source of theirs is live; writes nothing where `dry_run` says so.
    pub async fn run(&self, user: &str, dry_run: bool) -> Result<Report, Error> {
        let mut looked = Vec::new();
        let own_cuts = feedmill_documents::fan_out::cuts_id(user)?.into_string();
        for place in places::sources(user) {
            self.look(&place, &own_cuts, false, &mut looked).await?;
        }
        // Before anything is looked for: what is settled meanwhile may be written behind our look.
        let waiting = self.waiting(user).await?;
        let writes = !dry_run && looked.iter().all(|looked| looked.live == 0);
        let there = self.database.containers().await?;
        // Before anything is taken out of the index they are listed from.
        let posts = self.posts(user).await?;
        for place in places::derived(user, &there) {
            self.look(&place, &own_cuts, writes, &mut looked).await?;
        }
        for post in &posts {
            for place in places::counters_of_post(post, &there) {
                self.look(&place, &own_cuts, writes, &mut looked).await?;
            }
        }
        for place in places::work(user, &there)? {
            self.look(&place, &own_cuts, writes, &mut looked).await?;
            if writes {
                of(&place.container, place.role, &mut looked).removed += self.rewrite(&place, user, &own_cuts).await?;
            }
        }
        looked.push(self.letters(user, writes).await?);
        Ok(Report { containers: looked, waiting })
    }

    /// Reads every document of every container, and gives for each container how many name `user`, and some of them. Costs
    /// what reading everything does.
    pub async fn scan(&self, user: &str) -> Result<Vec<Looked>, Error> {
        let (eraser, mut all) = (self.writer.eraser(), Vec::new());
        for container in self.database.containers().await? {
            let mut looked = Looked::new(&container, Role::Source);
            let (query, mut request) = (Query::new("SELECT * FROM c"), PageRequest::first(PAGE_ITEMS));
            loop {
                let page = eraser.find(&container, &Scope::Container, &query, &request).await;
                let page = page.map_err(|source| Error::Container { container: container.clone(), source })?;
                for item in page.items {
                    looked.looked += 1;
                    let document: Value = serde_json::from_slice(&item).unwrap_or_default();
                    if names(&container, &document, user) {
                        looked.left += 1;
                        looked.blame(document["id"].as_str().unwrap_or_default());
                    }
                }
                (self.tell)(&looked);
                request.continuation = page.continuation;
                if request.continuation.is_none() {
                    break;
                }
            }
            all.push(looked);
        }
        Ok(all)
    }

    /// The person's posts, withdrawn ones included.
    async fn posts(&self, user: &str) -> Result<Vec<String>, Error> {
        let (eraser, scope) = (self.writer.eraser(), Scope::Partition(PartitionKey::from(user)));
        let (query, mut request) = (Query::new("SELECT VALUE c.id FROM c"), PageRequest::first(PAGE_ITEMS));
        let mut posts = Vec::new();
        loop {
            let page = eraser.find(containers::AUTHOR_POSTS, &scope, &query, &request).await;
            let page = page.map_err(in_container(containers::AUTHOR_POSTS))?;
            for id in page.items.iter().filter_map(|id| serde_json::from_slice::<String>(id).ok()) {
                let [post] = id::split(&id)?;
                posts.push(post);
            }
            request.continuation = page.continuation;
            if request.continuation.is_none() {
                return Ok(posts);
            }
        }
    }

    /// Looks through one place, and takes out what is to go, until a look finds no more of it.
    async fn look(&self, place: &Place, own_cuts: &str, writes: bool, all: &mut Vec<Looked>) -> Result<(), Error> {
        let sum = of(&place.container, place.role, all);
        let (before, mut removed) = (sum.clone(), 0);
        loop {
            // What is left is what the last look leaves.
            *sum = Looked { looked: sum.looked, ..before.clone() };
            let gone = self.pass(place, own_cuts, writes, sum).await?;
            if !writes {
                return Ok(());
            }
            removed += gone;
            sum.removed = before.removed + removed;
            if gone == 0 {
                // Not every question finds the tombstones that it left.
                if removed > 0 {
                    sum.left = sum.left.max(before.left + removed);
                    sum.until = sum.until.max(Some(self.writer.eraser().gone_by()));
                }
                (self.tell)(sum);
                return Ok(());
            }
        }
    }

    async fn pass(&self, place: &Place, own_cuts: &str, writes: bool, sum: &mut Looked) -> Result<u64, Error> {
        let Place { container, role, scope, query } = place;
        let (eraser, mut request) = (self.writer.eraser(), PageRequest::first(PAGE_ITEMS));
        loop {
            let page = eraser.find(container, scope, query, &request).await.map_err(in_container(container))?;
            let mut going = Vec::new();
            for item in &page.items {
                sum.looked += 1;
                let Ok(row) = serde_json::from_slice::<Row>(item) else { continue };
                match row.fate(*role, own_cuts) {
                    Fate::Stays(until) => sum.stays(&row.id, until),
                    Fate::Goes(address) => going.push(address),
                    Fate::Rewritten(_) if writes => {}
                    Fate::Rewritten(_) => sum.removed += 1,
                    Fate::Busy => {
                        sum.busy += 1;
                        sum.blame(&row.id);
                    }
                    Fate::Live => {
                        sum.live += 1;
                        sum.blame(&row.id);
                    }
                }
            }
            if writes {
                eraser.erase(container, going).await.map_err(in_container(container))?;
            } else {
                sum.removed += going.len() as u64;
            }
            (self.tell)(sum);
            request.continuation = page.continuation;
            if request.continuation.is_none() {
                return Ok(eraser.written());
            }
        }
    }

    /// Takes the person out of the cut points of others.
    async fn rewrite(&self, place: &Place, user: &str, own_cuts: &str) -> Result<u64, Error> {
        let eraser = self.writer.eraser();
        let without = WithoutCut { container: place.container.clone(), cut: Arc::from(id::join([user])?.as_str()) };
        let mut request = PageRequest::first(PAGE_ITEMS);
        loop {
            let page = eraser.find(&place.container, &place.scope, &place.query, &request).await;
            let page = page.map_err(in_container(&place.container))?;
            let rows = page.items.iter().filter_map(|item| serde_json::from_slice::<Row>(item).ok());
            let cuts = rows.filter_map(|row| match row.fate(place.role, own_cuts) {
                Fate::Rewritten(address) => Some(address),
                _ => None,
            });
            eraser.rewrite(&without, cuts.collect()).await.map_err(in_container(&place.container))?;
            request.continuation = page.continuation;
            if request.continuation.is_none() {
                return Ok(eraser.written());
            }
        }
    }

    async fn letters(&self, user: &str, writes: bool) -> Result<Looked, Error> {
        let mut sum = Looked::new(containers::DEAD_LETTERS, Role::DeadLetters);
        let mut continuation = None;
        loop {
            let (letters, next) = self.letters.list(&LetterFilter::default(), continuation).await?;
            for letter in letters {
                sum.looked += 1;
                let id = letter.id.clone();
                let document = serde_json::to_value(letter).unwrap_or_default();
                if !names(containers::DEAD_LETTERS, &document, user) {
                    continue;
                }
                let Ok(id) = DocumentId::new(id) else { continue };
                if !writes || self.letters.drop(&id).await? {
                    sum.removed += 1;
                }
            }
            (self.tell)(&sum);
            continuation = next;
            if continuation.is_none() {
                return Ok(sum);
            }
        }
    }

    /// Changes that name the person and are not settled yet.
    async fn waiting(&self, user: &str) -> Result<Waiting, Error> {
        let mut all = Waiting::default();
        for (processor, source) in self.feeds {
            let is_work = containers::is_version_of(source, containers::FAN_OUT);
            let is_wanted = |body: &[u8]| {
                let document = serde_json::from_slice::<Value>(body).unwrap_or_default();
                // A tombstone of work is none, and may be ours.
                names(source, &document, user) && !(is_work && document.get("deletedAt").is_some())
            };
            let waiting = Waiting::of(self.database, self.leases, (processor, source), WAITING_MAX, is_wanted).await?;
            all = Waiting { changes: all.changes + waiting.changes, unknown: all.unknown || waiting.unknown };
        }
        Ok(all)
    }
}

/// What was found in a container so far: several questions may go to one.
fn of<'l>(container: &str, role: Role, all: &'l mut Vec<Looked>) -> &'l mut Looked {
    let index = all.iter().position(|looked| looked.container == container).unwrap_or(all.len());
    if index == all.len() {
        all.push(Looked::new(container, role));
    }
    &mut all[index]
}

fn in_container(container: &str) -> impl FnOnce(SettleError) -> Error {
    let container = container.to_owned();
    move |source| Error::Container { container, source }
}
