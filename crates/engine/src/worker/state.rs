use std::fmt;

use serde::Serialize;

/// What a range is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum RangeState {
    /// Its lease is being taken. → `Reading`, `Halted`, or shown no more
    Starting,
    /// Changes are read and delivered. → all but `Starting`
    Reading,
    /// Everything there was is settled; polls for more. → as `Reading`
    Idle,
    /// The store fails; everything is sent again until it does not. → as `Reading`
    Waiting { error: String },
    /// The worker broke, which is a bug of ours; it begins again at its checkpoint. → `Reading`, `Halted`
    Restarting { error: String },
    /// No more is read; what was read is settled before the lease goes elsewhere. → `Released`, `Lost`
    Leaving,
    /// The range was split; its parts get leases. → shown no more, `Halted`
    Dividing,
    /// Stopped at its checkpoint; somebody must look. → `Released`
    Halted { reason: String },
    /// The lease is somebody else's. → shown no more
    Lost { owner: Option<String> },
    /// Given away. Final.
    Released,
}

impl RangeState {
    /// Why nothing more will come of this range by itself, where that is so.
    pub fn trouble(&self) -> Option<String> {
        match self {
            Self::Halted { .. } => Some(self.to_string()),
            _ => None,
        }
    }
}

impl fmt::Display for RangeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting => f.write_str("starting"),
            Self::Reading => f.write_str("reading"),
            Self::Idle => f.write_str("idle"),
            Self::Waiting { error } => write!(f, "waiting: {error}"),
            Self::Restarting { error } => write!(f, "restarting: {error}"),
            Self::Halted { reason } => write!(f, "halted: {reason}"),
            Self::Leaving => f.write_str("leaving"),
            Self::Dividing => f.write_str("dividing"),
            Self::Lost { owner: Some(owner) } => write!(f, "lost to {owner}"),
            Self::Lost { owner: None } => f.write_str("lost: its lease was changed or removed"),
            Self::Released => f.write_str("released"),
        }
    }
}
