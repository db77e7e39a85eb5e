//! What the benches share: a store that measures who waits for it, one that keeps nothing, and what the process used.

mod discarding;
pub mod http;
mod measured;
mod process;

pub use discarding::DiscardingDatabase;
pub use measured::{MeasuredDatabase, Spent, Times};
pub use process::{bind_family, cpu_seconds, cpu_seconds_of_family, cpu_seconds_of_machine, peak_memory_bytes};
