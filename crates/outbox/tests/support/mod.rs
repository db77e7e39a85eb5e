//! A PostgreSQL of our own, databases in it, and a store to relay into.

mod faulty;
mod postgres;
mod world;

pub(crate) use faulty::Faulty;
pub(crate) use postgres::Server;
pub(crate) use world::{World, post, uuid};
