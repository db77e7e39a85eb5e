//! The customer's documents: source documents as they are decoded, derived documents as they are named and laid out,
//! and the containers both live in.
//!
//! Does no I/O and knows no processor. Refuses what cannot be understood with an error that names the field, what was
//! found and what was expected; carries every field it does not know. Read `id.rs` first, then `source.rs`.

mod block;
pub mod containers;
pub mod counter;
mod decode;
pub mod fan_out;
mod follow;
pub mod id;
mod index;
mod members;
pub mod notification;
mod post;
mod profile;
mod reaction;
mod retention;
mod source;
pub mod time;
pub mod user_feed;

pub use block::Block;
pub use decode::DecodeError;
pub use follow::Follow;
pub use id::IdError;
pub use index::Index;
pub use members::Members;
pub use post::{Post, Status};
pub use profile::Profile;
pub use reaction::Reaction;
pub use retention::{InvalidRetention, Retention};
pub use source::{Changed, SourceDocument, changed, listed, subject};
