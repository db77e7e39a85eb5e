use std::fmt;

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use serde::{Deserialize, Serialize};

/// Who is told, and for how long.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Whether people are told of what they did themselves. Default false.
    pub own_actions: bool,
    /// How long after its event a notification is shown, such as `30d`; of older events none is made. `none`: no event is
    /// too old and notifications have no end of their own, as imports of old data need it; then the container's time to
    /// live after the last write is all there is. Default `30d`.
    pub retention: Retention,
}

/// See [`Options::retention`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Retention(Option<SignedDuration>);

/// A retention that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a retention: {0:?}, expected a time longer than nothing such as \"30d\", or \"none\"")]
pub struct InvalidRetention(String);

const DAY: SignedDuration = SignedDuration::from_hours(24);

impl Retention {
    pub const NONE: Self = Self(None);

    /// When an event of this time is no longer told; `None` when never.
    pub(crate) fn end(self, event: Timestamp) -> Option<Timestamp> {
        // What would end after the end of time does not end.
        self.0.and_then(|duration| event.checked_add(duration).ok())
    }
}

impl Default for Retention {
    fn default() -> Self {
        Self(Some(DAY * 30))
    }
}

impl TryFrom<String> for Retention {
    type Error = InvalidRetention;

    fn try_from(text: String) -> Result<Self, InvalidRetention> {
        if text == "none" {
            return Ok(Self::NONE);
        }
        let duration = text.parse::<Span>().and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()));
        match duration {
            Ok(duration) if duration.is_positive() => Ok(Self(Some(duration))),
            _ => Err(InvalidRetention(text)),
        }
    }
}

impl From<Retention> for String {
    fn from(retention: Retention) -> Self {
        retention.to_string()
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.write_str("none"),
            Some(duration) if duration.as_nanos() % DAY.as_nanos() == 0 => {
                write!(f, "{}d", duration.as_nanos() / DAY.as_nanos())
            }
            Some(duration) => write!(f, "{duration:#}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retention_is_read_and_written_as_text() {
        for (text, written) in [("30d", "30d"), ("none", "none"), ("36h", "36h"), ("2 weeks", "14d"), ("48h", "2d")] {
            let retention = Retention::try_from(text.to_owned()).unwrap();
            assert_eq!(retention.to_string(), written);
            assert_eq!(Retention::try_from(written.to_owned()), Ok(retention));
        }
        assert_eq!(Retention::default().to_string(), "30d");
        for bad in ["", "0d", "-3d", "1 month", "soon"] {
            assert!(Retention::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn unknown_options_are_refused() {
        assert!(serde_json::from_str::<Options>(r#"{"own_action":true}"#).is_err());
        let options: Options = serde_json::from_str(r#"{"own_actions":true,"retention":"none"}"#).unwrap();
        assert_eq!(options, Options { own_actions: true, retention: Retention::NONE });
    }
}
