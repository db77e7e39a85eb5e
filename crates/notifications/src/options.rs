use feedmill_documents::Retention;
use serde::{Deserialize, Serialize};

/// Who is told, and for how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Whether people are told of what they did themselves. Default false.
    pub own_actions: bool,
    /// How long after its event a notification is shown, such as `30d`; of older events none is made. `none`: no event is
    /// too old and notifications have no end of their own, as imports of old data need it; then the container's time to
    /// live after the last write is all there is. Default `30d`.
    pub retention: Retention,
}

impl Default for Options {
    fn default() -> Self {
        Self { own_actions: false, retention: Retention::days(30) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_options_are_refused() {
        assert!(serde_json::from_str::<Options>(r#"{"own_action":true}"#).is_err());
        let options: Options = serde_json::from_str(r#"{"own_actions":true,"retention":"none"}"#).unwrap();
        assert_eq!(options, Options { own_actions: true, retention: Retention::NONE });
    }
}
