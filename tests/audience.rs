//! One post to very many followers, and posts to few beside it, on the simulation's clock.

use std::num::NonZeroUsize;
use std::time::Duration;

use feedmill_engine::Options;
use feedmill_simulation::{Audience, Figures, percentile};

/// As with a million followers and the default of 10,000 at once there are many more chunks than hosts.
fn play(followers: usize, crash: bool) -> Figures {
    let audience = Audience {
        fan_out_inline_max: NonZeroUsize::new(500).unwrap(),
        units_per_second: 10_000.0,
        posts_alone: 250,
        crash,
        ..Audience::of(followers)
    };
    let figures = audience.play().unwrap();
    println!("{figures}");
    figures
}

#[test]
fn a_post_to_very_many_is_served_by_every_host_and_what_goes_to_few_waits_for_the_store_and_not_for_it() {
    const FOLLOWERS: usize = 15_000;
    let figures = play(FOLLOWERS, false);
    let Figures { alone, beside, by_host, again, in_flight_max, throttled, took, .. } = &figures;
    assert!(*throttled > 0 && *took > Duration::from_secs(10), "the store has enough for everybody: {figures}");
    assert!(alone.len() >= 200 && beside.len() >= 200, "{figures}");
    // In the seconds in which the store gives less than is asked for it refuses everybody until they are over.
    assert!(percentile(beside, 99) <= 2 * percentile(alone, 99) + Duration::from_secs(1), "{figures}");
    // But these are few: what is large leaves something of each second.
    assert!(percentile(beside, 50) <= 2 * percentile(alone, 50), "{figures}");
    assert_eq!(by_host.values().sum::<usize>(), FOLLOWERS, "{figures}");
    // Each of the three has its share.
    assert!(by_host.len() == 3 && by_host.values().all(|items| *items > FOLLOWERS / 20), "{figures}");
    assert_eq!(*again, 0, "{figures}");
    // What waits is bounded, however many followers there are: 64 writes a host, and what reads.
    assert!(*in_flight_max < 1_000, "{figures}");
}

#[test]
fn a_host_that_dies_in_the_middle_of_an_audience_leaves_little_to_be_looked_at_again() {
    const FOLLOWERS: usize = 8_000;
    let figures = play(FOLLOWERS, true);
    let items: usize = figures.by_host.values().sum();
    assert_eq!(items, FOLLOWERS, "nothing is written twice: {figures}");
    // At most the chunks that the dead host was at.
    assert!(figures.again < FOLLOWERS / 2, "{figures}");
}

#[test]
fn a_post_to_very_many_holds_up_neither_its_lease_nor_others_of_its_range() {
    const FOLLOWERS: usize = 5_000;
    // One host and one partition of each container: everybody's posts are in the range of the celebrated one.
    let audience = Audience {
        fan_out_inline_max: NonZeroUsize::new(500).unwrap(),
        units_per_second: 2_500.0,
        pause: Duration::from_millis(200),
        posts_alone: 50,
        hosts: 1,
        partitions: 1,
        ..Audience::of(FOLLOWERS)
    };
    let figures = audience.play().unwrap();
    println!("{figures}");
    let Figures { beside, took, passed, again, .. } = &figures;
    assert!(beside.len() > 50, "{figures}");
    assert!(beside.iter().all(|waited| 4 * *waited < *took), "{figures}");
    // A crash from then on delivers chunks again and not the post.
    assert!(2 * *passed < *took, "{figures}");
    assert_eq!(*again, 0, "{figures}");
}

#[test]
fn what_a_host_has_in_memory_does_not_grow_with_an_audience() {
    const FOLLOWERS: usize = 12_000;
    const CHUNK: usize = 20;
    const WAITING: usize = 4;
    // Of each of 32 ranges of chunks one is served, and so many wait.
    let options = Options {
        deliveries_in_flight_max: 1,
        page_items_max: WAITING,
        changes_in_flight_max: WAITING,
        ..Options::default()
    };
    let fan_out_inline_max = NonZeroUsize::new(CHUNK).unwrap();
    let audience = Audience { fan_out_inline_max, posts_alone: 10, hosts: 1, options, ..Audience::of(FOLLOWERS) };
    let figures = audience.play().unwrap();
    println!("{figures}");
    // Followers of the chunks that are served, and the changes that were read behind them.
    assert!(figures.held_max < 32 * (CHUNK + 2 * WAITING), "{figures}");
    assert_eq!(figures.by_host.values().sum::<usize>(), FOLLOWERS, "{figures}");
}
