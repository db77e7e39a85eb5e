//! The user-feed processor: who should see which post, kept as one document for each recipient and post.
//!
//! Three feeds drive it: a post that changed names the feeds of its author's followers (`fan_out.rs`); an edge that
//! changed, or a block on the author's side, names the author's posts in the other's feed (`back_fill.rs`). None decides
//! anything: what an item should be is computed from post, edge and block as they are now (`projection.rs`), so both
//! orders of two changes end the same. The followers of an author with very many are cut into chunks, documents of work
//! that every host shares (`plan.rs`, `work.rs`, `chunk.rs`); back-fills are settled in pages. Refuses to trim: feeds hold
//! what their sources say, until its retention is over; how much of it is shown is the reader's. Read `projection.rs` first.

mod back_fill;
mod canon;
mod chunk;
mod fan_out;
mod options;
mod pages;
mod plan;
mod posts;
mod processors;
mod projection;
mod rebuild;
mod sources;
#[cfg(test)]
mod tests;
mod work;

pub use canon::{CANON, Canon, Found};
pub use options::Options;
pub use processors::{name, processors};
pub use projection::{Target, UserFeed};
pub use sources::Sources;
