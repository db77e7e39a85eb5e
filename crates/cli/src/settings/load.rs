use std::path::PathBuf;

use serde_json::Value;

use super::Settings;
use super::defaults;
use super::keys;
use super::place::Place;
use super::sources::{Entry, Given};

#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("read the configuration {}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{place}: not TOML: {reason}")]
    Syntax { place: Place, reason: String },
    #[error("{place}: there is no setting {key}")]
    Unknown { place: Place, key: String, nearest: Option<String> },
    #[error("{place}: {key}: {reason}")]
    Value { place: Place, key: String, reason: String },
}

/// Defaults, then the file, then the environment, then the flags: the last one given counts.
pub(crate) fn load(given: &Given) -> Result<Settings, SettingsError> {
    let mut tree = defaults::tree();
    let mut settings = Settings::default();
    for entry in given.entries(&tree)? {
        settings = apply(&mut tree, entry)?;
    }
    Ok(settings)
}

/// Puts the entry into the tree. Each one by itself, so that an error has one place.
fn apply(tree: &mut Value, entry: Entry) -> Result<Settings, SettingsError> {
    let Entry { key: path, value, text, place } = entry;
    let key = path.join(".");
    if keys::is_open(&path) {
        make_slot(tree, &path);
    }
    if slot_of(tree, &path).is_none() {
        let nearest = keys::nearest(&key, &keys::known(tree)).map(str::to_owned);
        return Err(SettingsError::Unknown { place, key, nearest });
    }
    let mut attempt = |value: Value| {
        *slot_of(tree, &path).expect("looked up above") = value;
        serde_json::from_value::<Settings>(tree.clone())
    };
    // Some settings spell `none` themselves, others are plainly not there.
    let none = value == "none";
    let typed = match attempt(value) {
        Ok(settings) => return Ok(settings),
        Err(error) => error,
    };
    // Where the syntax does not say the type, what looks like a number may be a name.
    let other_readings = [text.map(Value::from), none.then_some(Value::Null)];
    other_readings.into_iter().flatten().find_map(|reading| attempt(reading).ok()).ok_or_else(|| SettingsError::Value {
        place,
        key,
        reason: typed.to_string(),
    })
}

/// Makes the tables on the way that are not there.
fn make_slot(tree: &mut Value, key: &[String]) {
    let mut inner = tree;
    for part in key {
        let Value::Object(members) = inner else { return };
        inner = members.entry(part).or_insert_with(|| Value::Object(Default::default()));
    }
}

fn slot_of<'t>(tree: &'t mut Value, key: &[String]) -> Option<&'t mut Value> {
    key.iter().try_fold(tree, |tree, part| tree.get_mut(part))
}

#[cfg(test)]
mod tests {
    use feedmill_telemetry::Port;

    use super::super::sources::Override;
    use super::*;

    fn file(text: &str) -> (tempfile::NamedTempFile, Given) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let given = Given { file: Some(file.path().to_owned()), ..Given::default() };
        (file, given)
    }

    fn set(key: &str, value: &str) -> Override {
        Override { key: key.to_owned(), value: value.to_owned(), flag: format!("--set {key}={value}") }
    }

    /// What the error says, the file's own path left out.
    fn error(given: &Given) -> String {
        let text = load(given).unwrap_err().to_string();
        match &given.file {
            Some(path) => text.replace(&path.display().to_string(), "FILE"),
            None => text,
        }
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let (_file, mut given) = file("[telemetry]\nadmin_port = 1\nlog_filter = 'file'\n[store]\ndatabase = 'file'\n");
        given.environment = vec![
            ("FEEDMILL_TELEMETRY__ADMIN_PORT".to_owned(), "2".to_owned()),
            ("FEEDMILL_TELEMETRY__LOG_FILTER".to_owned(), "environment".to_owned()),
            ("FEEDMILL_CONFIG".to_owned(), "not a setting".to_owned()),
            ("PATH".to_owned(), "not ours".to_owned()),
        ];
        given.overrides = vec![set("telemetry.admin_port", "3"), set("telemetry.admin_port", "4")];
        let settings = load(&given).unwrap();
        assert_eq!(settings.telemetry.admin_port, Port(Some(4)));
        assert_eq!(settings.telemetry.log_filter, "environment");
        assert_eq!(settings.store.database, "file");
        assert_eq!(settings.store.data_dir, Settings::default().store.data_dir);
    }

    #[test]
    fn text_that_looks_like_a_number_is_a_name_where_a_name_is_wanted() {
        let given = Given { overrides: vec![set("store.database", "2026")], ..Given::default() };
        assert_eq!(load(&given).unwrap().store.database, "2026");
        let given = Given { overrides: vec![set("telemetry.admin_port", "none")], ..Given::default() };
        assert_eq!(load(&given).unwrap().telemetry.admin_port, Port(None));
    }

    #[test]
    fn an_unknown_key_is_named_with_its_place_and_the_nearest_known_one() {
        let (_file, given) = file("[telemetry]\n  admin_prot = 1\n");
        assert_eq!(error(&given), "FILE:2:3: there is no setting telemetry.admin_prot");
        let Err(SettingsError::Unknown { nearest, .. }) = load(&given) else { panic!("an unknown key was accepted") };
        assert_eq!(nearest.as_deref(), Some("telemetry.admin_port"));

        let (_file, given) = file("x = 1\n[nowhere]\ny = 2\n");
        assert!(matches!(load(&given), Err(SettingsError::Unknown { nearest: None, .. })));
        let given = Given { overrides: vec![set("store.databse", "x")], ..Given::default() };
        assert_eq!(error(&given), "--set store.databse=x: there is no setting store.databse");
    }

    #[test]
    fn a_route_of_the_customers_own_is_added_to_those_there_are() {
        let (_file, mut given) = file(
            "[outbox.routes.order]\ncontainer = 'orders'\nkey_field = 'orderId'\nid = '{orderId}'\n\
             [outbox.routes.post.characters_max]\ntext = 9\n",
        );
        given.overrides = vec![set("outbox.routes.order.version_field", "v")];
        let routes = load(&given).unwrap().outbox.routes;
        assert_eq!((routes["order"].container.as_str(), routes["order"].version_field.as_str()), ("orders", "v"));
        assert_eq!(routes["post"].characters_max["text"], 9);
        assert!(routes["post"].mirror && routes.contains_key("follow"));

        let (_file, given) = file("[outbox.routes.order]\ncontainer = 'orders'\nkey = 'orderId'\n");
        assert!(error(&given).starts_with("FILE:1:16: outbox.routes.order: unknown field `key`"), "{}", error(&given));
    }

    #[test]
    fn a_wrong_type_is_named_with_its_place() {
        let (_file, given) = file("[telemetry]\nlog_filter = 3\n");
        assert!(error(&given).starts_with("FILE:2:1: telemetry.log_filter: invalid type: integer `3`"));
        let (_file, given) = file("telemetry = 3\n");
        assert!(error(&given).starts_with("FILE:1:1: telemetry: invalid type: integer `3`"));
        let variable = ("FEEDMILL_TELEMETRY__ADMIN_PORT".to_owned(), "x".to_owned());
        let given = Given { environment: vec![variable], ..Given::default() };
        let text = error(&given);
        assert!(
            text.starts_with("environment variable FEEDMILL_TELEMETRY__ADMIN_PORT: telemetry.admin_port"),
            "{text}"
        );
    }

    #[test]
    fn a_torn_file_is_named_with_line_and_column() {
        let (_file, given) = file("[store]\ndatabase = \"x\n");
        assert!(error(&given).starts_with("FILE:2:"), "{}", error(&given));
        let given = Given { file: Some("/nowhere/feedmill.toml".into()), ..Given::default() };
        assert_eq!(error(&given), "read the configuration FILE");
    }
}
