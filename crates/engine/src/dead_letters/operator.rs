use std::sync::Arc;

use feedmill_clock::{Clock, Entropy};
use feedmill_store_api::{
    Container, Database, Document, DocumentId, ErrorKind, FeedStart, Operation, PageRequest, PartitionKey, Query,
    ReadLevel, Result, Scope,
};

use super::ledger::Ledger;
use super::letter::{Letter, LetterState};
use super::redrive::Redriver;
use crate::lifetime::Rounds;
use crate::limits::LISTING_ITEMS;
use crate::retry::Patience;
use crate::{Options, Processor, Writer};

/// The dead letters of all processors, for people.
pub struct DeadLetters {
    container: Arc<dyn Container>,
    patience: Patience,
    options: Options,
}

/// Which letters are wanted; what is not given is no condition.
#[derive(Clone, Debug, Default)]
pub struct LetterFilter {
    pub processor: Option<String>,
    /// Name of the source container.
    pub container: Option<String>,
    pub state: Option<LetterState>,
    /// Part of the error's text.
    pub error: Option<String>,
}

impl DeadLetters {
    /// Fails when there is no container of them.
    pub async fn open(
        database: &dyn Database,
        options: &Options,
        clock: Arc<dyn Clock>,
        entropy: Entropy,
    ) -> Result<Self> {
        let container = database.container(&options.dead_letters).await?;
        let patience = Patience { clock, entropy, min: options.backoff_min, max: options.backoff_max };
        Ok(Self { container, patience, options: options.clone() })
    }

    /// A page of letters, and where the next one begins.
    pub async fn list(
        &self,
        filter: &LetterFilter,
        continuation: Option<String>,
    ) -> Result<(Vec<Letter>, Option<String>)> {
        let request = PageRequest { items_max: LISTING_ITEMS, continuation };
        let page = self.container.query(&Scope::Container, &filter.query(), &request, &ReadLevel::Quorum).await?;
        let letters = page.items.into_iter().map(|body| Document { etag: feedmill_store_api::ETag::new(""), body });
        Ok((letters.map(|letter| letter.parse()).collect::<Result<_>>()?, page.continuation))
    }

    pub async fn read(&self, id: &DocumentId) -> Result<Option<Letter>> {
        let (found, _) = self.container.read(&PartitionKey::from(id.as_str()), id, &ReadLevel::Quorum).await?;
        found.map(|found| found.parse()).transpose()
    }

    /// Removes a letter for good: nobody tries it again. False when there was none.
    pub async fn drop(&self, id: &DocumentId) -> Result<bool> {
        let operation = Operation::Delete { id: id.clone(), if_match: None };
        match self.container.write(&PartitionKey::from(id.as_str()), operation).await {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Tries a letter now, with the processor it belongs to. It settles from the sources as they are now, so it lands
    /// where the change would have. Gives what is still wrong; `None` once it is applied.
    pub async fn replay(
        &self,
        letter: &Letter,
        processor: &Processor,
        database: &dyn Database,
        writer: &Writer,
    ) -> Result<Option<String>> {
        let source = database.container(&processor.source).await?;
        let (container, patience) = (Arc::clone(&self.container), self.patience.clone());
        let ledger = Ledger::new(container, &processor.name, &processor.source, patience, &self.options);
        for range in source.feed_ranges().await?.iter().filter(|range| range.overlaps(&letter.range)) {
            ledger.session(range, &source.read_page(range, &FeedStart::Now, 1).await?.session);
        }
        let redriver = Redriver {
            ledger: Arc::new(ledger),
            source,
            handler: Arc::clone(&processor.handler),
            writer: writer.clone(),
            rounds: Rounds::new(),
        };
        let id = DocumentId::new(&*letter.id)
            .map_err(|error| feedmill_store_api::Error::new(ErrorKind::Corrupt, error.to_string()))?;
        Ok(redriver.replay(&id).await?.map(|fault| fault.as_str().to_owned()))
    }
}

impl LetterFilter {
    fn query(&self) -> Query {
        let state = self.state.map(|state| serde_json::to_value(state).expect("a state is a word"));
        let conditions = [
            ("c.processor = @processor", "@processor", self.processor.clone().map(Into::into)),
            ("c.container = @container", "@container", self.container.clone().map(Into::into)),
            ("c.state = @state", "@state", state),
            ("CONTAINS(c.error, @error)", "@error", self.error.clone().map(Into::into)),
        ];
        let (mut text, mut query) = (String::from("SELECT * FROM c"), Query::new(""));
        for (condition, name, value) in conditions {
            let Some(value) = value else { continue };
            text += if query.parameters.is_empty() { " WHERE " } else { " AND " };
            text += condition;
            query = query.with(name, value);
        }
        Query { text: text.into(), ..query }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_asks_for_what_was_given_and_no_more() {
        assert_eq!(LetterFilter::default().query(), Query::new("SELECT * FROM c"));
        let filter = LetterFilter {
            container: Some("follows".into()),
            state: Some(LetterState::Dead),
            ..LetterFilter::default()
        };
        let expected = Query::new("SELECT * FROM c WHERE c.container = @container AND c.state = @state")
            .with("@container", "follows")
            .with("@state", "dead");
        assert_eq!(filter.query(), expected);
    }
}
