//! Dead letters: changes that cannot be applied are written down, tried again, and closed.
//!
//! One for each processor and source document. Read `letter.rs` for the document, `ledger.rs` for how it is kept,
//! `redrive.rs` for how it is tried again, `operator.rs` for what people do
//! with them.

mod ledger;
mod letter;
mod operator;
mod redrive;

pub(crate) use ledger::{Failure, Ledger, source_id};
pub(crate) use letter::{Fault, fnv1a};
pub use letter::{Letter, LetterState};
pub use operator::{DeadLetters, LetterFilter};
pub(crate) use redrive::{Redriver, redrive};
