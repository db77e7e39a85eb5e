//! The notifications processor: a reaction or a reply tells the post's author, a follow tells the followee.
//!
//! Driven by the causes, by posts for those causes that came before their post, and by blocks. A notification follows from
//! its cause and from a block between the two, whatever becomes of the post; only `read` is the recipient's and carried
//! over. Grouping is a view over single documents and nothing that is stored.
//! Read `rules.rs` first.

mod blocks;
mod causes;
mod early;
mod options;
mod posts;
mod processors;
mod projection;
mod rebuild;
mod rules;
#[cfg(test)]
mod tests;

pub use options::Options;
pub use processors::{NAME, processors};
pub use rebuild::rebuild;
