use std::collections::BTreeMap;
use std::sync::Arc;

use feedmill_documents::containers::PUBLIC_PROFILES;
use feedmill_store_api::{Container, Database, DocumentId, ErrorKind, PartitionKey, ReadLevel, Result};
use serde::Deserialize;

/// What people are called, from their public profiles as they are when they are shown.
///
/// Feeds and notifications hold ids and no names, so a new name is everywhere at once and costs one write; whoever shows a
/// page reads one profile for each of the people on it.
pub(crate) struct Names {
    /// `None` where the store has no profiles.
    profiles: Option<Arc<dyn Container>>,
    known: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    #[serde(default)]
    display_name: String,
    #[serde(default)]
    deleted_at: Option<serde::de::IgnoredAny>,
}

impl Names {
    pub(crate) async fn of(database: &dyn Database) -> Result<Self> {
        let profiles = match database.container(PUBLIC_PROFILES).await {
            Ok(profiles) => Some(profiles),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok(Self { profiles, known: BTreeMap::new() })
    }

    /// `Ada Lovelace (17)`, or the id alone of somebody without a profile.
    pub(crate) async fn shown(&mut self, user_id: &str) -> Result<String> {
        if let Some(known) = self.known.get(user_id) {
            return Ok(known.clone());
        }
        let shown = match self.display_name(user_id).await? {
            Some(name) => format!("{name} ({user_id})"),
            None => user_id.to_owned(),
        };
        self.known.insert(user_id.to_owned(), shown.clone());
        Ok(shown)
    }

    async fn display_name(&self, user_id: &str) -> Result<Option<String>> {
        // A profile's id is the user's, encoded as all ids are; one that makes no id has no profile either.
        let id: Option<DocumentId> = feedmill_documents::id::join([user_id]).ok();
        let Some((profiles, id)) = self.profiles.as_ref().zip(id) else { return Ok(None) };
        let (found, _) = profiles.read(&PartitionKey::from(user_id), &id, &ReadLevel::Quorum).await?;
        let profile = found.and_then(|profile| profile.parse::<Profile>().ok());
        // Who has gone has no name any more, though the withdrawn profile may still say it.
        let name = profile.filter(|profile| profile.deleted_at.is_none()).map(|profile| profile.display_name);
        Ok(name.filter(|name| !name.is_empty()))
    }
}
