//! Everything that is kept of one person, found and taken out of what is derived, in whatever container it is.
//!
//! A person is erased in two parts. Their sources are the application's: whoever has an account deleted withdraws them, by
//! soft delete, and the processors follow. This crate does the rest: it refuses while a source is live, because whatever is
//! taken out would come back; then it takes out what the processors leave (what others told the person, counts of nothing,
//! dead letters, cut points), and says of each container what it looked through, what it took out, and what is left until
//! when: tombstones, which late writes need, and withdrawn sources with their copies.
//!
//! It may run beside everything else, be stopped anywhere and be repeated. It refuses to touch sources. Read `places.rs` for
//! where a person may be, `erasure.rs` for what is done, `mention.rs` for how a document names somebody.

mod cut;
mod erasure;
mod mention;
mod places;
mod report;

pub use erasure::{Erasure, Error};
pub use mention::names;
pub use report::{Looked, Report, Role};
