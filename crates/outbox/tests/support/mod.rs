//! A migrated database and a store to relay into.

mod faulty;
mod world;

pub(crate) use faulty::Faulty;
pub(crate) use world::{World, post, uuid};
