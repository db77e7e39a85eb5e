//! The user-feed processor: who should see which post, kept as one document for each recipient and post.
//!
//! Two feeds drive it: a post that changed names the feeds of its author's followers (`fan_out.rs`), an edge that changed
//! names the author's posts in the follower's feed (`back_fill.rs`). Neither decides anything: what an item should be is
//! computed from the post and the edge as they are now (`projection.rs`), so both orders of two changes end the same.
//! Audiences and back-fills of any size are settled in pages. Work documents for very large audiences, blocks and
//! trimming are not here yet: their places are a third handler beside the two, a third source in `sources.rs`, and an
//! expiry in `projection.rs`. Read `projection.rs` first.

mod back_fill;
mod fan_out;
mod options;
mod pages;
mod processors;
mod projection;
mod sources;
#[cfg(test)]
mod tests;

pub use options::Options;
pub use processors::{NAME, processors};
pub use projection::{Target, UserFeed};
pub use sources::Sources;
