use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, Method};
use jiff::{SignedDuration, Timestamp};
use percent_encoding::percent_decode_str;
use sha2::Sha256;

use crate::fault::Fault;
use crate::headers::{Asked, DATE};
use crate::options::Key;

/// A signature's date may be this far from ours, as in the service.
const SKEW_MAX: SignedDuration = SignedDuration::from_mins(15);

/// Checks a master-key signature: HMAC-SHA256 over verb, resource type, resource link and date.
pub(crate) fn check(key: &Key, method: &Method, path: &str, headers: &HeaderMap, now: Timestamp) -> Result<(), Fault> {
    let asked = Asked(headers);
    let authorization = asked.text("authorization").ok_or_else(|| {
        Fault::unauthorized("the request has no authorization header; sign it with the account's key")
    })?;
    let signature = signature(authorization)?;
    let date = asked.text(DATE).or_else(|| asked.text("date")).ok_or_else(|| {
        Fault::unauthorized("the request has neither x-ms-date nor date, one of which the signature is over")
    })?;
    let time = jiff::fmt::rfc2822::parse(date).map(|zoned| zoned.timestamp());
    let time = time.map_err(|error| Fault::unauthorized(format!("the request's date is {date:?}: {error}")))?;
    if now.duration_since(time).abs() > SKEW_MAX {
        return Err(Fault::forbidden(format!("the request's date is {date}, more than 15 minutes from {now}")));
    }
    let path = path.trim_matches('/');
    let decoded = percent_decode_str(path).decode_utf8_lossy();
    let signed = |path: &str| {
        let (kind, link) = resource(path);
        // Names are signed as they are written; resource ids in lower case and, by some SDKs, without what leads to them.
        let short = link.rsplit('/').next().unwrap_or(link).to_lowercase();
        [link, &link.to_lowercase(), &short].iter().any(|link| verify(key, method, kind, link, date, &signature))
    };
    if signed(path) || decoded != path && signed(&decoded) {
        return Ok(());
    }
    Err(Fault::unauthorized(
        "the signature is not that of this account's key; SDKs print the key they use as AccountKey in the connection string",
    ))
}

/// `type=master&ver=1.0&sig=…`, percent-encoded as a whole.
fn signature(authorization: &str) -> Result<Vec<u8>, Fault> {
    let text = percent_decode_str(authorization).decode_utf8_lossy();
    let part = |name: &str| text.split('&').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
    match part("type") {
        Some("master") => {}
        Some(other) => {
            return Err(Fault::unauthorized(format!(
                "credentials of type {other} are not taken here: use the account's key"
            )));
        }
        None => return Err(Fault::unauthorized("the authorization header is not type=…&ver=…&sig=…")),
    }
    let signature = part("sig").and_then(|signature| STANDARD.decode(signature).ok());
    signature.ok_or_else(|| Fault::unauthorized("the authorization header has no signature in base 64"))
}

/// The type of a resource and the link it is signed under: its own, or its owner's for a collection of them.
fn resource(path: &str) -> (&str, &str) {
    let parts = path.split('/').count();
    match path.rsplit_once('/') {
        None => (path, ""),
        Some((owner, kind)) if parts % 2 == 1 => (kind, owner),
        Some((owner, _)) => (owner.rsplit('/').next().unwrap_or(owner), path),
    }
}

fn verify(key: &Key, method: &Method, kind: &str, link: &str, date: &str, signature: &[u8]) -> bool {
    let text = format!("{}\n{kind}\n{link}\n{}\n\n", method.as_str().to_lowercase(), date.to_lowercase());
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&key.0) else { return false };
    mac.update(text.as_bytes());
    // In constant time.
    mac.verify_slice(signature).is_ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The header as SDKs write it.
    pub(crate) fn sign(key: &Key, method: &str, kind: &str, link: &str, date: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&key.0).unwrap();
        mac.update(format!("{}\n{kind}\n{link}\n{}\n\n", method.to_lowercase(), date.to_lowercase()).as_bytes());
        let text = format!("type=master&ver=1.0&sig={}", STANDARD.encode(mac.finalize().into_bytes()));
        percent_encoding::utf8_percent_encode(&text, percent_encoding::NON_ALPHANUMERIC).to_string()
    }

    const DATE_TEXT: &str = "Thu, 27 Apr 2017 00:51:12 GMT";

    fn outcome(authorization: &str, method: Method, path: &str, now: &str) -> u16 {
        let mut headers = HeaderMap::new();
        headers.insert("authorization", authorization.parse().unwrap());
        headers.insert(DATE, DATE_TEXT.parse().unwrap());
        let checked = check(&documented_key(), &method, path, &headers, now.parse().unwrap());
        checked.map_or_else(|fault| fault.status.as_u16(), |()| 200)
    }

    fn documented_key() -> Key {
        Key::parse("dsZQi3KtZmCv1ljt3VNWNm7sQUF1y5rJfC6kv5JiwvW0EndXdDku/dkKBp8/ufDToSxLzR4y+O/0H/t4bQtVNw==").unwrap()
    }

    const SOON: &str = "2017-04-27T00:52:00Z";

    #[test]
    fn the_documentations_own_example_is_accepted() {
        let authorization = "type%3dmaster%26ver%3d1.0%26sig%3dc09PEVJrgp2uQRkr934kFbTqhByc7TVr3OHyqlu%2bc%2bc%3d";
        assert_eq!(outcome(authorization, Method::GET, "/dbs/ToDoList", SOON), 200);
        assert_eq!(outcome(authorization, Method::GET, "/dbs/ToDoList/", SOON), 200);
        assert_eq!(outcome(authorization, Method::DELETE, "/dbs/ToDoList", SOON), 401);
        assert_eq!(outcome(authorization, Method::GET, "/dbs/todolist", SOON), 401);
        assert_eq!(outcome(authorization, Method::GET, "/dbs/ToDoList", "2017-04-27T01:07:00Z"), 403);
    }

    #[test]
    fn links_are_those_of_the_resource_or_of_its_owner() {
        assert_eq!(resource("dbs/a/colls/c/docs"), ("docs", "dbs/a/colls/c"));
        assert_eq!(resource("dbs/a/colls/c"), ("colls", "dbs/a/colls/c"));
        assert_eq!(resource("offers"), ("offers", ""));
        assert_eq!(resource(""), ("", ""));
    }

    #[test]
    fn resource_ids_are_signed_in_lower_case() {
        let signed = sign(&documented_key(), "GET", "offers", "ab3-", DATE_TEXT);
        assert_eq!(outcome(&signed, Method::GET, "/offers/AB3-", SOON), 200);
    }

    #[test]
    fn other_credentials_are_refused_by_name() {
        for bad in ["type%3daad%26ver%3d1.0%26sig%3dx", "Bearer x", "type%3dmaster%26ver%3d1.0%26sig%3d*"] {
            assert_eq!(outcome(bad, Method::GET, "/dbs/a", SOON), 401, "{bad}");
        }
    }
}
