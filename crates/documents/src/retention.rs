use std::fmt;

use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use serde::{Deserialize, Serialize};

/// How long after its event something is shown; as text `30d`, `36h`, or `none` for ever.
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

    pub const fn days(days: u32) -> Self {
        Self(Some(SignedDuration::from_hours(24 * days as i64)))
    }

    /// When something of this time is no longer shown; `None` when never.
    pub fn end(self, event: Timestamp) -> Option<Timestamp> {
        // What would end after the end of time does not end.
        self.0.and_then(|duration| event.checked_add(duration).ok())
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
        assert_eq!(Retention::days(30).to_string(), "30d");
        for bad in ["", "0d", "-3d", "1 month", "soon"] {
            assert!(Retention::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_would_end_after_the_end_of_time_does_not_end() {
        let event = Timestamp::UNIX_EPOCH;
        assert_eq!(Retention::days(2).end(event), Some(event + SignedDuration::from_hours(48)));
        assert_eq!(Retention::days(2).end(Timestamp::MAX), None);
        assert_eq!(Retention::NONE.end(event), None);
    }
}
