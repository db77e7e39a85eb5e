//! Do the hosts agree with each other, and is anything too far behind?

use std::collections::BTreeMap;
use std::time::Duration;

use feedmill_engine::{HostRecord, LeaseMode, Operator};
use jiff::Timestamp;

use super::finding::Finding;
use crate::settings::Settings;

const CHECK: &str = "fleet";

pub(super) async fn look(operator: &Operator, settings: &Settings, now: Timestamp) -> Vec<Finding> {
    let asked = async {
        let leases = operator.leases().await?;
        let (hosts, paused) = (operator.hosts(&leases).await?, operator.paused().await?);
        let mut worst = (0, String::new());
        for lease in leases {
            let lag = operator.lag(&lease).await?;
            if lag.seconds >= worst.0 {
                worst = (lag.seconds, crate::operating::name(&lease));
            }
        }
        Ok::<_, feedmill_engine::LeaseError>((hosts, paused, worst))
    };
    match asked.await {
        Ok((hosts, paused, worst)) => {
            let mut found = match settings.engine.lease_mode {
                LeaseMode::Own => agreement(&hosts, settings.engine.heartbeat_expiry, now),
                LeaseMode::Shared => {
                    vec![Finding::good(CHECK, "leases are shared: they alone say which hosts there are")]
                }
            };
            found.extend(pauses(&paused));
            found.push(lag(worst, settings.outbox.tombstone_ttl));
            found
        }
        Err(error) => vec![Finding::of_error(CHECK, error, "`feedmill leases list` shows more")],
    }
}

fn agreement(hosts: &[HostRecord], expiry: Duration, now: Timestamp) -> Vec<Finding> {
    let lives = |host: &&HostRecord| {
        let age = host.written_at.map_or(i64::MAX, |at| now.as_second() - at.as_second());
        // The store's clock and ours need not agree to a heartbeat.
        !host.stopped && age <= 2 * i64::try_from(expiry.as_secs()).unwrap_or(i64::MAX)
    };
    // Who has no heartbeat says nothing of itself.
    let living: Vec<_> = hosts.iter().filter(|host| host.revision.is_some()).filter(lives).collect();
    let (Some(first), count) = (living.first(), living.len()) else {
        return vec![Finding::good(CHECK, "no host is running")];
    };
    let revisions = by(&living, |host| host.revision.as_deref().unwrap_or_default());
    let options = by(&living, |host| host.options_hash.as_deref().unwrap_or_default());
    let mut found = Vec::new();
    if revisions.len() > 1 {
        found.push(Finding::warning(
            CHECK,
            format!("hosts run different revisions: {}", shown(&revisions)),
            "let the roll-out end; an older revision never replaces what a newer one wrote",
        ));
    }
    if options.len() > 1 {
        found.push(Finding::warning(
            CHECK,
            format!("hosts run with different [engine] options: {}", shown(&options)),
            "give all of them one file: whoever hands a lease over counts on the other's times",
        ));
    }
    let own = env!("CARGO_PKG_VERSION");
    if let Some(revision) = first.revision.as_deref().filter(|revision| revisions.len() == 1 && *revision != own) {
        found.push(Finding::warning(
            CHECK,
            format!("hosts run revision {revision}, this is {own}"),
            "ask with the revision that runs, or roll this one out",
        ));
    }
    if found.is_empty() {
        found.push(Finding::good(CHECK, format!("{count} hosts of revision {own}, with the same options")));
    }
    found
}

fn by<'h>(hosts: &[&'h HostRecord], value: impl Fn(&'h HostRecord) -> &'h str) -> BTreeMap<&'h str, Vec<&'h str>> {
    let mut by: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for host in hosts {
        by.entry(value(host)).or_default().push(&host.host);
    }
    by
}

fn shown(by: &BTreeMap<&str, Vec<&str>>) -> String {
    by.iter().map(|(value, hosts)| format!("{value} on {}", hosts.join(", "))).collect::<Vec<_>>().join("; ")
}

fn pauses(paused: &[String]) -> Option<Finding> {
    (!paused.is_empty()).then(|| {
        let says = format!("paused: {}", paused.join(", "));
        Finding::warning("pauses", says, "`feedmill resume NAME` lets a processor go on where it was")
    })
}

/// Of the lease that is furthest behind.
fn lag((seconds, lease): (u64, String), tombstone_ttl: Duration) -> Finding {
    let half = tombstone_ttl.as_secs() / 2;
    if seconds <= half {
        return Finding::good("lag", format!("{seconds} s at most, of {half} s until withdrawals are in danger"));
    }
    Finding::bad(
        "lag",
        format!("{lease} is {seconds} s behind; withdrawals are forgotten after {} s", tombstone_ttl.as_secs()),
        "let it catch up before then; afterwards `feedmill verify --repair` finds what was missed",
    )
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    const EXPIRY: Duration = Duration::from_secs(9);

    fn host(name: &str, revision: &str, options: &str, heard_at: i64) -> HostRecord {
        HostRecord {
            host: name.to_owned(),
            incarnation: Some("1".to_owned()),
            revision: Some(revision.to_owned()),
            options_hash: Some(options.to_owned()),
            stopped: false,
            does: Vec::new(),
            written_at: Some(Timestamp::from_second(heard_at).unwrap()),
        }
    }

    fn said(hosts: &[HostRecord]) -> Vec<(Verdict, String)> {
        let now = Timestamp::from_second(1_000).unwrap();
        agreement(hosts, EXPIRY, now).into_iter().map(|found| (found.verdict, found.says)).collect()
    }

    #[test]
    fn hosts_that_live_must_agree_and_the_dead_do_not_count() {
        let own = env!("CARGO_PKG_VERSION");
        let alike = [host("a", own, "1", 999), host("b", own, "1", 995), host("dead", "0.0.1", "2", 900)];
        assert_eq!(said(&alike), [(Verdict::Good, format!("2 hosts of revision {own}, with the same options"))]);
        let mixed = [host("a", own, "1", 999), host("b", "9.9.9", "2", 999)];
        let said_of_mixed = said(&mixed);
        assert_eq!(said_of_mixed.len(), 2, "{said_of_mixed:?}");
        assert!(
            said_of_mixed[0].1.contains("9.9.9 on b") && said_of_mixed[1].1.contains("2 on b"),
            "{said_of_mixed:?}"
        );
        assert_eq!(said(&[host("a", "9.9.9", "1", 999)])[0].0, Verdict::Warning);
        assert_eq!(said(&[]), [(Verdict::Good, "no host is running".to_owned())]);
    }

    #[test]
    fn lag_past_half_of_what_withdrawals_live_is_bad() {
        let ttl = Duration::from_secs(1_000);
        assert_eq!(lag((500, "p".to_owned()), ttl).verdict, Verdict::Good);
        let late = lag((501, "p/posts_v2/-FF".to_owned()), ttl);
        assert!(late.verdict == Verdict::Bad && late.says.contains("p/posts_v2/-FF"), "{late:?}");
    }
}
