//! What is told at each scrape beside what was counted: the ranges this host has, and the process itself.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use feedmill_engine::{RangeState, RangeStatus, Status};
use feedmill_telemetry::{Family, FamilyKind, Sample};

/// Ranges that are told of one by one; those behind them are summed up. A dashboard shows no more, and a scrape stays small.
const RANGES_MAX: usize = 500;

/// A worker's loop that has not gone round for this long never will again. Whatever it waits for, it goes round meanwhile.
const HANGS_AFTER: Duration = Duration::from_secs(60);

/// What the kernel counts processor time in, for programs, on every architecture.
const TICKS_A_SECOND: f64 = 100.0;

/// A figure of a range.
struct Figure {
    name: &'static str,
    help: &'static str,
    of: fn(&RangeStatus) -> Option<f64>,
    /// Of those that are not told of one by one.
    together: fn(f64, f64) -> f64,
}

const FIGURES: [Figure; 5] = [
    Figure {
        name: "feedmill_engine_range_lag_changes",
        help: "Commits between the last settled page of a range and the head of its feed",
        of: |range| range.lag_changes.map(|changes| changes as f64),
        together: |a, b| a + b,
    },
    Figure {
        name: "feedmill_engine_range_lag_seconds",
        help: "Age of the oldest change of a range that is read and not settled",
        of: |range| range.lag_seconds,
        together: f64::max,
    },
    Figure {
        name: "feedmill_engine_range_changes_per_second",
        help: "Changes of a range settled a second, smoothed over ten seconds",
        of: |range| Some(range.changes_per_second),
        together: |a, b| a + b,
    },
    Figure {
        name: "feedmill_engine_range_checkpoint_age_seconds",
        help: "How long something that was read from a range is in no checkpoint; 0 where all of it is",
        of: |range| Some(range.checkpoint_age.map_or(0.0, |age| age.as_secs_f64())),
        together: f64::max,
    },
    Figure {
        name: "feedmill_engine_range_halted",
        help: "1 where a range stopped at its checkpoint and somebody must look",
        of: |range| Some(f64::from(u8::from(matches!(range.state, RangeState::Halted { .. })))),
        together: |a, b| a + b,
    },
];

/// Of the ranges this host has, in their order.
pub(crate) fn of_ranges(ranges: &[RangeStatus]) -> Vec<Family> {
    let (shown, others) = ranges.split_at(ranges.len().min(RANGES_MAX));
    let families = FIGURES.iter().map(|figure| {
        let labels = |range: &RangeStatus, name: String| {
            vec![("processor", range.processor.clone()), ("source", range.source.clone()), ("range", name)]
        };
        let sample = |range: &RangeStatus| {
            Some(Sample { labels: labels(range, range.range.token()), value: (figure.of)(range)? })
        };
        let mut summed: BTreeMap<(&str, &str), Sample> = BTreeMap::new();
        for range in others {
            let Some(value) = (figure.of)(range) else { continue };
            summed
                .entry((&range.processor, &range.source))
                .and_modify(|sum| sum.value = (figure.together)(sum.value, value))
                .or_insert_with(|| Sample { labels: labels(range, "others".to_owned()), value });
        }
        let samples = shown.iter().filter_map(sample).chain(summed.into_values()).collect();
        Family { name: figure.name, help: figure.help, kind: FamilyKind::Gauge, samples }
    });
    families.collect()
}

/// Of this process, under the names that all Prometheus clients use. What cannot be read is left out.
pub(crate) fn of_process() -> Vec<Family> {
    let mut families = Vec::new();
    let mut tell = |name, help, kind, value: Option<f64>| {
        let samples = value.map(|value| Sample { labels: Vec::new(), value }).into_iter().collect();
        families.push(Family { name, help, kind, samples });
    };
    let seconds = fs::read_to_string("/proc/self/stat").ok().and_then(|stat| processor_seconds(&stat));
    tell("process_cpu_seconds_total", "Processor time spent, in seconds", FamilyKind::Counter, seconds);
    let bytes = fs::read_to_string("/proc/self/status").ok().and_then(|status| resident_bytes(&status));
    tell("process_resident_memory_bytes", "Memory in use, in bytes", FamilyKind::Gauge, bytes);
    let files = fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as f64);
    tell("process_open_fds", "Open files and connections", FamilyKind::Gauge, files);
    families
}

/// Fields 14 and 15, counted behind the name of the program, which may have spaces and parentheses in it.
fn processor_seconds(stat: &str) -> Option<f64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
    Some((ticks(14)? + ticks(15)?) / TICKS_A_SECOND)
}

fn resident_bytes(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok()? * 1024.0)
}

/// For `/livez`: only what a restart helps.
pub(crate) fn live(status: &Status) -> Result<(), String> {
    match status.hangs(HANGS_AFTER) {
        None => Ok(()),
        Some((range, stood)) => Err(format!("the worker of {range} stands still since {} s", stood.as_secs())),
    }
}

/// For `/readyz`: no while this host waits for the store with everything it has.
pub(crate) fn ready(ranges: &[RangeStatus]) -> Result<(), String> {
    let mut waiting = ranges.iter().map(|range| match &range.state {
        RangeState::Waiting { error } => Some(error),
        _ => None,
    });
    match waiting.next() {
        Some(Some(error)) if waiting.all(|error| error.is_some()) => Err(format!("waiting for the store: {error}")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use feedmill_store_api::{FeedRange, RequestCharge};

    use super::*;

    fn range(processor: &str, number: usize, lag: u64, state: RangeState) -> RangeStatus {
        let (min, max) = (format!("{number:04X}"), format!("{:04X}", number + 1));
        RangeStatus {
            processor: processor.to_owned(),
            source: "posts_v2".to_owned(),
            range: FeedRange::new(min, max).unwrap(),
            delivered: 0,
            settled_pages: 0,
            lag_changes: Some(lag),
            lag_seconds: Some(lag as f64 / 10.0),
            changes_waiting: 0,
            changes_per_second: 2.0,
            state,
            dead_letters: 0,
            charge: RequestCharge::ZERO,
            position: None,
            checkpoint_age: Some(Duration::from_secs(lag)),
        }
    }

    #[test]
    fn ranges_past_the_limit_are_summed_up_so_that_their_number_never_shows() {
        let reading = || RangeState::Reading;
        let ranges: Vec<_> = (0..RANGES_MAX + 300).map(|number| range("p", number, number as u64, reading())).collect();
        let families = of_ranges(&ranges);
        assert_eq!(families.len(), FIGURES.len());
        for family in &families {
            assert_eq!(family.samples.len(), RANGES_MAX + 1, "{}", family.name);
        }
        let others = |family: &Family| {
            let last = family.samples.last().unwrap();
            assert!(last.labels.contains(&("range", "others".to_owned())), "{last:?}");
            last.value
        };
        assert_eq!(others(&families[0]), (500..800).sum::<usize>() as f64, "changes are added up");
        assert_eq!(others(&families[1]), 79.9, "of seconds the worst counts");
        assert_eq!(families[0].samples[7].labels[2], ("range", "0007-0008".to_owned()));
        assert!(of_ranges(&[]).iter().all(|family| family.samples.is_empty()), "what is not owned is not told");
    }

    #[test]
    fn a_host_is_not_ready_while_all_it_has_waits_for_the_store() {
        let waiting = || RangeState::Waiting { error: "no route".to_owned() };
        let idle = || range("p", 0, 0, RangeState::Idle);
        assert_eq!(ready(&[]), Ok(()));
        assert_eq!(ready(&[idle(), range("p", 1, 0, waiting())]), Ok(()));
        let all = [range("p", 0, 0, waiting()), range("p", 1, 0, waiting())];
        assert_eq!(ready(&all), Err("waiting for the store: no route".to_owned()));
    }

    #[test]
    fn figures_of_the_process_are_read_whatever_its_name_is() {
        let stat = "7 (feed) mill (x) S 1 7 7 0 -1 4194304 1 0 0 0 250 50 0 0 20 0 9 0 100 1 2 3";
        assert_eq!(processor_seconds(stat), Some(3.0));
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    2048 kB\n"), Some(2_097_152.0));
        assert_eq!((processor_seconds("7 (x)"), resident_bytes("")), (None, None));
        assert!(of_process().iter().all(|family| family.samples.len() == 1), "here all of it can be read");
    }
}
