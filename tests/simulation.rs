//! Simulated worlds, seed by seed. `SIM_SEED` replays one and prints what happens in it; `SIM_SEEDS` plays that many times
//! as many as a push does.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use feedmill_simulation::{Mutant, Run, Scale, Sink};

/// Rules are switched off here that are missed within so many seeds.
const CHEAP_TINY_MAX: u64 = 1_000;
const CHEAP_FULL_MAX: u64 = 200;
/// The cores of a runner of CI.
const THREADS: usize = 2;

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{variable}={text}: {error}")))
}

fn play(scale: Scale, seeds: u64) {
    if let Some(seed) = number("SIM_SEED") {
        let mut run = Run::new(scale, seed);
        run.trace = Sink::Print;
        run.play().unwrap_or_else(|failure| panic!("seed {seed} of {scale:?}: {failure}"));
        return;
    }
    let (next, seeds) = (AtomicU64::new(0), seeds * number("SIM_SEEDS").unwrap_or(1));
    let worker = || {
        let mut failed = Vec::new();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds {
                return failed;
            }
            if let Err(failure) = Run::new(scale, seed).play() {
                failed.push(format!("SIM_SEED={seed} replays a world of {scale:?} that fails: {failure}"));
            }
        }
    };
    let failed: Vec<String> = thread::scope(|scope| {
        let workers: Vec<_> = (0..THREADS).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a world panicked; its seed is above")).collect()
    });
    assert!(failed.is_empty(), "{} of {seeds} seeds fail:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn tiny_worlds_end_as_their_sources_say() {
    play(Scale::Tiny, 20_000);
}

#[test]
fn full_worlds_end_as_their_sources_say() {
    play(Scale::Full, 200);
}

#[test]
fn worlds_about_one_thing_end_as_their_sources_say() {
    play(Scale::Opening, 50);
    play(Scale::Return, 50);
}

/// The whole table is measured by `feedmill-simulation --mutants`; these are noticed early.
#[test]
fn a_rule_that_is_switched_off_is_noticed() {
    let max = |scale| if scale == Scale::Tiny { CHEAP_TINY_MAX } else { CHEAP_FULL_MAX };
    let cheap: Vec<_> = Mutant::ALL.into_iter().filter(|mutant| mutant.seeds_max <= max(mutant.scale)).collect();
    assert!(cheap.len() >= 5, "only {cheap:?}");
    for mutant in cheap {
        let noticed = (0..mutant.seeds_max).any(|seed| Run::of(mutant, seed).play().is_err());
        assert!(noticed, "{} seeds without the rule {:?}, and nothing is wrong", mutant.seeds_max, mutant.name);
    }
}

/// A seed that failed once.
fn replay(scale: Scale, seed: u64) {
    Run::new(scale, seed).play().unwrap_or_else(|failure| panic!("seed {seed} of {scale:?}: {failure}"));
}

#[test]
fn seed_1000385_splits_the_lease_container_while_a_host_begins_to_follow_it() {
    replay(Scale::Full, 1_000_385);
    replay(Scale::Full, 1_001_190);
    replay(Scale::Full, 1_001_336);
    replay(Scale::Full, 1_002_341);
}

#[test]
fn seed_1002957_brings_a_host_back_that_is_busy_and_has_watched_others_before() {
    replay(Scale::Full, 1_002_957);
}

#[test]
fn seed_1001293_brings_a_host_back_that_counts_as_dead_and_takes_its_leases() {
    replay(Scale::Full, 1_001_293);
    replay(Scale::Full, 1_002_412);
    replay(Scale::Full, 1_004_612);
}

#[test]
fn seed_1015412_makes_a_counter_late_whose_reaction_has_changed_its_type() {
    replay(Scale::Tiny, 1_015_412);
    replay(Scale::Tiny, 1_046_500);
}

#[test]
fn seed_1185765_wakes_a_host_that_reads_its_source_older_than_its_target() {
    replay(Scale::Tiny, 1_119_267);
    replay(Scale::Tiny, 1_130_698);
    replay(Scale::Tiny, 1_185_765);
}

#[test]
fn seed_100206_cuts_the_power_under_a_write_of_which_the_server_says_that_it_was_not_done() {
    replay(Scale::Full, 100_206);
    replay(Scale::Full, 100_310);
    replay(Scale::Full, 100_960);
    replay(Scale::Full, 101_106);
}

#[test]
fn seed_354_counts_what_passed_before_a_host_was_seen_as_time_in_which_it_stood_still() {
    for seed in [179, 354, 518] {
        replay(Scale::Return, seed);
    }
}

#[test]
fn seed_30002510_rewinds_an_idle_range_while_the_lease_container_is_split() {
    replay(Scale::Full, 30_002_510);
}

#[test]
fn seed_30014391_interrupts_a_division_and_its_host_learns_of_the_parts_once_it_has_taken_the_whole() {
    replay(Scale::Full, 30_014_391);
}

#[test]
fn seed_1581_begins_with_a_heartbeat_whose_reply_is_lost() {
    replay(Scale::Return, 1_581);
}

#[test]
fn seed_5048_writes_the_record_of_a_removal_that_came_to_nothing_late() {
    replay(Scale::Return, 5_048);
}
