//! Leases: who reads which range of a feed for which processor, and how far it is.
//!
//! The documents are those of the .NET change feed processor, so that a fleet can move here and back without losing its
//! place. Read `document.rs` for the layout, `table.rs` for how it is written, `held.rs` for what owning one allows.

mod document;
mod error;
mod held;
mod keeper;
mod table;
mod topology;

pub(crate) use document::{Owner, Stored, lease_prefix};
pub use error::Error;
pub(crate) use held::{Failed, HeldLease, Lost};
pub(crate) use keeper::{Acquired, Claim, Keeper};
pub(crate) use table::Table;
