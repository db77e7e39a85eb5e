use feedmill_store_api::{Error, ErrorKind};
use http::StatusCode;

/// Why a request is not carried out, in the service's own terms.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fault {
    pub(crate) status: StatusCode,
    /// `x-ms-substatus`: which of several reasons for one status; 0 for none in particular.
    pub(crate) sub_status: u32,
    /// `code` of the error's body.
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) retry_after_ms: Option<u64>,
}

/// Sub-statuses that SDKs act upon.
pub(crate) mod sub_status {
    pub(crate) const PARTITION_KEY_MISMATCH: u32 = 1001;
    /// With 404: what the client has already seen is not here.
    pub(crate) const READ_SESSION_NOT_AVAILABLE: u32 = 1002;
    pub(crate) const PARTITION_KEY_RANGE_GONE: u32 = 1002;
    /// With 404: the container (or database), not the document, is missing.
    pub(crate) const OWNER_NOT_FOUND: u32 = 1003;
    /// The container of this name is another one than the client has known.
    pub(crate) const CONTAINER_RECREATED: u32 = 1024;
    pub(crate) const THROTTLED: u32 = 3200;
}

impl Fault {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, sub_status: 0, code, message: message.into(), retry_after_ms: None }
    }

    #[must_use]
    pub(crate) fn sub(mut self, sub_status: u32) -> Self {
        self.sub_status = sub_status;
        self
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "BadRequest", message)
    }

    pub(crate) fn unauthorized(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Unauthorized", message)
    }

    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Forbidden", message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NotFound", message)
    }

    /// What a path leads through is missing.
    pub(crate) fn owner_not_found(message: impl Into<String>) -> Self {
        Self::not_found(message).sub(sub_status::OWNER_NOT_FOUND)
    }

    pub(crate) fn method_not_allowed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", message)
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "Conflict", message)
    }

    pub(crate) fn precondition_failed(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, "PreconditionFailed", message)
    }

    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "RequestEntityTooLarge", message)
    }

    pub(crate) fn uri_too_long(message: impl Into<String>) -> Self {
        Self::new(StatusCode::URI_TOO_LONG, "RequestUriTooLong", message)
    }

    pub(crate) fn gone(message: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, "Gone", message).sub(sub_status::PARTITION_KEY_RANGE_GONE)
    }

    pub(crate) fn throttled(message: impl Into<String>, after_ms: u64) -> Self {
        let throttled = Self::new(StatusCode::TOO_MANY_REQUESTS, "TooManyRequests", message);
        // Without a delay SDKs fall back to an exponential one that grows to minutes.
        Self { retry_after_ms: Some(after_ms.max(1)), ..throttled.sub(sub_status::THROTTLED) }
    }

    pub(crate) fn unavailable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable", message)
    }

    pub(crate) fn not_implemented(what: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_IMPLEMENTED, "NotImplemented", what)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error.kind() {
            ErrorKind::Conflict => Self::conflict(text),
            ErrorKind::Precondition => Self::precondition_failed(text),
            ErrorKind::NotFound => Self::not_found(text),
            ErrorKind::Throttled { after } => {
                Self::throttled(text, u64::try_from(after.as_millis()).unwrap_or(u64::MAX))
            }
            ErrorKind::Unavailable => Self::unavailable(text),
            ErrorKind::Gone => Self::gone(text),
            ErrorKind::Forbidden => Self::forbidden(text),
            ErrorKind::Invalid => Self::bad_request(text),
            ErrorKind::Corrupt => Self::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalServerError", text),
        }
    }
}
