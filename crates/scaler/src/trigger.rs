use std::collections::BTreeMap;

/// What a trigger asks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Trigger {
    /// One processor; all of them where it is `None`.
    pub(crate) processor: Option<String>,
    pub(crate) unit: Unit,
    /// Of that unit, for each replica; above 0.
    pub(crate) target: f64,
    /// Up to so much of that unit no replica is wanted.
    pub(crate) activation: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Changes,
    Seconds,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TriggerError {
    #[error("the trigger's metadata says unit {given:?}; it is changes or seconds")]
    Unit { given: String },
    #[error("the trigger's metadata says {name} {given:?}, which is no number {wanted}")]
    Number { name: &'static str, given: String, wanted: &'static str },
}

/// Changes that a replica works through while the next one would start.
const CHANGES: f64 = 1_000.0;
const SECONDS: f64 = 60.0;

impl Trigger {
    /// KEDA's own keys, such as `scalerAddress`, are in it too, so that unknown ones say nothing.
    pub(crate) fn parse(metadata: &BTreeMap<String, String>) -> Result<Self, TriggerError> {
        // KEDA hands keys on as they were written, and its own scalers do not mind their case.
        let given = |name: &str| {
            let found = metadata.iter().find(|(key, value)| key.eq_ignore_ascii_case(name) && !value.is_empty());
            found.map(|(_, value)| value.as_str())
        };
        let unit = match given("unit") {
            None | Some("changes") => Unit::Changes,
            Some("seconds") => Unit::Seconds,
            Some(other) => return Err(TriggerError::Unit { given: other.to_owned() }),
        };
        let number = |name: &'static str, default: f64, wanted: &'static str, fits: fn(f64) -> bool| match given(name) {
            None => Ok(default),
            Some(text) => text
                .parse::<f64>()
                .ok()
                .filter(|number| number.is_finite() && fits(*number))
                .ok_or_else(|| TriggerError::Number { name, given: text.to_owned(), wanted }),
        };
        let usual = if unit == Unit::Changes { CHANGES } else { SECONDS };
        Ok(Self {
            processor: given("processor").map(str::to_owned),
            unit,
            target: number("target", usual, "above 0", |number| number > 0.0)?,
            activation: number("activation", 0.0, "from 0", |number| number >= 0.0)?,
        })
    }

    pub(crate) fn metric_name(&self) -> String {
        let unit = match self.unit {
            Unit::Changes => "changes",
            Unit::Seconds => "seconds",
        };
        match &self.processor {
            Some(processor) => format!("feedmill-lag-{unit}-{processor}"),
            None => format!("feedmill-lag-{unit}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(metadata: &[(&str, &str)]) -> Result<Trigger, TriggerError> {
        let owned = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        Trigger::parse(&owned.collect::<BTreeMap<_, _>>())
    }

    #[test]
    fn a_trigger_has_defaults_and_its_keys_have_no_case() {
        let plain = parse(&[("scalerAddress", "mill:4050")]).unwrap();
        assert_eq!(plain, Trigger { processor: None, unit: Unit::Changes, target: 1_000.0, activation: 0.0 });
        assert_eq!(plain.metric_name(), "feedmill-lag-changes");
        let full = [("Unit", "seconds"), ("TARGET", "7.5"), ("activation", "3"), ("processor", "user-feed")];
        let full = parse(&full).unwrap();
        assert_eq!((full.target, full.activation), (7.5, 3.0));
        assert_eq!(full.metric_name(), "feedmill-lag-seconds-user-feed");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for bad in [("unit", "leases"), ("target", "0"), ("target", "many"), ("activation", "-1"), ("target", "NaN")] {
            assert!(parse(&[bad]).is_err(), "{bad:?}");
        }
    }
}
