//! What this host is called in its leases and heartbeats.

use feedmill_clock::Entropy;

use crate::settings::Settings;

/// Ids of documents are longer than this by their prefix; names of platforms are much shorter.
const NAME_BYTES_MAX: usize = 200;

/// The name of the settings, or what the platform calls this replica, or chance.
///
/// A replica that is restarted under its name is the same host in its next life: the plan gives it the leases it had, once its
/// earlier life is surely over. Two processes that live at the same time must not share a name: the later one stops the earlier.
pub(crate) fn name(settings: &Settings, entropy: &Entropy) -> String {
    let variable = |name: &str| std::env::var(name).ok();
    chosen(&settings.host.name, variable).unwrap_or_else(|| format!("feedmill-{:08x}", entropy.next_u64() >> 32))
}

fn chosen(setting: &str, variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let given = |name: &str| variable(name).map(|value| legal(&value)).filter(|value| !value.is_empty());
    if setting != "none" {
        return Some(legal(setting)).filter(|name| !name.is_empty());
    }
    if let Some(replica) = given("CONTAINER_APP_REPLICA_NAME") {
        return Some(replica);
    }
    match (given("CONTAINER_APP_JOB_EXECUTION_NAME"), given("HOSTNAME")) {
        // An execution may have several replicas, which only their host names tell apart.
        (Some(execution), Some(host)) if !host.starts_with(&execution) => Some(legal(&format!("{execution}.{host}"))),
        (execution, host) => host.or(execution),
    }
}

/// Without what no document's id may have.
fn legal(name: &str) -> String {
    let fit = |c: char| if c.is_control() || matches!(c, '/' | '\\' | '?' | '#') { '-' } else { c };
    let mut name: String = name.trim().chars().map(fit).collect();
    while name.len() > NAME_BYTES_MAX {
        name.pop();
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(setting: &str, variables: &[(&str, &str)]) -> Option<String> {
        chosen(setting, |name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()))
    }

    const REPLICA: (&str, &str) = ("CONTAINER_APP_REPLICA_NAME", "feedmill--r1-7d9f-abcde");
    const EXECUTION: (&str, &str) = ("CONTAINER_APP_JOB_EXECUTION_NAME", "rebuild-x1y2z3");
    const POD: (&str, &str) = ("HOSTNAME", "feedmill-0");

    #[test]
    fn the_setting_counts_before_the_platform_and_that_before_the_machine() {
        type Variables = &'static [(&'static str, &'static str)];
        let table: [(&str, Variables, Option<&str>); 8] = [
            ("mine", &[REPLICA, EXECUTION, POD], Some("mine")),
            ("none", &[REPLICA, EXECUTION, POD], Some("feedmill--r1-7d9f-abcde")),
            ("none", &[EXECUTION, POD], Some("rebuild-x1y2z3.feedmill-0")),
            ("none", &[EXECUTION, ("HOSTNAME", "rebuild-x1y2z3-k8m2p")], Some("rebuild-x1y2z3-k8m2p")),
            ("none", &[EXECUTION], Some("rebuild-x1y2z3")),
            ("none", &[POD], Some("feedmill-0")),
            ("none", &[("HOSTNAME", " ")], None),
            ("none", &[], None),
        ];
        for (setting, variables, name) in table {
            assert_eq!(of(setting, variables).as_deref(), name, "{setting} {variables:?}");
        }
    }

    #[test]
    fn a_name_is_always_part_of_a_legal_id() {
        assert_eq!(of("a/b\\c?d#e\n", &[]).as_deref(), Some("a-b-c-d-e"));
        assert_eq!(of(&"é".repeat(500), &[]).unwrap().len(), NAME_BYTES_MAX);
    }
}
