//! The relay against a real PostgreSQL and the local store.

mod access;
mod crash;
mod mapping;
mod operators;
mod order;
mod restart;
mod retry;
mod schema;
mod snapshot;
mod support;
mod verify;
mod wake;
