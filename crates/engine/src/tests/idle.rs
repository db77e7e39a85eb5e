//! What leases cost while nothing happens.

use std::time::Duration;

use feedmill_clock::Clock;

use super::fleet::{Host, fleet, is_heartbeat, is_of_leases, until};

const NAMES: [&str; 10] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
const MINUTES: u32 = 5;

/// Requests to the lease container for each lease and minute at rest, all ten hosts together, to one decimal.
async fn idle_requests(partitions: u32, ranges_per_partition: usize) -> String {
    let mut world = fleet(partitions, ranges_per_partition).await;
    world.options.poll_delay_min = Duration::from_secs(60);
    let leases = partitions as usize * ranges_per_partition;
    let hosts: Vec<_> = NAMES.iter().map(|name| Host::start(&world, name)).collect();
    let shares: Vec<_> = NAMES.iter().map(|name| (*name, leases / NAMES.len())).collect();
    until(&world, &shares, Duration::from_secs(1)).await;
    world.clock.sleep(Duration::from_secs(60)).await;
    let count = || hosts.iter().map(|host| host.spy.count(is_of_leases)).sum::<usize>();
    let beats = || hosts.iter().map(|host| host.spy.count(is_heartbeat)).sum::<usize>();
    let (before, beaten) = (count(), beats());
    world.clock.sleep(Duration::from_secs(60) * MINUTES).await;
    let (requests, beats) = (count() - before, beats() - beaten);
    assert!(requests <= 2 * beats + NAMES.len(), "{requests} requests for {beats} heartbeats");
    for host in hosts {
        host.running.kill().await;
    }
    format!("{:.1}", requests as f64 / leases as f64 / f64::from(MINUTES))
}

#[tokio::test]
async fn a_hundred_idle_leases_on_ten_hosts_cost_four_requests_a_lease_and_minute() {
    assert_eq!(idle_requests(4, 25).await, "4.0");
}

#[tokio::test]
async fn two_thousand_idle_leases_on_ten_hosts_cost_a_fifth_of_a_request_a_lease_and_minute() {
    assert_eq!(idle_requests(8, 250).await, "0.2");
}
