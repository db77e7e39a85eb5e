//! What the settings alone tell.

use std::time::Duration;

use feedmill_cosmos::CredentialKind;

use super::finding::Finding;
use crate::settings::Settings;

const CHECK: &str = "configuration";

/// The longest outage that a fleet should survive without being told.
const OUTAGE_MIN: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Container Apps and Kubernetes kill what has not ended by then, unless they are told otherwise.
/// <https://learn.microsoft.com/azure/container-apps/application-lifecycle-management#shutdown>
const PLATFORM_GRACE: Duration = Duration::from_secs(30);

pub(super) fn look(settings: &Settings) -> Vec<Finding> {
    let Settings { engine, outbox, cosmos, .. } = settings;
    let mut found = Vec::new();
    if let Err(error) = engine.check() {
        found.push(Finding::bad(
            CHECK,
            error.to_string(),
            "no host starts with that; config/default.toml explains the keys",
        ));
    }
    if outbox.tombstone_ttl < OUTAGE_MIN {
        found.push(Finding::warning(
            CHECK,
            format!("a withdrawal stays for {:?} only: a longer outage never sees it", outbox.tombstone_ttl),
            "set outbox.tombstone_ttl to a week or more, and alarm at half of it; `feedmill verify --repair` finds what was missed",
        ));
    }
    if engine.shutdown_grace >= PLATFORM_GRACE {
        found.push(Finding::warning(
            CHECK,
            format!("a stop may take {:?}, and platforms kill after 30s unless told otherwise", engine.shutdown_grace),
            "set terminationGracePeriodSeconds above engine.shutdown_grace, or the grace below 30s",
        ));
    }
    if outbox.publish_max >= engine.shutdown_grace {
        found.push(Finding::warning(
            CHECK,
            format!("a relay may hold a batch for {:?}, longer than a stop may take", outbox.publish_max),
            "set outbox.publish_max below engine.shutdown_grace",
        ));
    }
    if cosmos.credential == CredentialKind::Key && cosmos.key_allowed {
        found.push(Finding::warning(
            CHECK,
            "the account's key is used, which may do everything and never expires",
            "cosmos.credential = \"managed-identity\" with the roles of charts/container-apps needs no secret",
        ));
    }
    if found.is_empty() {
        found.push(Finding::good(CHECK, "every setting is known, and they agree with each other"));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::finding::Verdict;
    use super::*;

    #[test]
    fn the_defaults_are_good() {
        let verdicts: Vec<_> = look(&Settings::default()).into_iter().map(|found| found.verdict).collect();
        assert_eq!(verdicts, [Verdict::Good]);
    }

    #[test]
    fn settings_that_contradict_each_other_are_named() {
        type Change = fn(&mut Settings);
        let table: [(Change, Verdict, &str); 7] = [
            (|s| s.engine.heartbeat_expiry = Duration::from_secs(5), Verdict::Bad, "heartbeat"),
            (
                |s| {
                    s.engine.heartbeat_interval = Duration::from_secs(1);
                    s.engine.heartbeat_expiry = Duration::from_secs(3);
                },
                Verdict::Bad,
                "heartbeat",
            ),
            (|s| s.engine.ranges_per_partition = 0, Verdict::Bad, "ranges_per_partition"),
            (|s| s.outbox.tombstone_ttl = Duration::from_secs(3_600), Verdict::Warning, "withdrawal"),
            (|s| s.engine.shutdown_grace = Duration::from_secs(60), Verdict::Warning, "kill"),
            (|s| s.outbox.publish_max = Duration::from_secs(25), Verdict::Warning, "relay"),
            (
                |s| {
                    s.cosmos.credential = CredentialKind::Key;
                    s.cosmos.key_allowed = true;
                },
                Verdict::Warning,
                "key",
            ),
        ];
        for (change, verdict, word) in table {
            let mut settings = Settings::default();
            change(&mut settings);
            let found = look(&settings);
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(found[0].verdict, verdict);
            assert!(found[0].says.contains(word), "{word}: {found:?}");
        }
    }
}
