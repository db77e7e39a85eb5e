use serde_json::Value;

use super::Expected;
use super::visible::visible;

impl Expected<'_> {
    pub(super) fn all_profiles(&self) -> impl Iterator<Item = Value> {
        self.sources.profiles.values().filter_map(|profile| {
            let document = serde_json::from_slice(&profile.body).expect("sources hold JSON only");
            visible(&document, self.now)
        })
    }
}
