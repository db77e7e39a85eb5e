use feedmill_store_api::DocumentId;
use jiff::Timestamp;

use crate::{DecodeError, Members, id};

/// A document of `follows`: `follower_id` follows `followee_id`.
#[derive(Clone, Debug)]
pub struct Follow<'a> {
    /// `${followeeId}:${followerId}`
    pub id: DocumentId,
    pub followee_id: String,
    pub follower_id: String,
    /// The edge exists, but the follower's feed does not show the followee's posts.
    pub muted: bool,
    /// Of a withdrawn edge that no longer says it: the time of the withdrawal.
    pub created_at: Option<Timestamp>,
    /// Left out where it is not a time: nothing depends on it but the time a tombstone tells.
    pub updated_at: Option<Timestamp>,
    pub deleted_at: Option<Timestamp>,
    pub ttl_seconds: Option<u32>,
    /// All of it, system fields included.
    pub members: Members<'a>,
}

impl<'a> Follow<'a> {
    /// Needs `id`, `followeeId` and `followerId`.
    pub fn decode(json: &'a [u8]) -> Result<Self, DecodeError> {
        let members = Members::parse(json)?;
        let deleted_at = members.deleted_at()?;
        let followee_id = members.string("followeeId")?.into_owned();
        let follower_id = members.string("followerId")?.into_owned();
        Ok(Self {
            id: members.id_of([&followee_id, &follower_id])?,
            muted: members.flag("muted")?,
            created_at: members.optional_time("createdAt")?.or(deleted_at),
            updated_at: members.optional_time("updatedAt").unwrap_or_default(),
            deleted_at,
            ttl_seconds: members.ttl_seconds()?,
            followee_id,
            follower_id,
            members,
        })
    }

    /// `${followeeId}:${followerId}`, its document id in `follows`.
    pub fn id(followee_id: &str, follower_id: &str) -> Result<DocumentId, id::IdError> {
        id::join([followee_id, follower_id])
    }

    /// Muted edges are live too.
    pub fn is_live(&self) -> bool {
        self.deleted_at.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FOLLOW: &str = r#"{"id":"a%3Ab:c","followeeId":"a:b","followerId":"c","since":"here"}"#;

    #[test]
    fn an_edge_is_decoded() {
        let follow = Follow::decode(FOLLOW.as_bytes()).unwrap();
        assert_eq!((follow.followee_id.as_str(), follow.follower_id.as_str()), ("a:b", "c"));
        assert!(follow.is_live() && !follow.muted);
        assert!(follow.members.get("since").is_some());
    }

    #[test]
    fn a_muted_edge_is_live() {
        let json = FOLLOW.replace("\"since\":\"here\"", "\"muted\":true");
        let follow = Follow::decode(json.as_bytes()).unwrap();
        assert!(follow.is_live() && follow.muted);
    }

    #[test]
    fn an_edge_with_a_wrong_field_is_refused_by_its_name() {
        for (field, json) in [
            ("id", FOLLOW.replace("a%3Ab:c", "a:b:c")),
            ("followeeId", FOLLOW.replace("\"followeeId\"", "\"x\"")),
            ("followerId", FOLLOW.replace("\"c\"", "3")),
            ("muted", FOLLOW.replace("\"since\":\"here\"", "\"muted\":\"yes\"")),
            ("createdAt", FOLLOW.replace("\"since\":\"here\"", "\"createdAt\":1293840000")),
        ] {
            let error = Follow::decode(json.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(&format!("`{field}`")), "{field}: {error}");
        }
    }
}
