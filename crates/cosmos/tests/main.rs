//! What the adapter puts on the wire and makes of the answers. Each test writes the server's lines itself.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail where they stand")]

mod feed;
mod reads;
mod scripted;
mod writes;
