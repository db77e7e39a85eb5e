//! Real servers for tests and benches, started from the distribution's packages on a free port and in a temporary directory.
//!
//! Never the machine's own server, and never one that is left behind: a keeper ends it and removes its directory however the
//! test ends. Where a package is missing, a line on stderr names the test that is skipped. Read `keeper.rs` first.

mod keeper;
mod postgres;
mod redis;

pub use postgres::Postgres;
pub use redis::Redis;
