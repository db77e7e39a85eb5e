use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::load::SettingsError;
use super::place::Place;

const PREFIX: &str = "FEEDMILL_";

/// What was given, in the order in which it counts: a later one wins.
#[derive(Clone, Debug, Default)]
pub(crate) struct Given {
    pub(crate) file: Option<PathBuf>,
    /// All variables of the environment; those that are not settings are left alone.
    pub(crate) environment: Vec<(String, String)>,
    /// `section.key=value`, each with the flag it came from.
    pub(crate) overrides: Vec<Override>,
}

/// The variables of this process that are text; a setting that is not cannot be meant.
pub(crate) fn environment() -> Vec<(String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// One value from the command line.
#[derive(Clone, Debug)]
pub(crate) struct Override {
    pub(crate) key: String,
    pub(crate) value: String,
    /// The flag as it was typed, for errors.
    pub(crate) flag: String,
}

/// A value for a key, and where it was given.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: Vec<String>,
    pub(super) value: Value,
    /// The text where the type is not known from the syntax: `3` may be a number or a name.
    pub(super) text: Option<String>,
    pub(super) place: Place,
}

impl Entry {
    fn from_text(key: &str, text: &str, place: Place) -> Self {
        let value = match text.parse::<toml::Value>() {
            Ok(value) => json(value),
            Err(_) => Value::from(text),
        };
        Self { key: key.split('.').map(str::to_owned).collect(), value, text: Some(text.to_owned()), place }
    }
}

impl Given {
    pub(super) fn entries(&self, defaults: &Value) -> Result<Vec<Entry>, SettingsError> {
        let mut entries = match &self.file {
            Some(path) => file(path, defaults)?,
            None => Vec::new(),
        };
        entries.extend(self.environment.iter().filter_map(|(variable, value)| from_environment(variable, value)));
        entries.extend(self.overrides.iter().map(|given| {
            let place = Place::Flag { text: given.flag.clone() };
            Entry::from_text(&given.key, &given.value, place)
        }));
        Ok(entries)
    }
}

/// `FEEDMILL_SECTION__KEY`. A variable without `__` is not a setting: `FEEDMILL_CONFIG` names the file.
fn from_environment(variable: &str, value: &str) -> Option<Entry> {
    let name = variable.strip_prefix(PREFIX).filter(|name| name.contains("__"))?;
    let key = name.to_ascii_lowercase().replace("__", ".");
    Some(Entry::from_text(&key, value, Place::Environment { variable: variable.to_owned() }))
}

fn file(path: &Path, defaults: &Value) -> Result<Vec<Entry>, SettingsError> {
    let text = std::fs::read_to_string(path).map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
    let table = DeTable::parse(&text).map_err(|error| SettingsError::Syntax {
        place: Place::in_file(path, &text, error.span().map_or(0, |span| span.start)),
        reason: error.message().to_owned(),
    })?;
    let mut entries = Vec::new();
    let at = |offset| Place::in_file(path, &text, offset);
    walk(table.get_ref(), Some(defaults), &mut Vec::new(), &at, &mut entries);
    Ok(entries)
}

/// One entry for each value; a table is descended into where the defaults have one.
fn walk(
    table: &DeTable<'_>,
    defaults: Option<&Value>,
    prefix: &mut Vec<String>,
    at: &dyn Fn(usize) -> Place,
    entries: &mut Vec<Entry>,
) {
    for (name, value) in table {
        prefix.push(name.get_ref().to_string());
        let default = defaults.and_then(|defaults| defaults.get(name.get_ref().as_ref()));
        match value.get_ref() {
            DeValue::Table(inner) if default.is_some_and(Value::is_object) => {
                walk(inner, default, prefix, at, entries);
            }
            _ => entries.push(Entry {
                key: prefix.clone(),
                value: spanned_json(value),
                text: None,
                place: at(name.span().start),
            }),
        }
        prefix.pop();
    }
}

fn spanned_json(value: &Spanned<DeValue<'_>>) -> Value {
    match value.get_ref() {
        DeValue::Table(table) => {
            Value::Object(table.iter().map(|(key, value)| (key.get_ref().to_string(), spanned_json(value))).collect())
        }
        DeValue::Array(items) => Value::Array(items.iter().map(spanned_json).collect()),
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Boolean(value) => Value::from(*value),
        DeValue::Datetime(time) => Value::from(time.to_string()),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Value::from(number),
            Err(_) => Value::from(number.to_string()),
        },
        DeValue::Float(number) => match number.as_str().parse::<f64>() {
            Ok(number) => Value::from(number),
            Err(_) => Value::from(number.as_str()),
        },
    }
}

fn json(value: toml::Value) -> Value {
    match value {
        toml::Value::String(text) => Value::from(text),
        toml::Value::Integer(number) => Value::from(number),
        toml::Value::Float(number) => Value::from(number),
        toml::Value::Boolean(value) => Value::from(value),
        toml::Value::Datetime(time) => Value::from(time.to_string()),
        toml::Value::Array(items) => Value::Array(items.into_iter().map(json).collect()),
        toml::Value::Table(table) => {
            Value::Object(table.into_iter().map(|(key, value)| (key, json(value))).collect::<Map<_, _>>())
        }
    }
}
