use serde_json::Value;

use crate::support::{Ran, Served, Store, lines};

/// What was found of a check, by verdict.
fn found<'r>(findings: &'r [Value], check: &str) -> Vec<(&'r str, &'r str)> {
    let text = |finding: &'r Value, name: &str| finding[name].as_str().unwrap();
    let of_check = findings.iter().filter(|finding| finding["check"] == check);
    of_check.map(|finding| (text(finding, "verdict"), text(finding, "says"))).collect()
}

fn verdicts<'r>(findings: &'r [Value], check: &str) -> Vec<&'r str> {
    found(findings, check).into_iter().map(|(verdict, _)| verdict).collect()
}

fn findings(ran: &Ran) -> Vec<Value> {
    let findings = lines(&ran.stdout);
    for finding in &findings {
        let needs_advice = finding["verdict"] != "good";
        assert_eq!(finding["advice"].is_string(), needs_advice, "what is not good says what to do: {finding}");
    }
    findings
}

#[test]
fn a_store_that_is_well_has_nothing_bad() {
    let store = Store::new();
    store.run(&["provision"]).succeeded();
    let ran = store.run(&["doctor", "--json"]);
    let findings = findings(&ran);
    for check in ["configuration", "store", "containers", "permissions", "write regions", "clock", "fleet", "lag"] {
        assert_eq!(verdicts(&findings, check), ["good"], "{check}: {findings:?}");
    }
    assert_eq!(ran.code, Some(0));
    assert!(store.export("leases").is_empty(), "what it wrote is gone");
}

#[test]
fn an_account_is_looked_at_the_same_way_and_what_its_sdk_does_not_tell_is_said() {
    let served = Served::in_memory();
    served.run(&["provision"]).succeeded();
    let ran = served.run(&["doctor", "--json"]);
    let findings = findings(&ran);
    for check in ["store", "containers", "permissions", "clock", "fleet", "lag"] {
        assert_eq!(verdicts(&findings, check), ["good"], "{check}: {findings:?}");
    }
    assert_eq!(verdicts(&findings, "write regions"), ["unknown"]);
    assert_eq!(ran.code, Some(0));
}

#[test]
fn what_is_bad_is_found_and_fails() {
    let store = Store::new();
    store.run(&["provision"]).succeeded();
    let ran = store.run(&["doctor", "--json", "--set", "engine.dead_letters=notifications"]);
    let of_drift = findings(&ran);
    let (verdict, says) = found(&of_drift, "containers")[0];
    assert!(verdict == "bad" && says.contains("is /recipientId, wanted is /id"), "{of_drift:?}");
    ran.failed(1);

    let ran = store.run(&["doctor", "--json", "--set", "engine.heartbeat_expiry=4s"]);
    assert_eq!(verdicts(&findings(&ran), "configuration"), ["bad"]);
    ran.failed(1);

    let ran = store.run(&["doctor", "--json", "--set", "engine.leases=elsewhere"]);
    let of_missing = findings(&ran);
    assert_eq!(found(&of_missing, "containers"), [("bad", "there is no container elsewhere")]);
    ran.failed(1);

    let ran = Store::new().run(&["doctor"]);
    assert!(ran.stdout.contains("no such folder"), "{}", ran.stdout);
    ran.failed(1);
}
