use jiff::Timestamp;
use serde_json::Value;

/// A stored document as a reader sees it and as two runs may be compared: `None` when it is a tombstone, withdrawn or
/// expired; otherwise without `_…`, `ttl` and `asOf`, which tell how and when it was written.
pub fn visible(document: &Value, now: Timestamp) -> Option<Value> {
    let expired =
        document["expiresAt"].as_str().is_some_and(|expires| expires.parse().is_ok_and(|end: Timestamp| end <= now));
    if document.get("deletedAt").is_some() || document["withdrawn"] == true || expired {
        return None;
    }
    let mut document = document.clone();
    if let Some(members) = document.as_object_mut() {
        members.retain(|name, _| !name.starts_with('_') && name != "ttl" && name != "asOf");
    }
    Some(document)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_a_reader_is_shown_is_visible() {
        let now: Timestamp = "2020-01-02T00:00:00Z".parse().unwrap();
        for hidden in [
            json!({"id": "1", "deletedAt": "2020-01-01T00:00:00.000Z"}),
            json!({"id": "1", "withdrawn": true}),
            json!({"id": "1", "expiresAt": "2020-01-02T00:00:00.000Z"}),
        ] {
            assert_eq!(visible(&hidden, now), None, "{hidden}");
        }
        let shown = json!({
            "id": "1", "withdrawn": false, "expiresAt": "2020-01-02T00:00:00.001Z", "_etag": "x", "_source": {}, "ttl": 1,
            "asOf": {}
        });
        let expected = json!({"id": "1", "withdrawn": false, "expiresAt": "2020-01-02T00:00:00.001Z"});
        assert_eq!(visible(&shown, now), Some(expected));
    }
}
