//! What must hold: at every moment, and once everything is quiet.

mod checkpoints;
mod deliveries;
mod projections;
mod rules;

pub(crate) use projections::Projections;
pub(crate) use rules::Rules;
