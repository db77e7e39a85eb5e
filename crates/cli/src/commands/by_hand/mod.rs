//! What an operator does to projections by hand: compare, settle, repair, person by person.

mod canonical;
mod people;
mod report;
mod session;

pub(crate) use canonical::Origin;
pub(crate) use people::Who;
pub(crate) use report::Report;
pub(crate) use session::{Session, Which};
