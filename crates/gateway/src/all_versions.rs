use bytes::Bytes;
use feedmill_local_store::{EventKind, Happened};
use feedmill_store_api::{FeedRange, FeedStart};
use serde_json::{Map, Value, json};

use crate::change_feed::Page;
use crate::directory::ContainerEntry;
use crate::fault::Fault;
use crate::router::Call;

/// One page of the all-versions-and-deletes feed: every version and every deletion since a moment that must still be kept.
pub(crate) async fn read(
    call: &Call<'_>,
    entry: &ContainerEntry,
    range: &FeedRange,
    start: &FeedStart,
    items_max: usize,
) -> Result<Page, Fault> {
    let name = (entry.database.as_str(), entry.container.name());
    let page = call.directory.store.read_history(name, range, start, items_max).await?.ok_or_else(|| {
        Fault::bad_request(format!(
            "{} keeps no earlier versions: give its changeFeedPolicy a retentionDuration, in minutes",
            name.1
        ))
    })?;
    let items = page.events.iter().map(|event| envelope(event, entry.container.partition_key_paths()));
    Ok(Page {
        items: items.collect::<Result<_, _>>()?,
        position: page.position,
        session: page.session,
        head_lsn: page.head_lsn,
        charge: page.charge,
    })
}

/// A deletion has what was deleted as `previous`; of what was replaced only the LSN is told, as by an account that keeps no images.
fn envelope(event: &Happened, key_paths: &[String]) -> Result<Bytes, Fault> {
    let operation = match event.kind {
        EventKind::Create => "create",
        EventKind::Replace => "replace",
        EventKind::Delete | EventKind::Expire => "delete",
    };
    let mut metadata = json!({"lsn": event.lsn, "crts": event.timestamp_seconds, "operationType": operation});
    if let Some(previous) = event.previous_lsn {
        metadata["previousImageLSN"] = previous.into();
    }
    let document = std::str::from_utf8(&event.document).map_err(|error| Fault::bad_request(error.to_string()))?;
    if operation != "delete" {
        return Ok(format!("{{\"current\":{document},\"metadata\":{metadata}}}").into());
    }
    let deleted: Value = serde_json::from_str(document).map_err(|error| Fault::bad_request(error.to_string()))?;
    metadata["timeToLiveExpired"] = (event.kind == EventKind::Expire).into();
    metadata["id"] = deleted["id"].clone();
    let component = |path: &String| {
        let value = deleted.pointer(path)?.clone();
        Some((path.rsplit('/').next()?.to_owned(), value))
    };
    metadata["partitionKey"] = key_paths.iter().filter_map(component).collect::<Map<_, _>>().into();
    Ok(format!("{{\"current\":{{}},\"previous\":{document},\"metadata\":{metadata}}}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(kind: EventKind, previous_lsn: Option<u64>) -> Value {
        let document = Bytes::from_static(br#"{"id":"1","a":{"k":"x"},"_ts":5}"#);
        let event = Happened { kind, lsn: 7, timestamp_seconds: 9, previous_lsn, document };
        serde_json::from_slice(&envelope(&event, &["/a/k".to_owned()]).unwrap()).unwrap()
    }

    #[test]
    fn what_was_written_is_current_and_what_was_deleted_previous() {
        let document = json!({"id": "1", "a": {"k": "x"}, "_ts": 5});
        let metadata = json!({"lsn": 7, "crts": 9, "operationType": "create"});
        assert_eq!(told(EventKind::Create, None), json!({"current": document, "metadata": metadata}));
        let metadata = json!({"lsn": 7, "crts": 9, "operationType": "replace", "previousImageLSN": 3});
        assert_eq!(told(EventKind::Replace, Some(3)), json!({"current": document, "metadata": metadata}));
        for (kind, expired) in [(EventKind::Delete, false), (EventKind::Expire, true)] {
            let metadata = json!({
                "lsn": 7, "crts": 9, "operationType": "delete", "previousImageLSN": 3, "timeToLiveExpired": expired,
                "id": "1", "partitionKey": {"k": "x"},
            });
            assert_eq!(told(kind, Some(3)), json!({"current": {}, "previous": document, "metadata": metadata}));
        }
    }
}
