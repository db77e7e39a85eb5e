//! Time and chance as arguments.
//!
//! Nothing else in the workspace reads a clock, sleeps, or draws a random number. `main` makes one [`SystemClock`] and
//! one [`Entropy`] and hands them down; tests and the simulation hand down a [`ManualClock`] and a seeded [`Entropy`].
//! Read `clock.rs` first.

mod clock;
mod entropy;
mod manual;
mod system;

pub use clock::{Clock, Monotonic, timeout};
pub use entropy::Entropy;
pub use manual::ManualClock;
pub use system::SystemClock;
