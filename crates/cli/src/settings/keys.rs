use serde_json::Value;

/// Tables whose keys are the customer's to choose.
const OPEN: [&[&str]; 1] = [&["outbox", "routes"]];

/// Whether `key` lies within such a table.
pub(crate) fn is_open(key: &[String]) -> bool {
    OPEN.iter().any(|open| key.len() > open.len() && key.iter().zip(*open).all(|(part, open)| part == open))
}

/// Every key of a tree of settings, sections included, as `section.key`.
pub(crate) fn known(defaults: &Value) -> Vec<String> {
    let mut keys = Vec::new();
    collect(defaults, "", &mut keys);
    keys
}

fn collect(tree: &Value, prefix: &str, keys: &mut Vec<String>) {
    let Value::Object(members) = tree else { return };
    for (name, member) in members {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        collect(member, &key, keys);
        keys.push(key);
    }
}

/// The known key that `unknown` was probably meant to be, if any comes near.
pub(crate) fn nearest<'k>(unknown: &str, known: &'k [String]) -> Option<&'k str> {
    known
        .iter()
        .map(|key| (likeness(unknown, key), key.as_str()))
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .filter(|(likeness, _)| *likeness > 0.6)
        .map(|(_, key)| key)
}

fn likeness(unknown: &str, key: &str) -> f64 {
    let last = |key: &str| key.rsplit('.').next().map(str::to_owned).unwrap_or_default();
    let whole = strsim::normalized_damerau_levenshtein(unknown, key);
    // A right key in a wrong section, or without one, is more probable than a wrong key.
    let alone = strsim::normalized_damerau_levenshtein(&last(unknown), &last(key)) * 0.95;
    whole.max(alone)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_nearest_key_is_found_through_typing_errors_and_wrong_sections() {
        let known = known(&json!({ "store": { "data_dir": "" }, "telemetry": { "log_filter": "", "log_format": "" } }));
        for (unknown, nearest_key) in [
            ("telemetry.log_fliter", Some("telemetry.log_filter")),
            ("telemetri.log_format", Some("telemetry.log_format")),
            ("data_dir", Some("store.data_dir")),
            ("engine.data-dir", Some("store.data_dir")),
            ("stor", Some("store")),
            ("qqqqqqqqqqqq", None),
        ] {
            assert_eq!(nearest(unknown, &known), nearest_key, "{unknown}");
        }
    }
}
