//! What feedmill is tried on: social networks, real and generated, the loader that writes them into a store, and what
//! every projection must then be.
//!
//! Shares only the rules of ids with the processors: `expected` and `ic` say in the plainest way what must come out, so
//! they refuse to be fast or clever. Read `source.rs` first, then `ldbc/` or `generate/`, then `loader/`, then
//! `expected/`.

pub mod canon;
pub mod expected;
pub mod generate;
pub mod ic;
pub mod ldbc;
pub mod loader;
mod source;

pub use source::SourceWrite;
