use bytes::Bytes;
use feedmill_store_api::{ETag, RequestCharge, SessionToken};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::{Value, json};

use crate::fault::Fault;
use crate::headers;

/// An answer in the making. Headers that every answer has are put on by the router.
#[derive(Debug)]
pub(crate) struct Reply {
    response: Response<Bytes>,
}

impl Reply {
    pub(crate) fn new(status: StatusCode) -> Self {
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = status;
        Self { response }
    }

    pub(crate) fn json(status: StatusCode, body: &Value) -> Self {
        Self::new(status).body(Bytes::from(body.to_string()))
    }

    #[must_use]
    pub(crate) fn body(mut self, body: Bytes) -> Self {
        *self.response.body_mut() = body;
        self.header("content-type", "application/json")
    }

    /// A value with bytes that no header may have is left out: it comes from names that the client itself chose.
    #[must_use]
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.response.headers_mut().insert(HeaderName::from_static(name), value);
        }
        self
    }

    #[must_use]
    pub(crate) fn charge(self, charge: RequestCharge) -> Self {
        self.header(headers::CHARGE, &format!("{:.2}", charge.units()))
    }

    #[must_use]
    pub(crate) fn etag(self, etag: &ETag) -> Self {
        self.header("etag", etag.as_str())
    }

    /// The session token, and what SDKs expect to find beside it.
    #[must_use]
    pub(crate) fn session(self, session: &SessionToken) -> Self {
        let token = &session.0;
        let (range, vector) = token.split_once(':').unwrap_or(("", token));
        let lsn = vector.split('#').nth(1).unwrap_or(vector);
        self.header(headers::RANGE_ID, range)
            .header(headers::LSN, lsn)
            .header(headers::GLOBAL_LSN, lsn)
            .header(headers::SESSION_TOKEN, token)
    }

    /// Of one partition or, separated by commas, of several; not where the reply has a session of its own.
    #[must_use]
    pub(crate) fn session_if_none(self, session: &SessionToken) -> Self {
        if self.response.headers().contains_key(headers::SESSION_TOKEN) {
            return self;
        }
        if session.0.contains(',') { self.header(headers::SESSION_TOKEN, &session.0) } else { self.session(session) }
    }

    #[must_use]
    pub(crate) fn items(self, count: usize) -> Self {
        self.header(headers::ITEM_COUNT, &count.to_string())
    }

    pub(crate) fn into_response(self) -> Response<Bytes> {
        self.response
    }
}

impl From<Fault> for Reply {
    fn from(fault: Fault) -> Self {
        let body = json!({"code": fault.code, "message": fault.message});
        let mut reply = Self::json(fault.status, &body);
        if fault.sub_status != 0 {
            reply = reply.header(headers::SUB_STATUS, &fault.sub_status.to_string());
        }
        match fault.retry_after_ms {
            Some(after) => reply.header(headers::RETRY_AFTER_MS, &after.to_string()),
            None => reply,
        }
    }
}

/// A page of anything as the service writes it: `{"_rid":…,"Documents":[…],"_count":n}` under the name of its kind. Items are JSON
/// texts and are copied as they are.
pub(crate) fn listing<T: AsRef<[u8]>>(owner_rid: &str, kind: &str, items: &[T]) -> Bytes {
    let bytes = items.iter().map(|item| item.as_ref().len() + 1).sum::<usize>();
    let mut text = Vec::with_capacity(bytes + owner_rid.len() + kind.len() + 48);
    text.extend(format!(r#"{{"_rid":"{owner_rid}","{kind}":["#).as_bytes());
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            text.push(b',');
        }
        text.extend(item.as_ref());
    }
    text.extend(format!(r#"],"_count":{}}}"#, items.len()).as_bytes());
    Bytes::from(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_says_all_that_sdks_read() {
        let response = Reply::from(Fault::throttled("slow down", 12)).into_response();
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["x-ms-substatus"], "3200");
        assert_eq!(response.headers()["x-ms-retry-after-ms"], "12");
        assert_eq!(&response.body()[..], br#"{"code":"TooManyRequests","message":"slow down"}"#);
    }

    #[test]
    fn items_are_listed_as_they_are() {
        let text = listing("r=", "Documents", &[r#"{"a": 1}"#, "2"]);
        assert_eq!(&text[..], br#"{"_rid":"r=","Documents":[{"a": 1},2],"_count":2}"#);
    }
}
