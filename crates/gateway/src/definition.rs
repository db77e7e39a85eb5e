use feedmill_store_api::{ContainerSpec, DefaultTtl, IndexPath, Order};
use serde_json::{Map, Value, json};

use crate::fault::Fault;

/// A container as clients see it: what they gave when they made it, defaults filled in. The store keeps what it acts upon; the rest
/// is only given back.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Definition(pub(crate) Map<String, Value>);

/// What a definition may have. Anything else would be promised and not done.
const KNOWN: [&str; 14] = [
    "id",
    "partitionKey",
    "defaultTtl",
    "indexingPolicy",
    "uniqueKeyPolicy",
    "conflictResolutionPolicy",
    "changeFeedPolicy",
    "geospatialConfig",
    "computedProperties",
    "vectorEmbeddingPolicy",
    "fullTextPolicy",
    "analyticalStorageTtl",
    "clientEncryptionPolicy",
    "partitionKeyDefinition",
];

/// Features that a definition can switch on and that are not here.
const REFUSED: [&str; 6] = [
    "uniqueKeyPolicy",
    "computedProperties",
    "vectorEmbeddingPolicy",
    "fullTextPolicy",
    "analyticalStorageTtl",
    "clientEncryptionPolicy",
];

/// 30 days, as long as the longest continuous backup that it comes from in the service.
const RETENTION_MINUTES_MAX: u64 = 30 * 24 * 60;

impl Definition {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Fault> {
        let mut given: Map<String, Value> = serde_json::from_slice(body)
            .map_err(|error| Fault::bad_request(format!("the definition of a container is no JSON object: {error}")))?;
        // The service's own fields come back from clients that read, change and replace.
        given.retain(|name, value| !name.starts_with('_') && !value.is_null());
        if let Some(unknown) = given.keys().find(|name| !KNOWN.contains(&name.as_str())) {
            return Err(Fault::bad_request(format!(
                "the definition of a container has {unknown}, which is not known here"
            )));
        }
        if let Some(refused) = REFUSED.into_iter().find(|&name| given.get(name).is_some_and(|value| !is_empty(value))) {
            return Err(Fault::bad_request(format!(
                "the definition of a container has {refused}, which is not supported here"
            )));
        }
        let mut definition = Self(given);
        definition.fill()?;
        Ok(definition)
    }

    /// Of a container that was made without this protocol.
    pub(crate) fn of_spec(spec: &ContainerSpec) -> Self {
        let order = |order| if order == Order::Ascending { "ascending" } else { "descending" };
        let path = |path: &IndexPath| json!({"path": path.path, "order": order(path.order)});
        let indexes = spec.composite_indexes.iter().map(|paths| paths.iter().map(path).collect::<Vec<_>>());
        let excluded = spec.excluded_paths.iter().map(|path| json!({"path": path}));
        let kind = if spec.partition_key.len() > 1 { "MultiHash" } else { "Hash" };
        let mut definition = Map::new();
        definition.insert("id".into(), json!(spec.name));
        definition.insert(
            "indexingPolicy".into(),
            json!({
                "indexingMode": "consistent",
                "automatic": true,
                "includedPaths": [{"path": "/*"}],
                "excludedPaths": excluded.collect::<Vec<_>>(),
                "compositeIndexes": indexes.collect::<Vec<_>>(),
            }),
        );
        definition.insert("partitionKey".into(), json!({"paths": spec.partition_key, "kind": kind, "version": 2}));
        match spec.default_ttl {
            None => {}
            Some(DefaultTtl::Forever) => drop(definition.insert("defaultTtl".into(), json!(-1))),
            Some(DefaultTtl::Seconds(seconds)) => drop(definition.insert("defaultTtl".into(), json!(seconds))),
        }
        Self(definition)
    }

    pub(crate) fn name(&self) -> &str {
        self.0["id"].as_str().unwrap_or_default()
    }

    /// What the store has to act upon.
    pub(crate) fn spec(&self, partitions: u32) -> Result<ContainerSpec, Fault> {
        let paths = self.key_paths()?;
        let indexing = &self.0["indexingPolicy"];
        let default_ttl = self.default_ttl()?;
        let mut composite_indexes = Vec::new();
        for index in elements(&indexing["compositeIndexes"], "compositeIndexes")? {
            let paths = elements(index, "a composite index")?.iter().map(index_path);
            composite_indexes.push(paths.collect::<Result<_, _>>()?);
        }
        let excluded = elements(&indexing["excludedPaths"], "excludedPaths")?.iter();
        let excluded_paths = excluded.map(path).collect::<Result<_, _>>()?;
        for included in elements(&indexing["includedPaths"], "includedPaths")? {
            path(included)?;
        }
        let name = self.name().to_owned();
        Ok(ContainerSpec { name, partition_key: paths, default_ttl, composite_indexes, excluded_paths, partitions })
    }

    pub(crate) fn default_ttl(&self) -> Result<Option<DefaultTtl>, Fault> {
        match self.0.get("defaultTtl").map(|ttl| (ttl, ttl.as_i64())) {
            None => Ok(None),
            Some((_, Some(-1))) => Ok(Some(DefaultTtl::Forever)),
            Some((_, Some(seconds))) if (1..=i64::from(i32::MAX)).contains(&seconds) => {
                Ok(u32::try_from(seconds).ok().map(DefaultTtl::Seconds))
            }
            Some((other, _)) => Err(Fault::bad_request(format!(
                "defaultTtl is {other}; it is -1 or a positive whole number of seconds"
            ))),
        }
    }

    fn retention_minutes(&self) -> Option<&Value> {
        self.0.get("changeFeedPolicy")?.get("retentionDuration")
    }

    /// For how long earlier versions and deletions are kept; `None`: not at all.
    pub(crate) fn history_seconds(&self) -> Option<u32> {
        let minutes = self.retention_minutes()?.as_u64()?;
        u32::try_from(minutes * 60).ok().filter(|seconds| *seconds > 0)
    }

    pub(crate) fn key_paths(&self) -> Result<Vec<String>, Fault> {
        let key = self.0.get("partitionKey").ok_or_else(|| {
            Fault::bad_request(
                "the definition of a container has no partitionKey; containers without one are not made here",
            )
        })?;
        let paths = elements(&key["paths"], "partitionKey.paths")?.iter().map(|path| {
            path.as_str().filter(|path| path.starts_with('/') && path.len() > 1).map(str::to_owned).ok_or_else(|| {
                Fault::bad_request(format!("partitionKey has the path {path}, which is none such as \"/postId\""))
            })
        });
        paths.collect()
    }

    /// Puts in what the service would say that nobody gave.
    fn fill(&mut self) -> Result<(), Fault> {
        let is_wrong = |given: &&Value| given.as_u64().is_none_or(|minutes| minutes > RETENTION_MINUTES_MAX);
        if let Some(given) = self.retention_minutes().filter(is_wrong) {
            return Err(Fault::bad_request(format!(
                "changeFeedPolicy.retentionDuration is {given}; it is a whole number of minutes up to {RETENTION_MINUTES_MAX}"
            )));
        }
        match self.0.get("id").and_then(Value::as_str) {
            Some(name) if !name.is_empty() && !name.contains(['/', '\\', '?', '#']) && name.len() <= 255 => {}
            _ => return Err(Fault::bad_request("a container's id has 1 to 255 bytes without / \\ ? #")),
        }
        let paths = self.key_paths()?;
        let Some(Value::Object(key)) = self.0.get_mut("partitionKey") else {
            return Err(Fault::bad_request("partitionKey is no object"));
        };
        let kind = if paths.len() > 1 { "MultiHash" } else { "Hash" };
        match key.entry("kind").or_insert_with(|| kind.into()).as_str() {
            Some("Hash") if paths.len() == 1 => {}
            Some("MultiHash") => {}
            other => {
                return Err(Fault::bad_request(format!("partitionKey.kind is {other:?} with {} paths", paths.len())));
            }
        }
        // The service would take a definition without a version for one of the first. Clients go by what the answer says, and the
        // second hash has no limit on what it looks at.
        match key.entry("version").or_insert_with(|| 2.into()).as_u64() {
            Some(2) => {}
            Some(1) => return Err(Fault::not_implemented("partitionKey.version 1 is not supported here; 2 is")),
            other => return Err(Fault::bad_request(format!("partitionKey.version is {other:?}; it is 1 or 2"))),
        }
        let indexing = self.0.entry("indexingPolicy").or_insert_with(|| json!({}));
        let Value::Object(indexing) = indexing else {
            return Err(Fault::bad_request("indexingPolicy is no object"));
        };
        indexing.entry("indexingMode").or_insert_with(|| "consistent".into());
        if !matches!(
            indexing["indexingMode"].as_str().map(str::to_lowercase).as_deref(),
            Some("consistent" | "none" | "lazy")
        ) {
            return Err(Fault::bad_request(format!("indexingPolicy.indexingMode is {}", indexing["indexingMode"])));
        }
        // Follows from the mode, whatever the client says.
        let is_indexed = !indexing["indexingMode"].as_str().is_some_and(|mode| mode.eq_ignore_ascii_case("none"));
        indexing.insert("automatic".into(), is_indexed.into());
        if is_indexed {
            indexing.entry("includedPaths").or_insert_with(|| json!([{"path": "/*"}]));
            indexing.entry("excludedPaths").or_insert_with(|| json!([{"path": "/\"_etag\"/?"}]));
        } else {
            indexing.insert("includedPaths".into(), json!([]));
            indexing.insert("excludedPaths".into(), json!([]));
        }
        self.0.entry("conflictResolutionPolicy").or_insert_with(
            || json!({"mode": "LastWriterWins", "conflictResolutionPath": "/_ts", "conflictResolutionProcedure": ""}),
        );
        self.0.entry("geospatialConfig").or_insert_with(|| json!({"type": "Geography"}));
        Ok(())
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Array(values) => values.is_empty(),
        Value::Object(fields) => fields.values().all(is_empty),
        _ => false,
    }
}

/// Of an array; a missing one is empty.
fn elements<'v>(value: &'v Value, what: &str) -> Result<&'v [Value], Fault> {
    match value {
        Value::Null => Ok(&[]),
        Value::Array(values) => Ok(values),
        other => Err(Fault::bad_request(format!("{what} is {other}, which is no array"))),
    }
}

fn path(value: &Value) -> Result<String, Fault> {
    let found = value["path"].as_str().filter(|path| path.starts_with('/'));
    found
        .map(str::to_owned)
        .ok_or_else(|| Fault::bad_request(format!("the indexing policy has {value}, which has no path")))
}

fn index_path(value: &Value) -> Result<IndexPath, Fault> {
    let order = match value["order"].as_str() {
        None | Some("ascending") => Order::Ascending,
        Some("descending") => Order::Descending,
        Some(other) => return Err(Fault::bad_request(format!("a composite index has the order {other:?}"))),
    };
    Ok(IndexPath { path: path(value)?, order })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &Value) -> Result<Definition, Fault> {
        Definition::parse(body.to_string().as_bytes())
    }

    #[test]
    fn what_is_not_said_has_the_services_defaults() {
        let definition = parse(&json!({"id": "c", "partitionKey": {"paths": ["/pk"]}, "_etag": "x"})).unwrap();
        assert_eq!(definition.0["partitionKey"], json!({"paths": ["/pk"], "kind": "Hash", "version": 2}));
        assert_eq!(definition.0["indexingPolicy"]["includedPaths"], json!([{"path": "/*"}]));
        assert!(!definition.0.contains_key("_etag"));
        assert_eq!(definition.spec(1).unwrap().default_ttl, None);
    }

    #[test]
    fn indexing_is_automatic_unless_there_is_none() {
        let indexed = |policy: Value| {
            let body = json!({"id": "c", "partitionKey": {"paths": ["/pk"]}, "indexingPolicy": policy});
            parse(&body).unwrap().0["indexingPolicy"].clone()
        };
        assert_eq!(indexed(json!({"automatic": false}))["automatic"], true);
        let none = indexed(json!({"indexingMode": "none", "automatic": false}));
        assert_eq!((&none["automatic"], &none["includedPaths"]), (&json!(false), &json!([])));
    }

    #[test]
    fn a_definition_and_a_specification_say_the_same() {
        let definition = parse(&json!({
            "id": "feed", "defaultTtl": -1,
            "partitionKey": {"paths": ["/recipientId"], "version": 2},
            "indexingPolicy": {
                "compositeIndexes": [[{"path": "/a"}, {"path": "/b", "order": "descending"}]],
                "excludedPaths": [{"path": "/_source/*"}],
            },
        }));
        let spec = definition.unwrap().spec(3).unwrap();
        let expected = ContainerSpec::new("feed", "/recipientId")
            .ttl(DefaultTtl::Forever)
            .composite_index(&[("/a", Order::Ascending), ("/b", Order::Descending)])
            .exclude("/_source/*")
            .partitions(3);
        assert_eq!(spec, expected);
        assert_eq!(Definition::of_spec(&spec).spec(3).unwrap(), expected);
    }

    #[test]
    fn what_cannot_be_kept_is_refused_by_name() {
        let key = json!({"paths": ["/pk"]});
        for (body, why) in [
            (json!([]), "no JSON object"),
            (json!({"partitionKey": key}), "id"),
            (json!({"id": "a/b", "partitionKey": key}), "id"),
            (json!({"id": "c"}), "partitionKey"),
            (json!({"id": "c", "partitionKey": {"paths": ["pk"]}}), "partitionKey"),
            (json!({"id": "c", "partitionKey": {"paths": ["/a", "/b"], "kind": "Hash"}}), "kind"),
            (json!({"id": "c", "partitionKey": {"paths": ["/a"], "version": 3}}), "version"),
            (json!({"id": "c", "partitionKey": key, "frobnicate": 1}), "frobnicate"),
            (
                json!({"id": "c", "partitionKey": key, "uniqueKeyPolicy": {"uniqueKeys": [{"paths": ["/a"]}]}}),
                "uniqueKeyPolicy",
            ),
            (json!({"id": "c", "partitionKey": key, "computedProperties": [{"name": "x"}]}), "computedProperties"),
            (json!({"id": "c", "partitionKey": key, "indexingPolicy": {"indexingMode": "eager"}}), "indexingMode"),
        ] {
            let fault = parse(&body).expect_err(why);
            assert!(fault.status == 400 && fault.message.contains(why), "{body}: {fault:?}");
        }
        let definition = parse(&json!({"id": "c", "partitionKey": key, "defaultTtl": 0})).unwrap();
        assert!(definition.spec(1).unwrap_err().message.contains("defaultTtl"));
    }
}
