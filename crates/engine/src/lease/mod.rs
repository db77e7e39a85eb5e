//! Leases: who reads which range of a feed for which processor, and how far it is.
//!
//! The documents are those of the .NET change feed processor, so that a fleet can move here and back without losing its
//! place. Read `document.rs` for the layout, `table.rs` for how it is written, `held.rs` for what owning one allows.

mod audit;
mod division;
mod document;
mod error;
mod expiry;
mod held;
mod keeper;
mod lock;
mod pause;
mod plan;
mod portion;
mod removal;
mod table;
mod topology;
mod weights;

pub(crate) use audit::{Wanted, faults, mended};
pub(crate) use division::Divided;
pub(crate) use document::{LeaseDocument, Owner, Stored, lease_prefix};
pub use error::Error;
pub(crate) use expiry::{Expiry, OwnBeats};
pub(crate) use held::{Failed, HeldLease, Lost};
pub(crate) use keeper::{Keeper, Listed, Taken};
pub(crate) use pause::{Pause, id_prefix as pause_prefix};
pub(crate) use plan::{Host, Lease, assign};
pub(crate) use portion::Portion;
pub(crate) use removal::removed;
pub(crate) use table::{Table, listed};
pub(crate) use topology::{parts, share};
pub(crate) use weights::Weights;
