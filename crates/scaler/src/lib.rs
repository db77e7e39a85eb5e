//! Answers KEDA how many replicas are wanted: its external scaler protocol over the lag of leases.
//!
//! It refuses to guess: what cannot be measured is an error, and never 0, which would take the last replica away. Read
//! `demand.rs` for how lag becomes replicas, then `service.rs`.

mod demand;
mod lags;
mod protocol;
mod server;
mod service;
mod trigger;

pub use lags::{Lags, Unmeasured};
pub use server::{Listening, ScalerError};
