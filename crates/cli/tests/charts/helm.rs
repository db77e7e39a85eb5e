//! The Helm chart, rendered by a template engine that speaks Go's language; Helm itself is not needed for it.

use gtmpl::{Context, FuncError, Template, Value as Made};
use serde_json::{Value, json};

use super::manifests::{containers_of, started, yaml};
use super::{chart, python_with, read, said_to, skipped};

fn made(value: &Value) -> Made {
    match value {
        Value::Null => Made::Nil,
        Value::Bool(value) => Made::from(*value),
        Value::Number(number) => number.as_i64().map_or_else(|| Made::from(number.as_f64().unwrap()), Made::from),
        Value::String(text) => Made::from(text.clone()),
        Value::Array(items) => Made::Array(items.iter().map(made).collect()),
        Value::Object(members) => {
            Made::Object(members.iter().map(|(name, member)| (name.clone(), made(member))).collect())
        }
    }
}

fn text_of(value: &Made) -> Value {
    match value {
        Made::Array(items) => items.iter().map(text_of).collect(),
        Made::String(text) => Value::from(text.clone()),
        other => Value::from(other.to_string()),
    }
}

fn quote(arguments: &[Made]) -> Result<Made, FuncError> {
    Ok(Made::from(Value::from(arguments[0].to_string()).to_string()))
}

fn to_json(arguments: &[Made]) -> Result<Made, FuncError> {
    Ok(Made::from(text_of(&arguments[0]).to_string()))
}

/// What the chart's templates make of `values`, a document each.
fn rendered(values: &Value) -> Vec<Value> {
    let metadata = yaml(&read("feedmill/Chart.yaml"));
    let context = json!({
        "Values": values,
        "Release": { "Name": "mill", "Namespace": "feeds", "Revision": 3 },
        "Chart": { "AppVersion": metadata["appVersion"] },
    });
    let helpers = read("feedmill/templates/_helpers.tpl");
    let mut documents = Vec::new();
    let mut files: Vec<_> =
        std::fs::read_dir(chart("feedmill/templates")).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "yaml")) {
        let mut template = Template::default();
        template.add_func("quote", quote);
        template.add_func("toJson", to_json);
        let source = format!("{helpers}{}", std::fs::read_to_string(file).unwrap());
        template.parse(source).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let text = template
            .render(&Context::from(made(&context)))
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        documents.extend(text.split("\n---\n").filter(|text| !text.trim().is_empty()).map(yaml));
    }
    documents
}

/// The chart's own values, and all of its parts switched on.
fn variants() -> [Value; 2] {
    let values = yaml(&read("feedmill/values.yaml"));
    let mut everything = values.clone();
    for part in ["cronJob", "job", "serviceMonitor", "scaledObject"] {
        everything[part]["enabled"] = true.into();
    }
    everything["serviceAccount"]["annotations"] = json!({ "azure.workload.identity/client-id": "0000" });
    [values, everything]
}

fn kinds(documents: &[Value]) -> Vec<&str> {
    let mut kinds: Vec<_> = documents.iter().map(|document| document["kind"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    kinds
}

#[test]
fn the_chart_makes_what_its_values_say() {
    let [plain, everything] = variants().map(|values| rendered(&values));
    assert_eq!(kinds(&plain), ["ConfigMap", "Deployment", "PodDisruptionBudget", "ServiceAccount"]);
    assert_eq!(
        kinds(&everything),
        [
            "ConfigMap",
            "CronJob",
            "Deployment",
            "Deployment",
            "Job",
            "PodDisruptionBudget",
            "ScaledObject",
            "Service",
            "Service",
            "ServiceAccount",
            "ServiceMonitor",
        ]
    );
    let scaled =
        everything.iter().find(|document| document["metadata"]["name"] == "mill" && document["kind"] == "Deployment");
    assert!(scaled.unwrap()["spec"]["replicas"].is_null(), "who scales and the chart would fight over the number");
}

#[test]
fn the_chart_starts_the_program_with_settings_and_arguments_it_has() {
    for values in variants() {
        let documents = rendered(&values);
        let map = documents.iter().find(|document| document["kind"] == "ConfigMap").unwrap();
        let settings = map["data"].as_object().unwrap();
        let mut found = Vec::new();
        documents.iter().for_each(|document| containers_of(document, &mut found));
        for container in &found {
            let mut started = started(container);
            started.environment =
                settings.iter().map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect();
            started.check("charts/feedmill");
            assert_eq!(container["envFrom"][0]["configMapRef"]["name"], map["metadata"]["name"]);
            assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        }
        let port = &settings["FEEDMILL_TELEMETRY__ADMIN_PORT"];
        assert_eq!(port.as_str().unwrap(), values["adminPort"].to_string(), "the probes would ask elsewhere");
    }
}

/// By the schemas that the Python package kubernetes-validate carries. It has none for what operators bring.
#[test]
fn what_is_kubernetes_own_fits_its_published_schema() {
    let name = "what_is_kubernetes_own_fits_its_published_schema";
    let Some(python) = python_with("kubernetes_validate") else {
        return skipped(&format!("{name}: Python has no kubernetes-validate"));
    };
    skipped(&format!("{name}: ServiceMonitor and ScaledObject, whose schemas no package carries"));
    let script = "import json, sys, kubernetes_validate\n\
        for document in json.load(sys.stdin): kubernetes_validate.validate(document, '1.31', strict=True)";
    for values in variants() {
        let mut documents = rendered(&values);
        documents.retain(|document| !["ServiceMonitor", "ScaledObject"].contains(&document["kind"].as_str().unwrap()));
        let ended = said_to(&python, script, &Value::from(documents));
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    }
}
