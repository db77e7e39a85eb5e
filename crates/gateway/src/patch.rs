use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::fault::Fault;
use crate::partition_key;

/// Operations of one patch, as many as the service allows.
const OPERATIONS_MAX: usize = 10;

/// A patch as clients write it: operations, carried out in order, all or none.
#[derive(Debug, Deserialize)]
pub(crate) struct Patch {
    operations: Vec<Operation>,
    /// `FROM c WHERE …`: only a document for which it holds is patched.
    condition: Option<String>,
}

/// Paths are JSON pointers.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
enum Operation {
    Add {
        path: String,
        value: Value,
    },
    Set {
        path: String,
        value: Value,
    },
    Replace {
        path: String,
        value: Value,
    },
    Remove {
        path: String,
    },
    #[serde(alias = "increment")]
    Incr {
        path: String,
        value: Value,
    },
    Move {
        from: String,
        path: String,
    },
}

impl Patch {
    pub(crate) fn parse(body: &[u8]) -> Result<Self, Fault> {
        let patch: Self = serde_json::from_slice(body)
            .map_err(|error| Fault::bad_request(format!("the patch is none such as wanted: {error}")))?;
        match patch.operations.len() {
            1..=OPERATIONS_MAX => Ok(patch),
            count => {
                Err(Fault::bad_request(format!("a patch of {count} operations: it may have 1 to {OPERATIONS_MAX}")))
            }
        }
    }

    /// The text of the document that it makes of this one. What the document is called and where it is kept stay.
    pub(crate) fn apply(&self, document: &[u8], key_paths: &[String]) -> Result<Bytes, Fault> {
        if let Some(condition) = &self.condition {
            check(condition, document)?;
        }
        let before: Value = serde_json::from_slice(document)
            .map_err(|error| Fault::bad_request(format!("the stored document cannot be patched: {error}")))?;
        let mut after = before.clone();
        for operation in &self.operations {
            operation.apply(&mut after)?;
        }
        let key = |value: &Value| partition_key::of_document(value, key_paths);
        if !after.is_object() || after["id"] != before["id"] || key(&after)? != key(&before)? {
            return Err(Fault::bad_request("a patch changes neither id nor partition key"));
        }
        Ok(Bytes::from(after.to_string()))
    }
}

fn check(condition: &str, document: &[u8]) -> Result<(), Fault> {
    let refuse = |error: feedmill_query::Error| Fault::bad_request(format!("the condition {condition:?}: {error}"));
    let bound = feedmill_query::parse(&format!("SELECT * {condition}")).map_err(refuse)?.bind([]).map_err(refuse)?;
    let row = bound.row(document).map_err(|error| Fault::bad_request(error.to_string()))?;
    let holds = bound.matches(&row);
    row.judge().map_err(refuse)?;
    if holds {
        return Ok(());
    }
    Err(Fault::precondition_failed(format!("the condition {condition:?} does not hold")))
}

impl Operation {
    fn apply(&self, document: &mut Value) -> Result<(), Fault> {
        match self {
            Self::Add { path, value } => match Place::of(document, path)? {
                Place::Field(fields, name) => drop(fields.insert(name, value.clone())),
                Place::Element(elements, at) if at <= elements.len() => elements.insert(at, value.clone()),
                Place::Element(..) => return Err(missing(path)),
            },
            Self::Set { path, value } => match Place::of(document, path)? {
                Place::Field(fields, name) => drop(fields.insert(name, value.clone())),
                Place::Element(elements, at) if at == elements.len() && path.ends_with("/-") => {
                    elements.push(value.clone());
                }
                Place::Element(elements, at) => {
                    *elements.get_mut(at).ok_or_else(|| missing(path))? = value.clone();
                }
            },
            Self::Replace { path, value } => *target(document, path)? = value.clone(),
            Self::Remove { path } => drop(remove(document, path)?),
            Self::Incr { path, value } => increment(document, path, value)?,
            Self::Move { from, path } => {
                if path == from || path.starts_with(&format!("{from}/")) {
                    return Err(Fault::bad_request(format!("{from} cannot be moved to {path}, into itself")));
                }
                let value = remove(document, from)?;
                Self::Add { path: path.clone(), value }.apply(document)?;
            }
        }
        Ok(())
    }
}

/// Where the last step of a path leads.
enum Place<'d> {
    Field(&'d mut Map<String, Value>, String),
    /// An element's index; that of the end is its length.
    Element(&'d mut Vec<Value>, usize),
}

impl<'d> Place<'d> {
    fn of(document: &'d mut Value, path: &str) -> Result<Self, Fault> {
        let mut steps = steps(path)?;
        let last = steps.pop().ok_or_else(|| Fault::bad_request("a patch does not replace the whole document"))?;
        let mut parent = document;
        for step in steps {
            parent = match parent {
                Value::Object(fields) => fields.get_mut(&step),
                Value::Array(elements) => index(&step).and_then(|at| elements.get_mut(at)),
                _ => None,
            }
            .ok_or_else(|| missing(path))?;
        }
        match parent {
            Value::Object(fields) => Ok(Self::Field(fields, last)),
            Value::Array(elements) => {
                let at = if last == "-" { Some(elements.len()) } else { index(&last) };
                let at = at.ok_or_else(|| Fault::bad_request(format!("{path} ends in no index of an array")))?;
                Ok(Self::Element(elements, at))
            }
            _ => Err(missing(path)),
        }
    }
}

fn steps(path: &str) -> Result<Vec<String>, Fault> {
    let steps = path.strip_prefix('/').ok_or_else(|| {
        Fault::bad_request(format!("a patch has the path {path:?}, which is none such as \"/tags/0\""))
    })?;
    Ok(steps.split('/').map(|step| step.replace("~1", "/").replace("~0", "~")).collect())
}

/// Without leading zeros, as JSON pointers have it.
fn index(step: &str) -> Option<usize> {
    step.parse().ok().filter(|at: &usize| at.to_string() == step)
}

fn missing(path: &str) -> Fault {
    Fault::bad_request(format!("the document has nothing at {path} that could be patched"))
}

fn target<'d>(document: &'d mut Value, path: &str) -> Result<&'d mut Value, Fault> {
    match Place::of(document, path)? {
        Place::Field(fields, name) => fields.get_mut(&name),
        Place::Element(elements, at) => elements.get_mut(at),
    }
    .ok_or_else(|| missing(path))
}

fn remove(document: &mut Value, path: &str) -> Result<Value, Fault> {
    match Place::of(document, path)? {
        Place::Field(fields, name) => fields.remove(&name),
        Place::Element(elements, at) => (at < elements.len()).then(|| elements.remove(at)),
    }
    .ok_or_else(|| missing(path))
}

/// A field that is not there begins at nothing.
fn increment(document: &mut Value, path: &str, by: &Value) -> Result<(), Fault> {
    let refuse = |what: &Value| Fault::bad_request(format!("{path} is to be incremented, and {what} is no number"));
    if let Place::Field(fields, name) = Place::of(document, path)? {
        fields.entry(name).or_insert_with(|| 0.into());
    }
    let value = target(document, path)?;
    if !by.is_number() {
        return Err(refuse(by));
    }
    let sum = match (value.as_i64(), by.as_i64()) {
        (Some(value), Some(by)) => value.checked_add(by).map(Value::from),
        _ => None,
    };
    let sum = match (sum, value.as_f64(), by.as_f64()) {
        (Some(sum), ..) => sum,
        (None, Some(value), Some(by)) => Value::from(value + by),
        _ => return Err(refuse(value)),
    };
    if sum.is_null() {
        return Err(Fault::bad_request(format!("{path} would be incremented beyond all numbers")));
    }
    *value = sum;
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const BEFORE: &str = r#"{"id":"a","pk":"k","n":1,"tags":["x","y"],"in":{"a/b":2,"t~":3},"name":"N"}"#;

    fn apply(operations: Value, condition: Option<&str>) -> Result<Value, Fault> {
        let patch = Patch::parse(json!({"operations": operations, "condition": condition}).to_string().as_bytes())?;
        patch.apply(BEFORE.as_bytes(), &["/pk".to_owned()]).map(|text| serde_json::from_slice(&text).unwrap())
    }

    #[test]
    fn each_operation_does_what_its_name_says() {
        for (operation, path, expected) in [
            (json!({"op": "add", "path": "/new", "value": 1}), "/new", json!(1)),
            (json!({"op": "add", "path": "/tags/1", "value": "z"}), "/tags", json!(["x", "z", "y"])),
            (json!({"op": "add", "path": "/tags/-", "value": "z"}), "/tags", json!(["x", "y", "z"])),
            (json!({"op": "add", "path": "/tags/2", "value": "z"}), "/tags", json!(["x", "y", "z"])),
            (json!({"op": "set", "path": "/tags/0", "value": "z"}), "/tags", json!(["z", "y"])),
            (json!({"op": "set", "path": "/in/new", "value": null}), "/in/new", json!(null)),
            (json!({"op": "replace", "path": "/in/a~1b", "value": 5}), "/in/a~1b", json!(5)),
            (json!({"op": "replace", "path": "/in/t~0", "value": 5}), "/in/t~0", json!(5)),
            (json!({"op": "remove", "path": "/tags/0"}), "/tags", json!(["y"])),
            (json!({"op": "incr", "path": "/n", "value": 2}), "/n", json!(3)),
            (json!({"op": "incr", "path": "/n", "value": -0.5}), "/n", json!(0.5)),
            (json!({"op": "incr", "path": "/absent", "value": 4}), "/absent", json!(4)),
            (json!({"op": "move", "from": "/tags", "path": "/in/tags"}), "/in/tags/1", json!("y")),
        ] {
            let after = apply(json!([operation]), None).unwrap_or_else(|fault| panic!("{operation}: {fault:?}"));
            assert_eq!(after.pointer(path), Some(&expected), "{operation}");
        }
        let moved = apply(json!([{"op": "move", "from": "/tags", "path": "/in/tags"}]), None).unwrap();
        assert!(moved.get("tags").is_none());
    }

    #[test]
    fn what_cannot_be_done_is_refused_as_a_whole() {
        for operation in [
            json!({"op": "replace", "path": "/absent", "value": 1}),
            json!({"op": "replace", "path": "/absent/leaf", "value": 1}),
            json!({"op": "set", "path": "/absent/leaf", "value": 1}),
            json!({"op": "set", "path": "/tags/2", "value": 1}),
            json!({"op": "add", "path": "/tags/3", "value": 1}),
            json!({"op": "add", "path": "/tags/01", "value": 1}),
            json!({"op": "add", "path": "/name/x", "value": 1}),
            json!({"op": "remove", "path": "/absent"}),
            json!({"op": "remove", "path": ""}),
            json!({"op": "incr", "path": "/name", "value": 1}),
            json!({"op": "incr", "path": "/n", "value": "1"}),
            json!({"op": "move", "from": "/in", "path": "/in/deeper"}),
            json!({"op": "move", "from": "/absent", "path": "/n"}),
            json!({"op": "set", "path": "/pk", "value": "moved"}),
            json!({"op": "set", "path": "/id", "value": "b"}),
            json!({"op": "frobnicate", "path": "/n"}),
            json!({"op": "set", "path": "n", "value": 1}),
        ] {
            let fault = apply(json!([operation]), None).expect_err(&operation.to_string());
            assert_eq!(fault.status, 400, "{operation}");
        }
        let set = json!({"op": "set", "path": "/n", "value": 1});
        assert_eq!(apply(json!([]), None).unwrap_err().status, 400);
        assert_eq!(apply(Value::Array(vec![set; 11]), None).unwrap_err().status, 400);
    }

    #[test]
    fn a_condition_decides_whether_anything_is_done() {
        let set = json!([{"op": "set", "path": "/n", "value": 9}]);
        assert_eq!(apply(set.clone(), Some("FROM c WHERE c.n = 1")).unwrap()["n"], 9);
        assert_eq!(apply(set.clone(), Some("from c where c.n > 1")).unwrap_err().status, 412);
        assert_eq!(apply(set, Some("where c.n > ")).unwrap_err().status, 400);
    }
}
