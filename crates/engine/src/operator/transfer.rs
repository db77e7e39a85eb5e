//! Leases of other change feed processors, read for what they say: a range and where to go on.

use std::collections::BTreeMap;

use feedmill_store_api::{FeedRange, FeedStart, Position};
use serde::Deserialize;
use serde_json::Value;

/// What a lease of another processor says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Adopted {
    pub range: FeedRange,
    pub start: FeedStart,
}

/// Why a lease of another processor cannot be taken over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unadoptable {
    #[error("it is no lease: it has no LeaseToken")]
    NoLease,
    #[error(
        "its token {token} is a partition key range's id, and it does not say which keys that means; --ranges takes the \
         container's ranges as its REST API lists them (GET .../pkranges)"
    )]
    NoRange { token: String },
    #[error("it reads in mode {mode}, and changes are read incrementally here")]
    Mode { mode: String },
    #[error("its continuation cannot be understood: {reason}")]
    Continuation { reason: String },
}

/// Which keys the ids of partition key ranges mean.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RangeIds {
    /// The container's only range, which any id then means.
    whole: Option<FeedRange>,
    ids: BTreeMap<String, FeedRange>,
}

impl RangeIds {
    /// Of a container whose ids nobody knows: `whole` is its range where it has only one.
    pub fn unknown(whole: Option<FeedRange>) -> Self {
        Self { whole, ids: BTreeMap::new() }
    }

    /// As the REST API of Cosmos lists a container's ranges: `{"PartitionKeyRanges": [{"id", "minInclusive", "maxExclusive"}]}`.
    /// <https://learn.microsoft.com/rest/api/cosmos-db/get-partition-key-ranges>
    pub fn listed(text: &str) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct List {
            #[serde(rename = "PartitionKeyRanges")]
            ranges: Vec<Listed>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Listed {
            id: String,
            min_inclusive: String,
            max_exclusive: String,
        }
        let mut ids = BTreeMap::new();
        for Listed { id, min_inclusive, max_exclusive } in serde_json::from_str::<List>(text)?.ranges {
            let range = FeedRange::new(min_inclusive, max_exclusive).map_err(serde::de::Error::custom)?;
            ids.insert(id, range);
        }
        Ok(Self { whole: None, ids })
    }

    fn range(&self, id: &str) -> Option<&FeedRange> {
        self.ids.get(id).or(self.whole.as_ref())
    }
}

impl Adopted {
    /// Of a lease of the .NET processor (both versions) or of the Java one (both generations), as its document stands.
    ///
    /// `ranges`: what a token means that is only the id of a partition key range. `never_read`: where a lease goes on that has
    /// no checkpoint.
    pub fn from_document(document: &Value, ranges: &RangeIds, never_read: &FeedStart) -> Result<Self, Unadoptable> {
        let text = |name: &str| document.get(name).and_then(Value::as_str);
        let token = text("LeaseToken").or_else(|| text("PartitionId")).ok_or(Unadoptable::NoLease)?;
        if let Some(mode) = text("Mode").filter(|mode| !mode.eq_ignore_ascii_case("Incremental Feed")) {
            return Err(Unadoptable::Mode { mode: mode.to_owned() });
        }
        let stated = document.get("FeedRange").or_else(|| document.get("feedRange"));
        let range = stated
            .and_then(|range| serde_json::from_value(range.get("Range").unwrap_or(range).clone()).ok())
            .or_else(|| token.split_once('-').and_then(|(min, max)| FeedRange::new(min, max).ok()))
            .or_else(|| ranges.range(token).cloned())
            .ok_or_else(|| Unadoptable::NoRange { token: token.to_owned() })?;
        let start = match text("ContinuationToken") {
            None | Some("") => match document.pointer("/properties/startFrom").and_then(Value::as_str) {
                Some("beginning") => FeedStart::Beginning,
                Some(time) => time.parse().map_or_else(|_| never_read.clone(), FeedStart::Time),
                None => never_read.clone(),
            },
            // A raw etag, as .NET and the older Java have it.
            Some(etag) if etag.starts_with('"') || etag.bytes().all(|byte| byte.is_ascii_digit()) => {
                FeedStart::Position(Position::new(etag))
            }
            Some(state) => java_state(state)?,
        };
        Ok(Self { range, start })
    }
}

/// The newer Java processor's: Base64 of `ChangeFeedStateV1`, whose tokens are raw etags.
fn java_state(state: &str) -> Result<FeedStart, Unadoptable> {
    let misunderstood = |reason: String| Unadoptable::Continuation { reason };
    let bytes = base64(state).ok_or_else(|| misunderstood("it is neither an etag nor Base64".to_owned()))?;
    let state: Value = serde_json::from_slice(&bytes).map_err(|error| misunderstood(error.to_string()))?;
    if state.get("V").and_then(Value::as_u64) != Some(1) {
        return Err(misunderstood("its version is not 1".to_owned()));
    }
    match state.get("Mode").and_then(Value::as_str) {
        None | Some("INCREMENTAL") => {}
        Some(mode) => return Err(Unadoptable::Mode { mode: mode.to_owned() }),
    }
    let tokens = state.pointer("/Continuation/Continuation").and_then(Value::as_array).cloned().unwrap_or_default();
    match tokens.as_slice() {
        [] => match state.pointer("/StartFrom/Type").and_then(Value::as_str) {
            Some("BEGINNING") => Ok(FeedStart::Beginning),
            other => Err(misunderstood(format!("it has no position and starts from {}", other.unwrap_or("nowhere")))),
        },
        [only] => match only.get("token").and_then(Value::as_str) {
            Some(token) => Ok(FeedStart::Position(Position::new(token))),
            None => Ok(FeedStart::Beginning),
        },
        // Its range was split and it had not yet made leases of the parts.
        _ => {
            Err(misunderstood("it is over more than one range; start its processor once, which divides it".to_owned()))
        }
    }
}

fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xFF) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn adopt(document: &Value) -> Result<Adopted, Unadoptable> {
        Adopted::from_document(document, &RangeIds::default(), &FeedStart::Beginning)
    }

    fn position(etag: &str) -> FeedStart {
        FeedStart::Position(Position::new(etag))
    }

    #[test]
    fn dotnet_leases_of_both_versions_are_understood() {
        let range = FeedRange::new("", "3FFF").unwrap();
        let version_0 = json!({
            "id": "p..0", "version": 0, "LeaseToken": "0", "FeedRange": {"Range": {"min": "", "max": "3FFF"}},
            "Owner": "net", "ContinuationToken": "\"7\"", "Mode": "Incremental Feed",
        });
        assert_eq!(adopt(&version_0), Ok(Adopted { range: range.clone(), start: position("\"7\"") }));
        let version_1 = json!({"id": "p..-3FFF", "version": 1, "LeaseToken": "-3FFF", "ContinuationToken": null});
        assert_eq!(adopt(&version_1), Ok(Adopted { range, start: FeedStart::Beginning }));
    }

    #[test]
    fn java_leases_of_both_generations_are_understood() {
        let older = json!({"id": "p..0", "LeaseToken": "0", "ContinuationToken": "\"12\"", "Owner": "java"});
        assert_eq!(adopt(&older), Err(Unadoptable::NoRange { token: "0".to_owned() }));
        let whole = FeedRange::full();
        let adopted = Adopted::from_document(&older, &RangeIds::unknown(Some(whole.clone())), &FeedStart::Beginning);
        assert_eq!(adopted, Ok(Adopted { range: whole, start: position("\"12\"") }));
        let list = r#"{"_rid": "x", "_count": 2, "PartitionKeyRanges": [
            {"id": "0", "minInclusive": "", "maxExclusive": "05C1", "ridPrefix": 0, "status": "online", "parents": []},
            {"id": "3", "minInclusive": "05C1", "maxExclusive": "FF", "parents": ["1"]}]}"#;
        let ids = RangeIds::listed(list).unwrap();
        let adopted = |token: &str| {
            let older = json!({"id": format!("p..{token}"), "LeaseToken": token, "ContinuationToken": "\"12\""});
            Adopted::from_document(&older, &ids, &FeedStart::Beginning).map(|adopted| adopted.range)
        };
        assert_eq!(adopted("0"), Ok(FeedRange::new("", "05C1").unwrap()));
        assert_eq!(adopted("3"), Ok(FeedRange::new("05C1", "FF").unwrap()));
        assert_eq!(adopted("1"), Err(Unadoptable::NoRange { token: "1".to_owned() }), "it was split since");
        assert!(RangeIds::listed("[]").is_err());
        // {"V":1,"Mode":"INCREMENTAL","StartFrom":{"Type":"NOW"},"Continuation":{"V":1,"Continuation":[{"token":"\"175\"",
        //  "range":{"min":"05","max":"06"}}]}}
        let state = "eyJWIjoxLCJNb2RlIjoiSU5DUkVNRU5UQUwiLCJTdGFydEZyb20iOnsiVHlwZSI6Ik5PVyJ9LCJDb250aW51YXRpb24iOnsiVi\
                     I6MSwiQ29udGludWF0aW9uIjpbeyJ0b2tlbiI6IlwiMTc1XCIiLCJyYW5nZSI6eyJtaW4iOiIwNSIsIm1heCI6IjA2In19XX19";
        let newer = json!({
            "id": "p..05-06", "version": 1, "LeaseToken": "05-06", "feedRange": {"Range": {"min": "05", "max": "06"}},
            "ContinuationToken": state, "timestamp": "2026-01-01T00:00:00.000Z[UTC]",
        });
        let range = FeedRange::new("05", "06").unwrap();
        assert_eq!(adopt(&newer), Ok(Adopted { range, start: position("\"175\"") }));
    }

    #[test]
    fn what_would_lose_its_place_is_refused() {
        let full_fidelity = json!({"LeaseToken": "-FF", "Mode": "Full-Fidelity Feed"});
        assert!(matches!(adopt(&full_fidelity), Err(Unadoptable::Mode { .. })));
        for state in ["%%", "e30="] {
            let unknown = json!({"LeaseToken": "-FF", "ContinuationToken": state});
            assert!(matches!(adopt(&unknown), Err(Unadoptable::Continuation { .. })), "{state}");
        }
        assert_eq!(adopt(&json!({"id": "x"})), Err(Unadoptable::NoLease));
    }
}
