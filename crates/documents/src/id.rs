//! Ids of several parts: joined by `:`, each part percent-encoded where it has a character that separates or that
//! Cosmos refuses. So ("a:b", "c") and ("a", "b:c") stay different, and every id reads back.

use feedmill_store_api::limits::ID_BYTES_MAX;
use feedmill_store_api::{DocumentId, InvalidId};

/// Why parts make no id, or an id no parts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("cannot make an id of {parts}: {source}")]
    Invalid { parts: String, source: InvalidId },
    #[error("not an id of {expected} parts joined by `:` and percent-encoded: {id}")]
    Malformed { id: String, expected: usize },
}

/// The id of these parts. Fails when it is empty or longer than the service takes (1,023 bytes).
pub fn join<const N: usize>(parts: [&str; N]) -> Result<DocumentId, IdError> {
    let mut id = String::with_capacity(parts.iter().map(|part| part.len() + 1).sum());
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            id.push(':');
        }
        escape(part, &mut id);
    }
    DocumentId::new(id).map_err(|source| IdError::Invalid { parts: shown(&parts), source })
}

/// Whether [`join`] would succeed, without making the id.
pub fn check<const N: usize>(parts: [&str; N]) -> Result<(), IdError> {
    let bytes = parts.iter().map(|part| part.len() + 2 * part.bytes().filter(|&byte| is_special(byte)).count());
    let bytes = bytes.sum::<usize>() + N.saturating_sub(1);
    if (1..=ID_BYTES_MAX).contains(&bytes) { Ok(()) } else { join(parts).map(|_| ()) }
}

/// The parts of an id. Fails when it has another number of parts or is not encoded as [`join`] does it.
pub fn split<const N: usize>(id: &str) -> Result<[String; N], IdError> {
    let malformed = || IdError::Malformed { id: id.to_owned(), expected: N };
    let parts = id.split(':').map(unescape).collect::<Option<Vec<_>>>().ok_or_else(malformed)?;
    parts.try_into().map_err(|_| malformed())
}

fn shown(parts: &[&str]) -> String {
    let shown: Vec<String> =
        parts.iter().map(|part| format!("{:?}", part.chars().take(40).collect::<String>())).collect();
    shown.join(", ")
}

fn is_special(byte: u8) -> bool {
    matches!(byte, b':' | b'/' | b'\\' | b'?' | b'#' | b'%')
}

fn escape(part: &str, into: &mut String) {
    let mut rest = part;
    while let Some(at) = rest.bytes().position(is_special) {
        into.push_str(&rest[..at]);
        into.push_str(match rest.as_bytes()[at] {
            b':' => "%3A",
            b'/' => "%2F",
            b'\\' => "%5C",
            b'?' => "%3F",
            b'#' => "%23",
            _ => "%25",
        });
        rest = &rest[at + 1..];
    }
    into.push_str(rest);
}

/// `None` for a `%` that begins none of the six codes and for a character that should have been encoded: an id has one
/// spelling only.
fn unescape(part: &str) -> Option<String> {
    let mut text = String::with_capacity(part.len());
    let mut rest = part;
    while let Some(at) = rest.bytes().position(is_special) {
        text.push_str(&rest[..at]);
        text.push(match rest.get(at..at + 3)? {
            "%3A" => ':',
            "%2F" => '/',
            "%5C" => '\\',
            "%3F" => '?',
            "%23" => '#',
            "%25" => '%',
            _ => return None,
        });
        rest = &rest[at + 3..];
    }
    text.push_str(rest);
    Some(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parts_are_joined_by_a_colon_and_only_six_characters_are_encoded() {
        for (parts, expected) in [
            (["1", "2"], "1:2"),
            (["a:b", "c"], "a%3Ab:c"),
            (["a", "b:c"], "a:b%3Ac"),
            (["/\\?#%", "é ü"], "%2F%5C%3F%23%25:é ü"),
            (["", "x"], ":x"),
        ] {
            assert_eq!(join(parts).unwrap().as_str(), expected);
            assert_eq!(split::<2>(expected).unwrap(), parts.map(str::to_owned));
        }
    }

    #[test]
    fn an_id_too_long_for_cosmos_is_an_error_that_shows_the_parts() {
        let long = "x".repeat(1_022);
        assert_eq!(join(["u", &long]).unwrap_err(), check(["u", &long]).unwrap_err());
        assert!(join(["u", &long]).unwrap_err().to_string().contains(r#""u", "xxx"#));
        assert!(join(["u", &long[..1_021]]).is_ok() && check(["u", &long[..1_021]]).is_ok());
        // Encoding counts: three bytes for one.
        assert!(join([&"/".repeat(342)]).is_err() && check([&"/".repeat(342)]).is_err());
    }

    #[test]
    fn what_join_never_makes_does_not_split() {
        for id in ["a", "a:b:c", "a%:b", "a%2f:b", "a%41:b", "a/b:c", "a%2", "a:%é"] {
            assert!(split::<2>(id).is_err(), "{id}");
        }
    }

    proptest! {
        #[test]
        fn every_id_reads_back(parts in [".{0,40}|[:/\\\\?#%a]{0,20}", ".{0,40}|[:/\\\\?#%a]{0,20}", ".{0,40}"]) {
            let parts = parts.each_ref().map(String::as_str);
            let id = join(parts).unwrap();
            prop_assert!(check(parts).is_ok());
            prop_assert_eq!(split::<3>(id.as_str()).unwrap(), parts.map(str::to_owned));
        }

        #[test]
        fn different_parts_make_different_ids(a in ["[:%a/]{0,4}", "[:%a/]{0,4}"], b in ["[:%a/]{0,4}", "[:%a/]{0,4}"]) {
            let ids = (join(a.each_ref().map(String::as_str)).unwrap(), join(b.each_ref().map(String::as_str)).unwrap());
            prop_assert_eq!(a == b, ids.0 == ids.1);
        }

        #[test]
        fn an_id_has_one_spelling(id in "[:%235acAC/]{0,12}") {
            if let Ok(parts) = split::<2>(&id) {
                let joined = join(parts.each_ref().map(String::as_str)).unwrap();
                prop_assert_eq!(joined.as_str(), id);
            }
        }
    }
}
