use serde_json::Value;

use super::Settings;

/// The file that explains every setting, and so names them all.
const EXPLAINED: &str = include_str!("../../../../config/default.toml");

/// The defaults, with every key there is: one that is not set by default is null.
pub(super) fn tree() -> Value {
    let explained: Value = toml::from_str(EXPLAINED).expect("config/default.toml is checked by a test");
    let mut tree = value_of(&Settings::default());
    complete(&mut tree, &explained);
    tree
}

/// The settings as they are now, with every key there is: `none` for one that is not set.
pub(crate) fn shown(settings: &Settings) -> Value {
    let mut shown = value_of(settings);
    complete(&mut shown, &tree());
    spell_none(&mut shown);
    shown
}

fn value_of(settings: &Settings) -> Value {
    serde_json::to_value(settings).expect("settings serialise: plain structs with text keys")
}

fn complete(tree: &mut Value, keys: &Value) {
    let (Value::Object(tree), Value::Object(keys)) = (tree, keys) else { return };
    for (key, value) in keys {
        complete(tree.entry(key).or_insert(Value::Null), value);
    }
}

fn spell_none(tree: &mut Value) {
    match tree {
        Value::Null => *tree = Value::from("none"),
        Value::Object(members) => members.values_mut().for_each(spell_none),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::load::load;
    use super::super::sources::Given;
    use super::*;

    fn config() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config")
    }

    fn read(file: &Path) -> Settings {
        load(&Given { file: Some(file.to_owned()), ..Given::default() }).unwrap()
    }

    #[test]
    fn every_file_in_config_loads() {
        let files: Vec<_> = std::fs::read_dir(config()).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(files.len() > 1, "{files:?}");
        files.iter().for_each(|file| drop(read(file)));
    }

    #[test]
    fn the_explained_values_are_the_defaults() {
        assert_eq!(read(&config().join("default.toml")), Settings::default());
    }

    /// What serde would take in a section, from what it says when it is given something else.
    fn fields(section: &[&str]) -> Vec<String> {
        let mut given = serde_json::json!({ "?": 0 });
        for name in section.iter().rev() {
            given = serde_json::json!({ *name: given });
        }
        let refused = serde_json::from_value::<Settings>(given).unwrap_err().to_string();
        let expected = refused.split_once("expected").unwrap_or_else(|| panic!("{section:?}: {refused}")).1;
        expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    /// Checks that the file has each field of the section and each has a comment; goes on into the sections within.
    fn check(section: &[&str], explained: &toml::Table) {
        for field in fields(section) {
            let path = section.iter().copied().chain([field.as_str()]).collect::<Vec<_>>();
            let value =
                explained.get(&field).unwrap_or_else(|| panic!("config/default.toml has no {}", path.join(".")));
            match value {
                toml::Value::Table(inner) => check(&path, inner),
                _ => {
                    let lines: Vec<_> = EXPLAINED.lines().collect();
                    let headed = if section.is_empty() {
                        0
                    } else {
                        let header = format!("[{}]", section.join("."));
                        lines.iter().position(|line| *line == header).unwrap_or_else(|| panic!("no {header}"))
                    };
                    let assignment = format!("{field} = ");
                    let at = headed + lines[headed..].iter().position(|line| line.starts_with(&assignment)).unwrap();
                    assert!(lines[at - 1].starts_with("# "), "{} is not explained", path.join("."));
                }
            }
        }
    }

    #[test]
    fn the_explanation_misses_no_key() {
        check(&[], &EXPLAINED.parse().unwrap());
        assert!(fields(&["store"]).contains(&"data_dir".to_owned()), "the check itself must see the fields");
    }

    #[test]
    fn what_is_shown_reads_back() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), toml::to_string(&shown(&Settings::default())).unwrap()).unwrap();
        assert_eq!(read(file.path()), Settings::default());
    }
}
