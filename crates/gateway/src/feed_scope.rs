use feedmill_store_api::{FeedRange, PartitionKey};

use crate::directory::ContainerEntry;
use crate::fault::Fault;
use crate::headers::{Asked, END_EPK, RANGE_ID, READ_KEY_TYPE, START_EPK};
use crate::router::Call;
use crate::{partition_key, ranges};

/// Which part of a container a feed or a query is over.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum FeedScope {
    Key(PartitionKey),
    /// A physical partition or a part of one.
    Range(FeedRange),
    Container,
}

impl FeedScope {
    pub(crate) fn asked(call: &Call<'_>, entry: &ContainerEntry) -> Result<Self, Fault> {
        let asked = call.asked;
        // An empty array asks for documents of all keys.
        if let Some(key) = partition_key::asked(asked)?
            && asked.text(crate::headers::PARTITION_KEY).is_some_and(|text| text.trim() != "[]")
        {
            return Ok(Self::Key(key));
        }
        let bounds = bounds(asked)?;
        let Some(id) = asked.text(RANGE_ID).map(ranges::own_id) else {
            return match bounds {
                None => Ok(Self::Container),
                Some(part) => Self::around(call, entry, part),
            };
        };
        let ranges = ranges::of(call.directory, entry)?;
        let found = ranges.into_iter().find(|range| range.id == id);
        let range = found.ok_or_else(|| Fault::gone(format!("there is no partition key range {id} any more")))?.range;
        match bounds {
            None => Ok(Self::Range(range)),
            Some(part) if range.contains(&part) => Ok(Self::Range(part)),
            Some(part) => Err(Fault::gone(format!("{part} is no part of partition key range {id}, which is {range}"))),
        }
    }

    /// A part of the key space without its partition's id.
    fn around(call: &Call<'_>, entry: &ContainerEntry, part: FeedRange) -> Result<Self, Fault> {
        if part == FeedRange::full() {
            return Ok(Self::Container);
        }
        let found = ranges::of(call.directory, entry)?.into_iter().find(|range| range.range.contains(&part));
        found.ok_or_else(|| Fault::gone(format!("{part} is not within one physical partition")))?;
        Ok(Self::Range(part))
    }
}

/// Of the effective partition key, where the request has them.
fn bounds(asked: Asked<'_>) -> Result<Option<FeedRange>, Fault> {
    let (start, end) = (asked.text(START_EPK), asked.text(END_EPK));
    if start.is_none() && end.is_none() {
        return Ok(None);
    }
    if let Some(kind) = asked.text(READ_KEY_TYPE)
        && !kind.eq_ignore_ascii_case("EffectivePartitionKeyRange")
    {
        return Err(Fault::bad_request(format!(
            "{READ_KEY_TYPE} is {kind}; with bounds it is EffectivePartitionKeyRange"
        )));
    }
    let (start, end) = (start.unwrap_or(""), end.unwrap_or("FF"));
    FeedRange::new(start.to_uppercase(), end.to_uppercase())
        .map(Some)
        .map_err(|error| Fault::bad_request(format!("{START_EPK} and {END_EPK}: {error}")))
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderName, HeaderValue};

    use super::*;

    fn of(headers: &[(&'static str, &'static str)]) -> Result<Option<FeedRange>, Fault> {
        let headers =
            headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        bounds(Asked(&HeaderMap::from_iter(headers)))
    }

    #[test]
    fn bounds_are_an_interval_of_hex() {
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&[(START_EPK, ""), (END_EPK, "1f")]), Ok(Some(FeedRange::new("", "1F").unwrap())));
        assert!(of(&[(START_EPK, "2"), (END_EPK, "1")]).is_err());
        assert!(of(&[(START_EPK, "x"), (END_EPK, "FF")]).is_err());
        assert!(of(&[(START_EPK, ""), (READ_KEY_TYPE, "EffectivePartitionKey")]).is_err());
    }

    #[test]
    fn a_range_may_be_named_with_its_container() {
        assert_eq!((ranges::own_id("0"), ranges::own_id("AAAA==,12")), ("0", "12"));
    }
}
