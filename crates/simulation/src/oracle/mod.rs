//! What must hold: at every moment, and once everything is quiet.

mod checkpoints;
mod coverage;
mod deliveries;
mod lease;
mod ownership;
mod projections;
mod rules;
mod writes;

use futures::FutureExt;

pub(crate) use ownership::OPERATOR;
pub(crate) use projections::Projections;
pub(crate) use rules::Rules;

/// The store in memory answers at once.
fn now<T>(work: impl Future<Output = T>) -> T {
    work.now_or_never().expect("the store in memory answers at once")
}
