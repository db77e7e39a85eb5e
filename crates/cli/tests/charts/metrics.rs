use std::collections::BTreeSet;
use std::process::{Command, Stdio};
use std::time::Duration;

use feedmill_clock::{Clock, SystemClock};
use serde_json::{Value, json};

use super::{chart, read, skipped};
use crate::bad_input::{get, running};
use crate::support::Store;

/// Half a minute, far more than a small store takes.
const LOOKS: u32 = 300;

/// Names of metrics in a text of queries.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let ours = words.filter(|word| word.starts_with("feedmill_") || word.starts_with("process_"));
    ours.map(str::to_owned).collect()
}

/// Names at the beginning of the lines of samples.
fn exported(scraped: &str) -> BTreeSet<String> {
    let samples = scraped.lines().filter(|line| !line.starts_with('#'));
    samples.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned).collect()
}

/// The queries of a dashboard, wherever they are in it.
fn queries(dashboard: &Value, found: &mut Vec<String>) {
    match dashboard {
        Value::Object(members) => {
            for (name, member) in members {
                match member {
                    Value::String(text) if ["expr", "definition"].contains(&name.as_str()) => found.push(text.clone()),
                    _ => queries(member, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| queries(item, found)),
        _ => {}
    }
}

fn of_dashboard() -> BTreeSet<String> {
    let dashboard: Value = serde_json::from_str(&read("grafana/feedmill.json")).unwrap();
    let ids: Vec<_> =
        dashboard["panels"].as_array().unwrap().iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), ids.iter().collect::<BTreeSet<_>>().len(), "two panels have one id");
    let mut found = Vec::new();
    queries(&dashboard, &mut found);
    named(&found.join("\n"))
}

#[test]
fn every_metric_of_the_dashboard_the_alerts_and_the_runbooks_is_one_the_program_exports() {
    let wanted: BTreeSet<_> = [of_dashboard(), named(&read("alerts/feedmill.yaml")), named(&read("README.md"))]
        .into_iter()
        .flatten()
        // Those of the relay are another process's, and feedmill_app and the like are roles of PostgreSQL.
        .filter(|name| {
            !name.starts_with("feedmill_outbox") && (name.matches('_').count() > 2 || name.starts_with("process_"))
        })
        .collect();
    assert!(wanted.len() > 20, "the check itself must see the names: {wanted:?}");

    let store = Store::new();
    let post = |id: &str| json!({ "id": id, "postId": id, "authorId": "ada", "createdAt": "2024-01-01T00:00:00.000Z", "status": "published" });
    store.import("posts_v2", &[post("p1"), post("p2")]);
    let (mut child, address) = running(&store);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let mut missing = wanted.clone();
    for _ in 0..LOOKS {
        let there = exported(&get(&address, "/metrics"));
        missing = wanted.difference(&there).cloned().collect();
        if missing.is_empty() {
            break;
        }
        runtime.block_on(async { SystemClock.sleep(Duration::from_millis(100)).await });
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(missing.is_empty(), "charts/ names metrics that nobody exports: {missing:?}");
}

#[test]
fn prometheus_itself_takes_the_rules() {
    let rules = chart("alerts/feedmill.yaml");
    match Command::new("promtool").args(["check", "rules"]).arg(&rules).stderr(Stdio::piped()).output() {
        Ok(checked) => assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr)),
        Err(_) => skipped("prometheus_itself_takes_the_rules: promtool is not here"),
    }
}

#[test]
fn every_alert_names_a_runbook_that_is_there() {
    let headings: Vec<String> =
        read("README.md").lines().filter_map(|line| line.strip_prefix("### ")).map(str::to_lowercase).collect();
    let rules = read("alerts/feedmill.yaml");
    let (alerts, runbooks) = (rules.matches("- alert:").count(), rules.matches("runbook:").count());
    assert!(alerts > 5 && alerts == runbooks, "{alerts} alerts have {runbooks} runbooks");
    for line in rules.lines().filter_map(|line| line.trim().strip_prefix("runbook: ")) {
        let heading = line.trim_matches('"').strip_prefix("charts/README.md: ").unwrap().to_lowercase();
        assert!(headings.contains(&heading), "charts/README.md has no heading {heading:?}");
    }
}
