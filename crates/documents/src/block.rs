use feedmill_store_api::DocumentId;
use jiff::Timestamp;

use crate::{DecodeError, Members, id};

/// A document of `blocks`: there is a block between `user_id` and `other_id`, whichever of them made it. Each pair has
/// two, one under each side's key, so that whom one side must not meet is a single-partition question.
#[derive(Clone, Debug)]
pub struct Block<'a> {
    /// `${userId}:${otherId}`
    pub id: DocumentId,
    pub user_id: String,
    pub other_id: String,
    /// Left out where it is not a time: nothing depends on it but the time a tombstone tells.
    pub created_at: Option<Timestamp>,
    pub deleted_at: Option<Timestamp>,
    /// All of it, system fields included.
    pub members: Members<'a>,
}

impl<'a> Block<'a> {
    /// Needs `id`, `userId` and `otherId`.
    pub fn decode(json: &'a [u8]) -> Result<Self, DecodeError> {
        let members = Members::parse(json)?;
        let user_id = members.string("userId")?.into_owned();
        let other_id = members.string("otherId")?.into_owned();
        Ok(Self {
            id: members.id_of([&user_id, &other_id])?,
            created_at: members.optional_time("createdAt").unwrap_or_default(),
            deleted_at: members.deleted_at()?,
            user_id,
            other_id,
            members,
        })
    }

    /// `${userId}:${otherId}`, its document id in `blocks`.
    pub fn id(user_id: &str, other_id: &str) -> Result<DocumentId, id::IdError> {
        id::join([user_id, other_id])
    }

    pub fn is_live(&self) -> bool {
        self.deleted_at.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_says_between_whom_and_whether_it_still_is() {
        let json = r#"{"id":"a%3Ab:c","userId":"a:b","otherId":"c","createdAt":"once"}"#;
        let block = Block::decode(json.as_bytes()).unwrap();
        assert_eq!((block.user_id.as_str(), block.other_id.as_str(), block.created_at), ("a:b", "c", None));
        assert!(block.is_live());
        let withdrawn = json.replace("once\"", "2020-01-01T00:00:00Z\",\"deletedAt\":\"2020-01-02T00:00:00Z\"");
        let block = Block::decode(withdrawn.as_bytes()).unwrap();
        assert!(block.created_at.is_some() && !block.is_live());
        assert!(Block::decode(br#"{"id":"a:c","userId":"a","otherId":"b"}"#).is_err());
    }
}
