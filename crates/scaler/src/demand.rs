use feedmill_engine::Lag;

use crate::trigger::{Trigger, Unit};

/// What KEDA is told. It divides the value by the trigger's target, and rounds up, for the number of replicas.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Demand {
    /// Whether there should be any replica at all.
    pub(crate) active: bool,
    pub(crate) value: f64,
}

/// Of the leases of the trigger's processor, each with its lag.
///
/// Never more replicas than leases that are behind: one lease is one host's. Where there is no lease yet, one replica is
/// wanted, because only a replica makes them.
pub(crate) fn demand(trigger: &Trigger, lags: &[Lag]) -> Demand {
    if lags.is_empty() {
        return Demand { active: true, value: 1.0 };
    }
    let behind = lags.iter().filter(|lag| lag.changes > 0).count();
    let waits = match trigger.unit {
        Unit::Changes => lags.iter().map(|lag| lag.changes).fold(0, u64::saturating_add) as f64,
        Unit::Seconds => lags.iter().map(|lag| lag.seconds).max().unwrap_or(0) as f64,
    };
    // A change that came within this second waits, too.
    let waits = if behind > 0 { waits.max(f64::MIN_POSITIVE) } else { 0.0 };
    Demand { active: waits > trigger.activation, value: waits.min(behind as f64 * trigger.target) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trigger(unit: Unit) -> Trigger {
        Trigger { processor: None, unit, target: 100.0, activation: 0.0 }
    }

    fn lag(changes: u64, seconds: u64) -> Lag {
        Lag { changes, seconds }
    }

    #[test]
    fn changes_are_added_up_and_of_seconds_the_worst_counts() {
        let lags = [lag(30, 7), lag(0, 0), lag(50, 3)];
        assert_eq!(demand(&trigger(Unit::Changes), &lags), Demand { active: true, value: 80.0 });
        assert_eq!(demand(&trigger(Unit::Seconds), &lags), Demand { active: true, value: 7.0 });
    }

    #[test]
    fn there_are_never_more_replicas_than_leases_that_are_behind() {
        let lags = [lag(1_000_000, 9_000), lag(1, 1), lag(0, 0)];
        for unit in [Unit::Changes, Unit::Seconds] {
            let demand = demand(&trigger(unit), &lags);
            assert_eq!((demand.value / 100.0).ceil(), 2.0, "{unit:?}");
        }
    }

    #[test]
    fn an_empty_lease_store_wants_one_replica_and_one_at_rest_none() {
        assert_eq!(demand(&trigger(Unit::Changes), &[]), Demand { active: true, value: 1.0 });
        assert_eq!(demand(&trigger(Unit::Changes), &[lag(0, 0)]), Demand { active: false, value: 0.0 });
        assert!(demand(&trigger(Unit::Seconds), &[lag(1, 0)]).active, "what came just now waits");
    }

    #[test]
    fn up_to_the_activation_no_replica_is_wanted() {
        let patient = Trigger { activation: 50.0, ..trigger(Unit::Changes) };
        assert!(!demand(&patient, &[lag(50, 1)]).active);
        assert!(demand(&patient, &[lag(51, 1)]).active);
    }
}
