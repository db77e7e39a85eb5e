use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use feedmill_clock::SystemClock;
use feedmill_store_api::{Container, FeedStart, PartitionKey, Query, Result as StoreResult};
use futures::StreamExt;

use crate::error::{Failure, Result};
use crate::line::identity;
use crate::settings::Settings;
use crate::store;

/// Changes of one feed page.
const PAGE_ITEMS_MAX: usize = 1_000;

/// Partition keys read ahead of the one being written.
const KEYS_IN_FLIGHT: usize = 16;

/// Prints every document of a container, one line of JSON each
///
/// In the order of partition key and id, so that two exports can be compared; expired documents are left out.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: feedmill export userFeed --data-dir ./store | head -3")]
pub(crate) struct Args {
    /// Such as userFeed, counters, notifications, posts_v2, deadLetters
    container: String,

    /// File to write instead of stdout
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) async fn run(args: &Args, settings: &Settings) -> Result<()> {
    let store::Opened { database, .. } = store::open_existing(settings, Arc::new(SystemClock)).await?;
    let container = store::container(&*database, &args.container).await?;
    let Some(path) = &args.out else {
        let mut out = BufWriter::new(io::stdout().lock());
        return export(&*container, &mut out, Failure::from).await;
    };
    let cannot = |error: io::Error| {
        Failure::failed(
            anyhow::Error::new(error).context(format!("write {}", path.display())),
            "is there such a folder, and space in it?",
        )
    };
    let mut out = BufWriter::new(File::create(path).map_err(cannot)?);
    export(&*container, &mut out, cannot).await
}

async fn export(container: &dyn Container, out: &mut impl Write, cannot: impl Fn(io::Error) -> Failure) -> Result<()> {
    let keys = keys(container).await?;
    let mut pages = futures::stream::iter(keys.iter().map(|key| documents(container, key))).buffered(KEYS_IN_FLIGHT);
    while let Some(documents) = pages.next().await {
        for document in documents? {
            out.write_all(&document).and_then(|()| out.write_all(b"\n")).map_err(&cannot)?;
        }
    }
    out.flush().map_err(cannot)
}

/// Every partition key there is. The change feed is the one listing that costs no more than its pages; a query over all keys
/// promises no order either.
async fn keys(container: &dyn Container) -> Result<BTreeSet<PartitionKey>> {
    let mut keys = BTreeSet::new();
    for range in container.feed_ranges().await? {
        let mut start = FeedStart::Beginning;
        loop {
            let page = container.read_page(&range, &start, PAGE_ITEMS_MAX).await?;
            if page.changes.is_empty() {
                break;
            }
            for change in &page.changes {
                keys.insert(identity(&change.body, container.partition_key_paths())?.1);
            }
            start = FeedStart::Position(page.position);
        }
    }
    Ok(keys)
}

/// The documents of one key by id. They are sorted here because no index promises that order.
async fn documents(container: &dyn Container, key: &PartitionKey) -> StoreResult<Vec<Bytes>> {
    let mut documents = Vec::new();
    for body in store::query_all(container, key.clone(), &Query::new("SELECT * FROM c")).await? {
        documents.push((identity(&body, container.partition_key_paths())?.0, body));
    }
    documents.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(documents.into_iter().map(|(_, body)| body).collect())
}
