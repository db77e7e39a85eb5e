use std::fmt;

use serde::Serialize;

/// What a range is doing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum RangeState {
    /// Its lease is being taken. → `Reading`, `HeldBy`, `Lost`
    Starting,
    /// Changes are read and delivered. → `Idle`, `Waiting`, `Halted`, `Gone`, `Lost`, `Restarting`, `Released`
    Reading,
    /// Everything there was is settled; polls for more. → as `Reading`
    Idle,
    /// The store fails; everything is sent again until it does not. → as `Reading`
    Waiting { error: String },
    /// The worker broke, which is a bug of ours; it begins again at its checkpoint. → `Starting`, `Halted`
    Restarting { error: String },
    /// Stopped for good at its checkpoint; somebody must look. → `Released`
    Halted { reason: String },
    /// The range was split or merged; following it needs new leases. → `Released`
    Gone,
    /// Another owner has the lease. → `Starting` once it is free
    HeldBy { owner: String },
    /// The lease was taken from us, or is no more. → `Starting` once it is free
    Lost { owner: Option<String> },
    /// Given back. Final.
    Released,
}

impl RangeState {
    /// Why nothing more will come of this range by itself, where that is so.
    pub fn trouble(&self) -> Option<String> {
        match self {
            Self::Halted { .. } | Self::Gone | Self::HeldBy { .. } | Self::Lost { .. } => Some(self.to_string()),
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
            Self::Gone => f.write_str("gone: the range was split or merged, and this version cannot follow it"),
            Self::HeldBy { owner } => write!(f, "held by {owner}"),
            Self::Lost { owner: Some(owner) } => write!(f, "lost to {owner}"),
            Self::Lost { owner: None } => f.write_str("lost: its lease was changed or removed"),
            Self::Released => f.write_str("released"),
        }
    }
}
