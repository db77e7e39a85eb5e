//! How much a lease weighs in the plan, as a whole number that does not follow every breath of what was measured.

use std::collections::BTreeMap;

/// Changes a second below which a range weighs what an idle one does.
const CHANGES_PER_SECOND_MIN: f64 = 20.0;
/// A backlog counts as what it takes a second to be gone in this many seconds.
const BACKLOG_SECONDS: f64 = 60.0;
/// How far beyond the bounds of its class a measure must be to leave it.
const HYSTERESIS: f64 = 1.5;
const CLASS_MAX: u32 = 12;

/// The weights a host announces for its leases.
#[derive(Debug, Default)]
pub(crate) struct Weights {
    classes: BTreeMap<String, u32>,
}

impl Weights {
    /// The lease's weight by what was measured now and what it weighed before: 1 when it is quiet, doubling with each
    /// class.
    pub(crate) fn measured(&mut self, lease: &str, changes_per_second: f64, backlog: u64) -> u64 {
        let measure = changes_per_second + backlog as f64 / BACKLOG_SECONDS;
        let before = self.classes.get(lease).copied().unwrap_or(0);
        let class = if stays(before, measure) { before } else { class_of(measure) };
        if class == 0 {
            self.classes.remove(lease);
        } else if class != before {
            self.classes.insert(lease.to_owned(), class);
        }
        weight(class)
    }

    pub(crate) fn forget(&mut self, lease: &str) {
        self.classes.remove(lease);
    }
}

fn weight(class: u32) -> u64 {
    if class == 0 { 1 } else { 1 + (1 << class) }
}

fn class_of(measure: f64) -> u32 {
    (1..=CLASS_MAX).take_while(|class| measure >= floor(*class)).last().unwrap_or(0)
}

fn stays(class: u32, measure: f64) -> bool {
    let above = class == 0 || measure >= floor(class) / HYSTERESIS;
    let below = class == CLASS_MAX || measure < floor(class + 1) * HYSTERESIS;
    above && below
}

/// The least measure of a class above 0.
fn floor(class: u32) -> f64 {
    CHANGES_PER_SECOND_MIN * f64::from(1_u32 << (class - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_grow_with_rate_and_backlog_and_do_not_flap() {
        let mut weights = Weights::default();
        let mut check = |rate, backlog, expected| assert_eq!(weights.measured("l", rate, backlog), expected, "{rate}");
        check(0.0, 0, 1);
        check(29.0, 0, 1);
        check(31.0, 0, 3);
        // Back at what it was, and still in its class.
        check(15.0, 0, 3);
        check(13.0, 0, 1);
        check(0.0, 60 * 1_000, 65);
        check(1_900.0, 0, 65);
        check(2_000.0, 0, 129);
        check(f64::MAX, 0, 4_097);
        check(0.0, 0, 1);
    }
}
