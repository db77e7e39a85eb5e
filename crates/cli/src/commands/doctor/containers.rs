//! Are the containers there and as they should be, and may this identity do with them what it has to?

use std::collections::BTreeSet;

use bytes::Bytes;
use feedmill_documents::containers as named;
use feedmill_store_api::{
    Container, Database, DocumentId, ETag, Error, ErrorKind, FeedStart, KeyPart, Operation, PartitionKey, ReadLevel,
};
use serde_json::{Map, Value};

use super::finding::Finding;
use crate::containers::{self, Compared};
use crate::settings::Settings;
use crate::wiring;

/// Written by the outbox or by the customer, and only read here.
const ONLY_READ: [&str; 5] = [named::POSTS, named::REACTIONS, named::FOLLOWS, named::BLOCKS, named::PUBLIC_PROFILES];

/// No document of anybody has this id.
const NOBODYS: &str = "feedmill.doctor";

/// Says whether all of them are there, too.
pub(super) async fn look(database: &dyn Database, settings: &Settings) -> (Vec<Finding>, bool) {
    let mut found = Vec::new();
    let (mut complete, mut differing) = (true, false);
    for spec in containers::wanted(settings) {
        let compared = async {
            let spec = containers::as_it_may_be(database, settings, spec.clone()).await?;
            containers::compare(database, &spec, settings.cosmos.throughput).await
        };
        match compared.await {
            Ok(Compared::AsWanted) => {}
            Ok(Compared::Missing) => {
                complete = false;
                found.push(Finding::bad(
                    "containers",
                    format!("there is no container {}", spec.name),
                    "`feedmill provision` makes it",
                ));
            }
            Ok(Compared::Differs(differences)) => {
                differing = true;
                let said: Vec<_> = differences.iter().map(ToString::to_string).collect();
                found.push(Finding::bad(
                    "containers",
                    format!("container {}: {}", spec.name, said.join("; ")),
                    "change it in place, but for the partition key, which only a new container has; then `feedmill provision --check`",
                ));
            }
            Err(error) => {
                complete &= error.kind() != ErrorKind::NotFound;
                found.push(refused("containers", error, "read the metadata of containers"));
            }
        }
    }
    if complete && !differing && found.is_empty() {
        found.push(Finding::good("containers", "all are there, with their keys, times to live and indexes"));
    }
    (found, complete)
}

/// Does what the processors do, but for changing anything.
pub(super) async fn permissions(database: &dyn Database, settings: &Settings) -> Vec<Finding> {
    let sources: BTreeSet<String> = wiring::feeds(settings).into_iter().map(|(_, source)| source).collect();
    let mut found = Vec::new();
    for spec in containers::wanted(settings) {
        let Ok(container) = database.container(&spec.name).await else { continue };
        if let Err(error) = read(&*container).await {
            found.push(refused("permissions", error, "read documents"));
        }
        if sources.contains(&spec.name)
            && let Err(error) = read_feed(&*container).await
        {
            found.push(refused("permissions", error, "read the change feed"));
        }
        if !ONLY_READ.contains(&spec.name.as_str())
            && let Err(error) = write(&*container).await
        {
            found.push(refused("permissions", error, "write documents"));
        }
    }
    if found.is_empty() {
        found.push(Finding::good(
            "permissions",
            "this identity reads what it must, feeds too, and may write projections and leases",
        ));
    }
    found
}

async fn read(container: &dyn Container) -> Result<(), Error> {
    let id = nobody();
    container.read(&key(container), &id, &ReadLevel::Quorum).await.map(drop)
}

async fn read_feed(container: &dyn Container) -> Result<(), Error> {
    for range in container.feed_ranges().await?.iter().take(1) {
        container.read_page(range, &FeedStart::Now, 1).await?;
    }
    Ok(())
}

/// Replaces a document that is not there: whoever may write is told so, and nothing is written.
async fn write(container: &dyn Container) -> Result<(), Error> {
    let fields = container.partition_key_paths().iter().map(|path| path.trim_start_matches('/').to_owned());
    let mut body: Map<String, Value> = fields.map(|field| (field, Value::from(NOBODYS))).collect();
    body.insert("id".to_owned(), Value::from(NOBODYS));
    let replace = Operation::Replace {
        id: nobody(),
        body: Bytes::from(Value::from(body).to_string()),
        if_match: Some(ETag::new("\"nobodys\"")),
    };
    match container.write(&key(container), replace).await {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Precondition) => Ok(()),
        other => other.map(drop),
    }
}

fn nobody() -> DocumentId {
    DocumentId::new(NOBODYS).expect("a constant that is a legal id")
}

fn key(container: &dyn Container) -> PartitionKey {
    let part = |_path: &String| KeyPart::String(NOBODYS.to_owned());
    PartitionKey::from_parts(container.partition_key_paths().iter().map(part).collect())
}

fn refused(check: &'static str, error: Error, what: &str) -> Finding {
    let advice = match error.kind() {
        ErrorKind::Forbidden => {
            format!(
                "grant it: charts/container-apps/template.json has the role that may {what}; grants take minutes to work"
            )
        }
        ErrorKind::Throttled { .. } => "the store is busy: again later, or with more throughput".to_owned(),
        _ => "again later; if it stays so, look at the store itself".to_owned(),
    };
    Finding::of_error(check, error, advice)
}
