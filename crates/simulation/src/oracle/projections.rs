use std::collections::{BTreeMap, BTreeSet};

use feedmill_documents::containers;
use feedmill_erase::names;
use feedmill_workload::expected::{Expected, Options, Sources, visible};
use jiff::Timestamp;
use serde_json::Value;

use crate::store::Store;

/// Every projection is `workload::expected` of the sources, once everything is quiet.
pub(crate) struct Projections {
    /// Containers to read the sources from, and as what.
    pub(crate) sources: Vec<(&'static str, &'static str)>,
    pub(crate) derived: Vec<&'static str>,
    /// Copies that must hold each of their sources' documents, whole: copy and source.
    pub(crate) copies: Vec<(&'static str, &'static str)>,
    /// Who has had their account deleted. What is left of the person says nothing to anybody: an operator may take it out
    /// before the processors do.
    pub(crate) gone: Option<&'static str>,
}

impl Projections {
    /// What is not as it should be, in words. `read`: ids of notifications that somebody has read.
    pub(crate) async fn differences(&self, store: &Store, read: &BTreeSet<String>, now: Timestamp) -> Vec<String> {
        let mut sources = Sources::default();
        for (container, kind) in &self.sources {
            for body in store.all(container).await {
                sources.put(kind, &body).expect("the actors write sound documents");
            }
        }
        let expected = Expected::new(&sources, Options::default(), now);
        let mut differences = Vec::new();
        let posts = self.posts_of_the_gone(store).await;
        let is_gone = |container: &str, document: &Value| {
            let of_post = container == containers::COUNTERS
                && document["subjectId"].as_str().is_some_and(|subject| posts.contains(subject));
            self.gone.is_some_and(|gone| of_post || names(container, document, gone))
        };
        for container in &self.derived {
            let wanted = expected.documents(container).filter(|(_, document)| !is_gone(container, document));
            let mut wanted: BTreeMap<String, Value> = wanted.collect();
            for (_, notification) in wanted.iter_mut().filter(|(id, _)| read.contains(*id)) {
                notification["read"] = true.into();
            }
            let stored = store.by_id(container).await.into_iter();
            let shown = stored.filter(|(_, document)| !is_gone(container, document));
            let shown = shown.filter_map(|(id, document)| Some((id, visible(&document, now)?)));
            // An absent counter is unknown and a counter of nothing is 0: both are right.
            let shown = shown.filter(|(_, document)| *container != containers::COUNTERS || document["value"] != 0);
            compare(container, &wanted, &shown.collect(), &mut differences);
        }
        for (copy, source) in &self.copies {
            let whole = |(id, mut document): (String, Value)| {
                if let Some(members) = document.as_object_mut() {
                    members.retain(|name, _| !name.starts_with('_'));
                }
                (id, document)
            };
            let wanted = store.by_id(source).await.into_iter().map(whole);
            let copies: BTreeMap<_, _> = store.by_id(copy).await.into_iter().map(whole).collect();
            let renamed = wanted.map(|(_, document)| copied(copy, document)).collect();
            compare(copy, &renamed, &copies, &mut differences);
        }
        differences
    }
}

impl Projections {
    async fn posts_of_the_gone(&self, store: &Store) -> BTreeSet<String> {
        let Some(gone) = self.gone else { return BTreeSet::new() };
        let posts = store.by_id(containers::POSTS).await.into_iter();
        posts.filter(|(_, post)| post["authorId"] == gone).map(|(id, _)| id).collect()
    }
}

/// A source document as its index must hold it.
fn copied(index: &str, mut document: Value) -> (String, Value) {
    if index == containers::FOLLOWING {
        let part = |name: &str| document[name].as_str().unwrap_or_default().to_owned();
        document["id"] = format!("{}:{}", part("followerId"), part("followeeId")).into();
    }
    (document["id"].as_str().unwrap_or_default().to_owned(), document)
}

fn compare(
    container: &str,
    wanted: &BTreeMap<String, Value>,
    found: &BTreeMap<String, Value>,
    differences: &mut Vec<String>,
) {
    let ids: BTreeSet<&String> = wanted.keys().chain(found.keys()).collect();
    for id in ids {
        match (wanted.get(id), found.get(id)) {
            (Some(wanted), Some(found)) if wanted == found => {}
            (Some(wanted), None) => differences.push(format!("{container} {id} is missing; it should be {wanted}")),
            (None, Some(found)) => differences.push(format!("{container} {id} should not be there: {found}")),
            (Some(wanted), Some(found)) => {
                differences.push(format!("{container} {id} should be {wanted} and is {found}"));
            }
            (None, None) => {}
        }
    }
}
