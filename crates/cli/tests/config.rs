use crate::support::{command, feedmill};

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

fn check_of(text: &str) -> crate::support::Ran {
    let file = file(text);
    feedmill(["config", "check", "--config", file.path().to_str().unwrap()])
}

#[test]
fn show_prints_what_counts_and_reads_back() {
    let shown = command(["config", "show", "--set", "notifications.own_actions=true"])
        .env("FEEDMILL_NOTIFICATIONS__RETENTION", "none")
        .output()
        .unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.contains("own_actions = true") && shown.contains("retention = \"none\""), "{shown}");
    let again = file(&shown);
    assert_eq!(feedmill(["config", "show", "--config", again.path().to_str().unwrap()]).succeeded(), shown);
}

#[test]
fn show_as_json_has_the_same_sections() {
    let json: serde_json::Value = serde_json::from_str(&feedmill(["config", "show", "--json"]).succeeded()).unwrap();
    assert_eq!(json["store"]["data_dir"], "none");
    assert!(json["engine"]["settle"].is_object());
}

#[test]
fn an_unknown_key_is_answered_with_place_and_nearest() {
    let said = check_of("[engine]\npage_item_max = 3\n").failed(2);
    assert!(said.contains(".toml:2:1: there is no setting engine.page_item_max"), "{said}");
    assert!(said.contains("did you mean engine.page_items_max?"), "{said}");

    let said = feedmill(["config", "check", "--set", "notification.own_actions=true"]).failed(2);
    assert!(said.contains("did you mean notifications.own_actions?"), "{said}");

    let variable = command(["config", "check"]).env("FEEDMILL_STORE__DATADIR", "x").output().unwrap();
    let said = crate::support::Ran::from(variable).failed(2);
    assert!(said.contains("FEEDMILL_STORE__DATADIR") && said.contains("did you mean store.data_dir?"), "{said}");
}

#[test]
fn a_wrong_type_and_a_torn_file_are_answered_with_their_place() {
    let said = check_of("[engine]\nretry_inline = 10\n").failed(2);
    assert!(said.contains(".toml:2:1: engine.retry_inline: "), "{said}");
    let said = check_of("[engine\n").failed(2);
    assert!(said.contains(".toml:1:8: not TOML: "), "{said}");
    let said = feedmill(["config", "check", "--config", "/nowhere/x.toml"]).failed(2);
    assert!(said.contains("read the configuration /nowhere/x.toml") && said.contains("No such file"), "{said}");
}

#[test]
fn a_good_configuration_is_nothing_to_talk_about() {
    let ran = check_of("[store]\npartitions = 2\n");
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (Some(0), "", ""));
}

#[test]
fn settings_that_cannot_work_together_are_refused_with_what_they_need() {
    let said = check_of("[engine]\nheartbeat_interval = \"1s\"\nheartbeat_expiry = \"3s\"\n").failed(2);
    assert!(said.contains("engine.heartbeat_expiry must be at least 4s, not 3s"), "{said}");
    let said = check_of("[engine]\nranges_per_partition = 0\n").failed(2);
    assert!(said.contains("from 1 to 1000, not 0"), "{said}");
    assert_eq!(check_of("[engine]\nheartbeat_interval = \"1s\"\nheartbeat_expiry = \"4s\"\n").code, Some(0));
    let said = check_of("[engine]\nlease_mode = \"shared\"\nranges_per_partition = 4\n").failed(2);
    assert!(said.contains("engine.ranges_per_partition = 4 needs engine.lease_mode = \"own\": a .NET host"), "{said}");
    assert_eq!(check_of("[engine]\nlease_mode = \"shared\"\n").code, Some(0));
}
