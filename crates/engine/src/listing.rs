//! Reads everything that a query finds in a container, page by page.

use bytes::Bytes;
use feedmill_store_api::{Container, PageRequest, Query, ReadLevel, Result, Scope};

use crate::limits::LISTING_ITEMS;
use crate::retry::Patience;

/// Pages of a query over a whole container, as of a quorum. Outlasts outages.
pub(crate) struct Listing<'a> {
    container: &'a dyn Container,
    patience: &'a Patience,
    attempted: &'a str,
    query: Query,
    next: Option<PageRequest>,
}

impl<'a> Listing<'a> {
    pub(crate) fn of(container: &'a dyn Container, patience: &'a Patience, attempted: &'a str, query: Query) -> Self {
        Self { container, patience, attempted, query, next: Some(PageRequest::first(LISTING_ITEMS)) }
    }

    /// The next page; `None` after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Bytes>>> {
        let Some(mut request) = self.next.take() else { return Ok(None) };
        let read = || self.container.query(&Scope::Container, &self.query, &request, &ReadLevel::Quorum);
        let page = self.patience.outlast(self.attempted, read).await?;
        self.next = page.continuation.map(|continuation| {
            request.continuation = Some(continuation);
            request
        });
        Ok(Some(page.items))
    }
}

/// Documents whose id begins with `prefix`.
pub(crate) fn ids_beginning_with(prefix: impl Into<serde_json::Value>) -> Query {
    Query::new("SELECT * FROM c WHERE STARTSWITH(c.id, @prefix)").with("@prefix", prefix)
}
