use std::collections::BTreeMap;

use feedmill_documents::containers;
use feedmill_store_api::{ContainerSpec, DefaultTtl, IndexPath, Order};
use serde_json::Value;

use super::read;
use crate::support::{Ran, command, feedmill};

/// Files of container-apps/ that describe one app or job each.
pub(super) const FILES: [&str; 5] = ["app", "job-event-driven", "job-manual", "job-scheduled", "scaler"];

/// What a container of ours is started with, wherever it is in a manifest.
#[derive(Debug, Default)]
pub(super) struct Started {
    pub(super) arguments: Vec<String>,
    pub(super) environment: BTreeMap<String, String>,
}

/// Every object in `manifest` that has an image.
pub(super) fn containers_of(manifest: &Value, found: &mut Vec<Value>) {
    match manifest {
        Value::Object(members) => {
            if members.contains_key("image") && members.contains_key("name") {
                found.push(manifest.clone());
            }
            members.values().for_each(|member| containers_of(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| containers_of(item, found)),
        _ => {}
    }
}

pub(super) fn started(container: &Value) -> Started {
    let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("not a text: {value}")).to_owned();
    let arguments = container["args"].as_array().into_iter().flatten().map(text).collect();
    let variables = container["env"].as_array().into_iter().flatten();
    let environment = variables.map(|variable| (text(&variable["name"]), text(&variable["value"]))).collect();
    Started { arguments, environment }
}

impl Started {
    /// The program takes the settings and the arguments. What only a deployment knows is replaced.
    pub(super) fn check(&self, place: &str) {
        let known = |value: &str| if value.starts_with('[') { "x".to_owned() } else { value.to_owned() };
        assert!(!self.arguments.is_empty(), "{place}: a container starts nothing");
        for name in self.environment.keys() {
            assert!(name.starts_with("FEEDMILL_") && name.contains("__"), "{place}: {name} is no setting");
        }
        let checked = command(["config", "check"])
            .envs(self.environment.iter().map(|(name, value)| (name, known(value))))
            .output()
            .unwrap();
        let checked = Ran::from(checked);
        assert_eq!(checked.code, Some(0), "{place}: {}", checked.stderr);
        // Arguments are read before help is given.
        let helped = feedmill(self.arguments.iter().map(String::as_str).chain(["--help"]));
        assert_eq!(helped.code, Some(0), "{place}: {:?}: {}", self.arguments, helped.stderr);
    }
}

pub(super) fn yaml(text: &str) -> Value {
    serde_saphyr::from_str(text).unwrap_or_else(|error| panic!("not YAML: {error}\n{text}"))
}

#[test]
fn apps_and_jobs_start_the_program_with_settings_and_arguments_it_has() {
    for file in FILES {
        let name = format!("container-apps/{file}.yaml");
        let manifest = yaml(&read(&name));
        let mut found = Vec::new();
        containers_of(&manifest, &mut found);
        assert_eq!(found.len(), 1, "{name}");
        started(&found[0]).check(&name);
        let kind = manifest["properties"]["configuration"]["triggerType"].as_str();
        let triggers = manifest["properties"]["configuration"].as_object().unwrap();
        let expected = kind.map(|kind| format!("{}TriggerConfig", kind.to_lowercase()));
        assert!(expected.is_none_or(|config| triggers.contains_key(&config)), "{name}: {kind:?} has no configuration");
    }
}

#[test]
fn the_template_starts_the_program_with_settings_and_arguments_it_has() {
    let template: Value = serde_json::from_str(&read("container-apps/template.json")).unwrap();
    let mut found = Vec::new();
    containers_of(&template, &mut found);
    assert!(found.len() >= 4, "{found:?}");
    for container in &found {
        started(container).check("container-apps/template.json");
    }
}

#[test]
fn a_platform_waits_longer_than_a_stop_may_take() {
    let shown = feedmill(["config", "show", "--json"]).succeeded();
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["engine"]["shutdown_grace"], "25s", "the manifests below were written for this default");
    let app = yaml(&read("container-apps/app.yaml"));
    let values = yaml(&read("feedmill/values.yaml"));
    for grace in [
        &app["properties"]["template"]["terminationGracePeriodSeconds"],
        &values["deployment"]["terminationGracePeriodSeconds"],
    ] {
        assert!(grace.as_u64().unwrap() > 25, "{grace}");
    }
}

/// The container as the template makes it.
fn specified(container: &Value) -> ContainerSpec {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let index = |paths: &Value| {
        let path = |path: &Value| IndexPath {
            path: text(&path["path"]),
            order: if path["order"] == "descending" { Order::Descending } else { Order::Ascending },
        };
        paths.as_array().unwrap().iter().map(path).collect()
    };
    let excluded = container["excludedPaths"].as_array().unwrap().iter().map(|path| text(&path["path"]));
    ContainerSpec {
        name: text(&container["name"]),
        partition_key: vec![text(&container["partitionKey"])],
        default_ttl: match container["defaultTtl"].as_i64().unwrap() {
            -1 => Some(DefaultTtl::Forever),
            seconds => Some(DefaultTtl::Seconds(u32::try_from(seconds).unwrap())),
        },
        composite_indexes: container["compositeIndexes"].as_array().unwrap().iter().map(index).collect(),
        // The service excludes this one from every index, and wants it said.
        excluded_paths: excluded.filter(|path| path != "/\"_etag\"/?").collect(),
        partitions: 1,
    }
}

#[test]
fn the_template_makes_the_containers_that_provision_makes() {
    let template: Value = serde_json::from_str(&read("container-apps/template.json")).unwrap();
    let made: Vec<_> = template["variables"]["containers"].as_array().unwrap().iter().map(specified).collect();
    let wanted = containers::all(1);
    let names = |specs: &[ContainerSpec]| specs.iter().map(|spec| spec.name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&made), names(&wanted));
    for (made, wanted) in made.iter().zip(&wanted) {
        assert_eq!(made.differences(wanted), [], "{}", made.name);
    }
}

/// Whoever may write more than it must is not what the table in charts/README.md says.
#[test]
fn the_templates_roles_cover_each_container_once_and_sources_are_only_read() {
    let template: Value = serde_json::from_str(&read("container-apps/template.json")).unwrap();
    let list = |name: &str| -> Vec<String> {
        let names = template["variables"][name].as_array().unwrap().iter();
        names.map(|name| name.as_str().unwrap().to_owned()).collect()
    };
    let (read, written) = (list("read"), list("written"));
    assert_eq!(read, ["posts_v2", "reactions", "follows", "blocks", "publicProfiles"]);
    let mut all = [read, written].concat();
    all.sort();
    let mut wanted: Vec<_> = containers::all(1).into_iter().map(|spec| spec.name).collect();
    wanted.sort();
    assert_eq!(all, wanted);

    let actions = |title: &str| -> Vec<String> {
        let of_role = |resource: &&Value| resource["properties"]["roleName"] == title;
        let role = template["resources"].as_array().unwrap().iter().find(of_role).unwrap();
        let actions = role["properties"]["permissions"][0]["dataActions"].as_array().unwrap();
        actions.iter().map(|action| action.as_str().unwrap().rsplit('/').next().unwrap().to_owned()).collect()
    };
    assert_eq!(actions("feedmill metadata"), ["readMetadata"]);
    assert_eq!(actions("feedmill reads sources"), ["read", "executeQuery", "readChangeFeed"]);
    assert_eq!(
        actions("feedmill keeps projections"),
        ["read", "executeQuery", "readChangeFeed", "create", "replace", "upsert", "delete"]
    );
}
