//! The document that stops a processor on all its hosts.

use bytes::Bytes;
use feedmill_store_api::{DocumentId, InvalidId};
use serde::{Deserialize, Serialize};

/// Outside every `{prefix}..`. Kept when the processor goes on: a removed document is in no feed.
const PREFIX: &str = "feedmill.pause.";

/// Whether a processor shall rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Pause {
    id: String,
    /// In containers by `/partitionKey`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    partition_key: Option<String>,
    pub(crate) processor: String,
    pub(crate) paused: bool,
    /// When that was asked for, for people.
    since: jiff::Timestamp,
}

impl Pause {
    /// With the id of the document it makes.
    pub(crate) fn new(
        processor: &str,
        paused: bool,
        since: jiff::Timestamp,
        by_partition_key: bool,
    ) -> Result<(DocumentId, Self), InvalidId> {
        let id = DocumentId::new(format!("{PREFIX}{processor}"))?;
        let text = id.as_str().to_owned();
        let partition_key = by_partition_key.then(|| text.clone());
        let processor = processor.to_owned();
        Ok((id, Self { id: text, partition_key, processor, paused, since }))
    }

    /// `None` for a document that is none.
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(body).ok().filter(|pause| pause.id.starts_with(PREFIX))
    }

    pub(crate) fn body(&self) -> Bytes {
        Bytes::from(serde_json::to_vec(self).expect("strings are JSON"))
    }
}

/// What every such id begins with.
pub(crate) fn id_prefix() -> &'static str {
    PREFIX
}
