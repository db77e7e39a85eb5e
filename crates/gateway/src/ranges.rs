use feedmill_local_store::PhysicalPartition;
use feedmill_store_api::FeedRange;
use http::StatusCode;
use serde_json::json;

use crate::directory::{ContainerEntry, Directory};
use crate::fault::Fault;
use crate::reply::{Reply, listing};
use crate::router::Call;

/// One physical partition as clients know it.
#[derive(Clone, Debug)]
pub(crate) struct Range {
    pub(crate) id: String,
    pub(crate) range: FeedRange,
    /// Ids of all partitions it came from.
    pub(crate) parents: Vec<String>,
}

/// The partitions as they are now, in key order.
pub(crate) fn of(directory: &Directory, entry: &ContainerEntry) -> Result<Vec<Range>, Fault> {
    let partitions = directory.store.partitions(&entry.database, entry.container.name())?;
    let range = |partition: PhysicalPartition| Range {
        id: partition.id.to_string(),
        range: partition.range,
        parents: partition.parents.iter().map(u16::to_string).collect(),
    };
    Ok(partitions.into_iter().map(range).collect())
}

/// The partitions, as a feed of changes: nothing (304) for who has seen them as they are.
pub(crate) fn list(call: &Call<'_>, entry: &ContainerEntry) -> Result<Reply, Fault> {
    let ranges = of(call.directory, entry)?;
    // The partitions name every state they were ever in, so their ids do too.
    let etag = format!("\"{}\"", ranges.iter().map(|range| range.id.as_str()).collect::<Vec<_>>().join("-"));
    if call.asked.text("if-none-match") == Some(etag.as_str()) {
        return Ok(Reply::new(StatusCode::NOT_MODIFIED).header("etag", &etag).items(0));
    }
    let fraction = 1.0 / ranges.len() as f64;
    let shown = |(index, range): (usize, &Range)| {
        let Range { id, range, parents } = range;
        json!({
            "id": id,
            "_rid": format!("{}{index:04}", entry.rid().trim_end_matches('=')),
            "_self": format!("{}pkranges/{id}/", entry.self_link()),
            "_etag": etag,
            "_ts": entry.kept.timestamp_seconds,
            "_lsn": index,
            "minInclusive": range.min(),
            "maxExclusive": range.max(),
            "ridPrefix": index,
            "throughputFraction": fraction,
            "status": "online",
            "parents": parents,
        })
        .to_string()
    };
    let items: Vec<_> = ranges.iter().enumerate().map(shown).collect();
    let count = items.len();
    let body = listing(entry.rid(), "PartitionKeyRanges", &items);
    Ok(Reply::new(StatusCode::OK).body(body).header("etag", &etag).items(count))
}

/// Of a range as a request names it: `rid,id` in some SDKs.
pub(crate) fn own_id(text: &str) -> &str {
    text.rsplit(',').next().unwrap_or(text).trim()
}
