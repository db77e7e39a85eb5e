//! The client's continuation tokens, to and from the raw etag that leases store.
//!
//! A token is `c1.` and URL-safe base64 of JSON: operation, container, and for each sub-range the etag of its last page. Leases of
//! .NET hold that etag alone, so tokens are made and taken apart here. The format is that of `azure_data_cosmos` 1.0.0, pinned.

use azure_core::base64::{decode_url_safe, encode_url_safe};
use azure_data_cosmos::feed::ContinuationToken;
use azure_data_cosmos::models::EffectivePartitionKey;
use feedmill_store_api::{FeedRange, Position};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

const PREFIX: &str = "c1.";

#[derive(Serialize, Deserialize)]
struct Token {
    op: String,
    rid: String,
    root: Root,
}

#[derive(Serialize, Deserialize)]
struct Root {
    kind: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    active_tokens: Vec<Active>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    start_from: Option<StartFrom>,
}

/// Goes out with every page beside the etag.
#[derive(Serialize, Deserialize)]
struct StartFrom {
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    value: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Active {
    min_epk: String,
    max_epk: String,
    server_continuation: String,
}

/// The token that goes on with `range` after the page that ended at `position`, without what was written before `since`.
pub(crate) fn of_position(
    container_rid: &str,
    range: &FeedRange,
    position: &Position,
    since: Option<Timestamp>,
) -> ContinuationToken {
    let start_from = since.map(|since| StartFrom {
        kind: "point_in_time".to_owned(),
        value: Some(since.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
    });
    let active = Active {
        min_epk: range.min().to_owned(),
        max_epk: range.max().to_owned(),
        server_continuation: position.as_str().to_owned(),
    };
    let token = Token {
        op: "ChangeFeed".to_owned(),
        rid: container_rid.to_owned(),
        root: Root { kind: "unordered_merge".to_owned(), active_tokens: vec![active], start_from },
    };
    let json = serde_json::to_vec(&token).expect("strings make JSON");
    ContinuationToken::from_string(format!("{PREFIX}{}", encode_url_safe(json)))
}

/// What a token says about where its range ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    At(Position),
    /// The range is several partitions by now, and the client has followed them on its own.
    InParts,
    Unreadable,
}

/// Takes the token of a change feed apart after a page of `range`.
pub(crate) fn position_of(token: &ContinuationToken, range: &FeedRange) -> Ended {
    let Some(token) = decode(token.as_str()) else { return Ended::Unreadable };
    match token.root.active_tokens.as_slice() {
        [one] if same(&one.min_epk, range.min()) && same(&one.max_epk, range.max()) => {
            Ended::At(Position::new(one.server_continuation.clone()))
        }
        [] => Ended::Unreadable,
        _ => Ended::InParts,
    }
}

/// Whether a query's token says that nothing is left.
pub(crate) fn is_drained(token: &str) -> bool {
    decode(token).is_some_and(|token| token.root.kind == "drained")
}

fn decode(token: &str) -> Option<Token> {
    serde_json::from_slice(&decode_url_safe(token.strip_prefix(PREFIX)?).ok()?).ok()
}

/// Zeros at the end of a bound mean nothing, so two texts may be one bound.
fn same(one: &str, other: &str) -> bool {
    match (EffectivePartitionKey::try_from(one), EffectivePartitionKey::try_from(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range() -> FeedRange {
        FeedRange::new("", "1FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF").unwrap()
    }

    fn encoded(json: &str) -> ContinuationToken {
        ContinuationToken::from_string(format!("c1.{}", encode_url_safe(json)))
    }

    #[test]
    fn the_etag_of_a_lease_goes_into_a_token_and_comes_out_as_it_was() {
        let position = Position::new("\"1234\"");
        let token = of_position("AAAAAIAAAAA=", &range(), &position, None);
        assert_eq!(position_of(&token, &range()), Ended::At(position));
    }

    #[test]
    fn a_time_to_start_from_stays_in_the_token() {
        let (position, since) = (Position::new("\"7\""), Timestamp::from_second(1_763_699_999).unwrap());
        let token = of_position("A", &range(), &position, Some(since));
        let start_from = decode(token.as_str()).unwrap().root.start_from.unwrap();
        assert_eq!(
            (start_from.kind.as_str(), start_from.value.as_deref()),
            ("point_in_time", Some("2025-11-21T04:39:59Z"))
        );
        assert_eq!(position_of(&token, &range()), Ended::At(position));
    }

    #[test]
    fn a_token_of_the_client_gives_the_raw_etag() {
        let token = encoded(
            r#"{"op":"ChangeFeed","rid":"AAAAAIAAAAA=","root":{"kind":"unordered_merge","active_tokens":[{"min_epk":"","max_epk":"1FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF","server_continuation":"\"10\""}],"start_from":{"kind":"beginning"}}}"#,
        );
        assert_eq!(position_of(&token, &range()), Ended::At(Position::new("\"10\"")));
    }

    #[test]
    fn a_range_that_the_client_read_in_parts_has_no_position() {
        let both = r#"{"op":"ChangeFeed","rid":"A","root":{"kind":"unordered_merge","active_tokens":[{"min_epk":"","max_epk":"0F","server_continuation":"\"13\""},{"min_epk":"0F","max_epk":"1FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF","server_continuation":"\"10\""}]}}"#;
        assert_eq!(position_of(&encoded(both), &range()), Ended::InParts);
        // The other child has not been asked yet, so the token names one of two.
        let first = r#"{"op":"ChangeFeed","rid":"A","root":{"kind":"unordered_merge","active_tokens":[{"min_epk":"","max_epk":"0F","server_continuation":"\"13\""}]}}"#;
        assert_eq!(position_of(&encoded(first), &range()), Ended::InParts);
    }

    #[test]
    fn bounds_that_differ_by_zeros_at_the_end_are_one() {
        let token = of_position("A", &FeedRange::new("80", "FF").unwrap(), &Position::new("\"1\""), None);
        assert_eq!(position_of(&token, &FeedRange::new("8000", "FF").unwrap()), Ended::At(Position::new("\"1\"")));
    }

    #[test]
    fn what_is_no_token_says_nothing() {
        for text in ["", "c1.", "c1.!!", "c2.e30", "\"10\""] {
            let token = ContinuationToken::from_string(text.to_owned());
            assert_eq!(position_of(&token, &range()), Ended::Unreadable, "{text}");
            assert!(!is_drained(text));
        }
        assert!(is_drained(encoded(r#"{"op":"Query","rid":"A","root":{"kind":"drained"}}"#).as_str()));
    }
}
