//! The engine on the real local store in memory, with time that passes when nothing else happens.

mod delivery;
mod failures;
mod fleet;
mod handlers;
mod leases;
mod lifetimes;
mod operators;
mod spy;
mod subranges;
mod topology;
mod world;
