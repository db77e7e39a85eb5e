//! What an operator does to projections by hand: compare, settle, repair, person by person.

mod people;
mod report;
mod session;

pub(crate) use people::Who;
pub(crate) use report::Report;
pub(crate) use session::{Session, Which};
