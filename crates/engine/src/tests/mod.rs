//! The engine on the real local store in memory, with time that passes when nothing else happens.

mod audit;
mod delivery;
mod dotnet;
mod events;
mod failures;
mod fleet;
mod handlers;
mod idle;
mod leases;
mod lifetimes;
mod operators;
mod shared;
mod spy;
mod subranges;
mod topology;
mod world;
