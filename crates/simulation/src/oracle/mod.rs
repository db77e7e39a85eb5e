//! What must hold: at every moment, and once everything is quiet.

mod projections;

pub(crate) use projections::Projections;
