use bytes::Bytes;

use crate::{ETag, Position, RequestCharge, SessionToken};

/// The newest version of a document, as a latest-version feed delivers it.
#[derive(Clone, Debug)]
pub struct Change {
    /// Grows with every commit of a physical partition; all writes of one transactional batch share one.
    pub lsn: u64,
    /// Epoch seconds of the write, from the store's clock.
    pub timestamp_seconds: i64,
    pub etag: ETag,
    /// The document's JSON text, system fields included.
    pub body: Bytes,
}

/// One page of a feed range.
#[derive(Clone, Debug)]
pub struct FeedPage {
    /// In feed order. Empty at the end of the feed as it is now.
    pub changes: Vec<Change>,
    /// Where the next page begins; given for an empty page too.
    pub position: Position,
    /// What reads of this container must have seen to be as new as this page.
    pub session: SessionToken,
    /// LSN of the range's newest commit, for the lag.
    pub head_lsn: u64,
    pub charge: RequestCharge,
}
