use feedmill_documents::listed;
use feedmill_engine::{Reader, SettleError};
use feedmill_store_api::{Document, DocumentId, PartitionKey, Query};

/// Targets settled in one go: bounds memory, and is enough to fill the writer's batches.
pub(crate) const TARGETS_MAX: usize = 20_000;

/// The documents of one partition key, page by page, withdrawn ones included.
pub(crate) struct Pages<'a> {
    reader: &'a Reader<'a>,
    container: &'a str,
    key: PartitionKey,
    query: Query,
    /// Of each page from now on.
    pub(crate) items_max: usize,
    next: Next,
}

enum Next {
    First,
    After(String),
    Nothing,
}

impl<'a> Pages<'a> {
    pub(crate) fn new(reader: &'a Reader<'a>, container: &'a str, key: &str, query: Query, items_max: usize) -> Self {
        Self { reader, container, key: PartitionKey::from(key), query, items_max, next: Next::First }
    }

    /// Whether there is no page after those that were read.
    pub(crate) fn is_at_end(&self) -> bool {
        matches!(self.next, Next::Nothing)
    }

    /// The next page; `None` after the last.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<(DocumentId, Document)>>, SettleError> {
        let continuation = match std::mem::replace(&mut self.next, Next::Nothing) {
            Next::First => None,
            Next::After(continuation) => Some(continuation),
            Next::Nothing => return Ok(None),
        };
        let page = self.reader.query(self.container, &self.key, &self.query, self.items_max, continuation).await?;
        if let Some(continuation) = page.continuation {
            self.next = Next::After(continuation);
        }
        let documents = page.items.into_iter().map(listed).collect::<Result<_, _>>();
        documents.map(Some).map_err(|error| {
            SettleError::Invalid(format!("list the documents of {} in {}: {error}", self.key, self.container))
        })
    }
}
