//! What the benches share: a store that measures who waits for it, and what the process used.

mod measured;
mod process;

pub use measured::{MeasuredDatabase, Spent, Times};
pub use process::{cpu_seconds, peak_memory_bytes};
