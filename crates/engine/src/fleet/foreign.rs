//! Strangers among the owners: processors that take leases by other rules than ours.

use std::time::Duration;

use jiff::Timestamp;

use super::view::View;
use crate::EngineError;
use crate::limits::FOREIGN_EXPIRY;

/// Fails while somebody works by other rules on leases of ours: a .NET host, or one of us that shares with such. To a .NET host all leases of ours look expired, so it
/// would take them, and give nothing back.
pub(super) fn refuse(view: &View, now: Timestamp) -> Result<(), EngineError> {
    let stranger = view.leases().find(|(_, stored)| {
        let age = stored.lease.written_at().map(|at| Duration::try_from(now.duration_since(at)).unwrap_or_default());
        (stored.lease.is_foreign() || stored.lease.is_shared() && stored.lease.owner().is_some())
            && age.is_some_and(|age| age < FOREIGN_EXPIRY)
    });
    match stranger {
        Some((id, stored)) => Err(EngineError::Foreign {
            lease: id.to_owned(),
            owner: stored.lease.owner().unwrap_or_default().to_owned(),
        }),
        None => Ok(()),
    }
}
