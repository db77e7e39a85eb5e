use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use feedmill_documents::{Members, time};
use feedmill_store_api::{Container, Error, ErrorKind, PageRequest, PartitionKey, Query, ReadLevel, Result, Scope};
use serde_json::Value;

/// Where the page before ended: everything that comes after it is wanted.
///
/// `TIME` or `TIME,ID`: a time alone stands for everything that was created before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    created_at: String,
    tie: Option<String>,
}

#[derive(Debug, thiserror::Error)]
#[error("wanted TIME or TIME,ID with a time such as 2012-09-01T00:00:00Z")]
pub(crate) struct InvalidCursor;

impl FromStr for Cursor {
    type Err = InvalidCursor;
    fn from_str(text: &str) -> std::result::Result<Self, InvalidCursor> {
        let (created_at, tie) = match text.split_once(',') {
            Some((created_at, tie)) => (created_at, Some(tie.to_owned())),
            None => (text, None),
        };
        let created_at = time::text(time::parse(created_at).ok_or(InvalidCursor)?);
        Ok(Self { created_at, tie })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.tie {
            Some(tie) => write!(f, "{},{tie}", self.created_at),
            None => f.write_str(&self.created_at),
        }
    }
}

impl Cursor {
    /// Newest first, ties by id: whether `item` comes after this.
    pub(crate) fn is_before(&self, item: &Item) -> bool {
        match item.created_at.cmp(&self.created_at) {
            std::cmp::Ordering::Equal => self.tie.as_ref().is_some_and(|tie| item.tie > *tie),
            order => order.is_lt(),
        }
    }
}

/// What is listed newest first, and how.
pub(crate) struct Listing {
    /// What an item must be, over `c`, `@now` and the parameters.
    pub(crate) shown: String,
    pub(crate) parameters: Vec<(String, Value)>,
    /// After `c.createdAt DESC`, where an index has it; empty otherwise.
    pub(crate) then_by: &'static str,
    /// Which field decides between items of one time.
    pub(crate) tie: &'static str,
}

#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) created_at: String,
    tie: String,
    /// Without the fields of the store and of the engine.
    pub(crate) body: Bytes,
}

impl Item {
    pub(crate) fn read(body: &[u8], tie: &str) -> Result<Self> {
        let corrupt = || Error::new(ErrorKind::Corrupt, "read a listed document");
        let torn = |error: serde_json::Error| corrupt().with_source(error);
        let mut members = Members::parse(body).map_err(|error| corrupt().with_source(error))?;
        let text = |name| members.get(name).map_or(Ok(String::new()), |raw| serde_json::from_str(raw.get()));
        let (created_at, tie) = (text("createdAt").map_err(torn)?, text(tie).map_err(torn)?);
        members.retain(|name| !name.starts_with('_'));
        let body = serde_json::to_vec(&members).expect("members serialise as they were read").into();
        Ok(Self { created_at, tie, body })
    }

    /// Where it stands in its list.
    pub(crate) fn cursor(&self) -> Cursor {
        Cursor { created_at: self.created_at.clone(), tie: Some(self.tie.clone()) }
    }

    pub(crate) fn fields(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }
}

/// At most `limit` items of one key, and where the next page begins if there is more.
pub(crate) async fn newest(
    container: &dyn Container,
    key: PartitionKey,
    listing: &Listing,
    now: jiff::Timestamp,
    before: Option<&Cursor>,
    limit: usize,
) -> Result<(Vec<Item>, Option<Cursor>)> {
    let Listing { shown, parameters, then_by, tie } = listing;
    let until = if before.is_some() { " AND c.createdAt <= @until" } else { "" };
    let text = format!("SELECT * FROM c WHERE {shown}{until} ORDER BY c.createdAt DESC{then_by}");
    let mut query = Query::new(text).with("@now", time::text(now));
    for (name, value) in parameters {
        query = query.with(name.clone(), value.clone());
    }
    if let Some(before) = before {
        query = query.with("@until", before.created_at.clone());
    }

    let (scope, mut page) = (Scope::Partition(key), PageRequest::first(limit.clamp(10, 1_000)));
    let mut items: Vec<Item> = Vec::new();
    loop {
        let read = container.query(&scope, &query, &page, &ReadLevel::Quorum).await?;
        for body in &read.items {
            let item = Item::read(body, tie)?;
            if before.is_none_or(|before| before.is_before(&item)) {
                items.push(item);
            }
        }
        // Where the store breaks no ties, the last time is only whole once another one has begun.
        let end = items.get(limit.saturating_sub(1));
        let whole = end.zip(items.last()).is_some_and(|(end, last)| end.created_at != last.created_at);
        match read.continuation {
            Some(continuation) if !whole => page.continuation = Some(continuation),
            _ => break,
        }
    }
    items.sort_by(|a, b| b.created_at.cmp(&a.created_at).then_with(|| a.tie.cmp(&b.tie)));
    let more = items.len() > limit;
    items.truncate(limit);
    let next = items.last().filter(|_| more);
    let next = next.map(Item::cursor);
    Ok((items, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_reads_back_and_times_are_normalised() {
        for (given, shown) in [
            ("2012-09-01T00:00:00Z", "2012-09-01T00:00:00.000Z"),
            ("2012-09-01T02:00:00+02:00,a,b:c", "2012-09-01T00:00:00.000Z,a,b:c"),
        ] {
            let cursor: Cursor = given.parse().unwrap();
            assert_eq!(cursor.to_string(), shown);
            assert_eq!(shown.parse::<Cursor>().unwrap(), cursor);
        }
        assert!("yesterday".parse::<Cursor>().is_err());
    }

    #[test]
    fn what_comes_after_a_cursor_is_older_or_of_the_same_time_with_a_later_id() {
        let item = |created_at: &str, tie: &str| Item {
            created_at: format!("2012-09-0{created_at}T00:00:00.000Z"),
            tie: tie.to_owned(),
            body: Bytes::new(),
        };
        let cursor: Cursor = "2012-09-02T00:00:00Z,b".parse().unwrap();
        let alone: Cursor = "2012-09-02T00:00:00Z".parse().unwrap();
        for (item, after_cursor, after_time) in [
            (item("1", "a"), true, true),
            (item("2", "a"), false, false),
            (item("2", "b"), false, false),
            (item("2", "c"), true, false),
            (item("3", "c"), false, false),
        ] {
            assert_eq!((cursor.is_before(&item), alone.is_before(&item)), (after_cursor, after_time), "{item:?}");
        }
    }
}
