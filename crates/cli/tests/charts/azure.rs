//! The manifests for Azure against Azure's own types, as its Python packages publish them.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::manifests::{FILES, yaml};
use super::{python_with, read, said_to, skipped};

/// Resources of a template, the package that has their type, and its name there.
const TYPES: [(&str, &str, &str); 6] = [
    ("Microsoft.App/jobs", "appcontainers", "Job"),
    ("Microsoft.App/containerApps", "appcontainers", "ContainerApp"),
    ("Microsoft.DocumentDB/databaseAccounts/sqlDatabases", "cosmosdb", "SqlDatabaseCreateUpdateParameters"),
    ("Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers", "cosmosdb", "SqlContainerCreateUpdateParameters"),
    ("Microsoft.DocumentDB/databaseAccounts/sqlRoleDefinitions", "cosmosdb", "SqlRoleDefinitionCreateUpdateParameters"),
    ("Microsoft.DocumentDB/databaseAccounts/sqlRoleAssignments", "cosmosdb", "SqlRoleAssignmentCreateUpdateParameters"),
];
/// What a template says of a resource besides what the resource is.
const OF_THE_TEMPLATE: [&str; 6] = ["type", "apiVersion", "name", "dependsOn", "copy", "condition"];

fn template() -> Vec<Value> {
    let template: Value = serde_json::from_str(&read("container-apps/template.json")).unwrap();
    template["resources"].as_array().unwrap().clone()
}

/// `None` where no package is asked for its type.
fn to_compare(at: &str, mut resource: Value) -> Option<Value> {
    let (_, package, of_type) = TYPES.into_iter().find(|(name, ..)| resource["type"] == *name)?;
    resource.as_object_mut().unwrap().retain(|key, _| !OF_THE_TEMPLATE.contains(&key.as_str()));
    Some(json!({"at": at, "package": package, "type": of_type, "resource": resource}))
}

#[test]
fn what_is_for_azure_fits_the_types_that_its_packages_publish() {
    let name = "what_is_for_azure_fits_the_types_that_its_packages_publish";
    let Some(python) = python_with("azure.mgmt.appcontainers.types, azure.mgmt.cosmosdb.types") else {
        return skipped(&format!("{name}: Python has no azure-mgmt-appcontainers or no azure-mgmt-cosmosdb"));
    };
    let mut given = Vec::new();
    for file in FILES {
        let name = format!("container-apps/{file}.yaml");
        given.push(to_compare(&name, yaml(&read(&name))).unwrap_or_else(|| panic!("{name}: of no known type")));
    }
    for resource in template() {
        let at = format!("template.json: {} {}", resource["type"], resource["name"]);
        match to_compare(&at, resource) {
            Some(compared) => given.push(compared),
            None => skipped(&format!("{name}: {at}, whose type no package here has")),
        }
    }
    let script = include_str!("against_azure.py");
    let differences = |given: Value| {
        let ended = said_to(&python, script, &given);
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        String::from_utf8(ended.stdout).unwrap()
    };
    assert_eq!(differences(Value::from(given.clone())), "");

    // The comparison sees what is wrong: here a member that nothing has, a word for a number, and one that is none of those known.
    let of_job = |compared: &Value| compared["resource"]["properties"]["configuration"]["triggerType"] == "Event";
    let mut job = given.into_iter().find(of_job).unwrap();
    let configuration = &mut job["resource"]["properties"]["configuration"];
    configuration["replicaTimeOut"] = json!(60);
    configuration["replicaRetryLimit"] = json!("one");
    configuration["triggerType"] = json!("Sometimes");
    assert_eq!(differences(json!([job])).lines().count(), 3);
}

#[test]
fn the_template_has_a_job_of_every_kind_and_reads_changes_in_one_way_at_a_time() {
    let resources = template();
    let jobs: Vec<_> = resources.iter().filter(|resource| resource["type"] == "Microsoft.App/jobs").collect();
    let kind = |job: &&Value| job["properties"]["configuration"]["triggerType"].as_str().unwrap().to_owned();
    let kinds: BTreeSet<_> = jobs.iter().map(kind).collect();
    assert_eq!(kinds, ["Event", "Manual", "Schedule"].map(str::to_owned).into());
    let conditions = resources.iter().filter_map(|resource| resource["condition"].as_str());
    assert_eq!(
        conditions.collect::<Vec<_>>(),
        ["[equals(parameters('runs'), 'always')]", "[equals(parameters('runs'), 'on-demand')]"]
    );
    // What the job is alone, it is in the template too, but for what only a deployment knows.
    let alone = yaml(&read("container-apps/job-event-driven.yaml"));
    let job = jobs.iter().find(|job| kind(job) == "Event").unwrap();
    let (mut alone, mut job) = (alone["properties"].clone(), job["properties"].clone());
    for properties in [&mut alone, &mut job] {
        assert_eq!(properties["template"]["containers"][0]["args"], json!(["run", "--until-caught-up"]));
        let scale = &mut properties["configuration"]["eventTriggerConfig"]["scale"];
        assert_eq!(scale["rules"][0]["metadata"]["unit"], "changes");
        scale["maxExecutions"] = Value::Null;
        scale["rules"][0]["metadata"] = Value::Null;
    }
    assert_eq!(alone["configuration"], job["configuration"]);
}
