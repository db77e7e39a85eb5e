//! A network as rows of the canonical tables in PostgreSQL, and those rows as source documents again.
//!
//! Says by itself which document a row is, so that what the outbox makes of it can be compared. Texts of SQL only: whoever has
//! a connection runs them.

use feedmill_documents::containers;
use serde_json::Value;

use crate::SourceWrite;

/// A number as the tables' keys are.
pub fn uuid(number: u64) -> String {
    format!("00000000-0000-0000-0000-{number:012}")
}

/// The statements that bring a write of a generated network in. Causes must come before effects, and running one again is
/// harmless. A write without a withdrawal: what is withdrawn later is `UPDATE … SET deleted_at`.
pub fn insert(write: &SourceWrite) -> String {
    let document: Value = serde_json::from_slice(&write.body).expect("a write holds the JSON of its document");
    let key = |field: &str| {
        let number = document[field].as_str().and_then(|id| id.parse().ok());
        format!("'{}'", uuid(number.expect("generated ids are numbers")))
    };
    let text = |field: &str| format!("'{}'", document[field].as_str().unwrap_or_default().replace('\'', "''"));
    let created = text("createdAt");
    match write.container {
        containers::PUBLIC_PROFILES => {
            let user = key("userId");
            format!(
                "INSERT INTO users (user_id, email, provider, created_at) VALUES ({user}, {user} || '@example.org', 'google', {created})
                     ON CONFLICT DO NOTHING;
                 INSERT INTO profiles (user_id, display_name, created_at) VALUES ({user}, {name}, {created}) ON CONFLICT DO NOTHING;",
                name = text("displayName")
            )
        }
        containers::FOLLOWS => format!(
            "INSERT INTO follows (followee_id, follower_id, created_at) VALUES ({}, {}, {created}) ON CONFLICT DO NOTHING;",
            key("followeeId"),
            key("followerId")
        ),
        containers::POSTS => {
            let parent = if document["replyToPostId"].is_null() { "NULL".to_owned() } else { key("replyToPostId") };
            format!(
                "INSERT INTO posts (post_id, author_id, reply_to_post_id, body, created_at)
                     VALUES ({}, {}, {parent}, {}, {created}) ON CONFLICT DO NOTHING;",
                key("postId"),
                key("authorId"),
                text("content")
            )
        }
        containers::REACTIONS => format!(
            "INSERT INTO reactions (post_id, user_id, type, created_at) VALUES ({}, {}, {}, {created}) ON CONFLICT DO NOTHING;",
            key("postId"),
            key("userId"),
            text("type")
        ),
        other => unreachable!("a generated network has nothing in {other}"),
    }
}

/// Container and JSON text of every source document that the canonical rows are, withdrawn ones included but for blocks.
pub const SOURCES: &str = r#"
WITH rows AS (
    SELECT 'publicProfiles' AS container, user_id::text AS id, created_at, updated_at, deleted_at, version,
           jsonb_build_object('userId', user_id) AS identity,
           jsonb_build_object('displayName', display_name, 'bio', bio) AS content
    FROM profiles
    UNION ALL
    SELECT 'posts_v2', post_id::text, created_at, updated_at, deleted_at, version,
           jsonb_build_object('postId', post_id, 'authorId', author_id, 'replyToPostId', reply_to_post_id, 'status', status),
           jsonb_build_object('text', body)
    FROM posts
    UNION ALL
    SELECT 'follows', followee_id || ':' || follower_id, created_at, updated_at, deleted_at, version,
           jsonb_build_object('followeeId', followee_id, 'followerId', follower_id,
               'muted', EXISTS (SELECT FROM mutes WHERE user_id = follower_id AND muted_id = followee_id)),
           '{}'
    FROM follows
    UNION ALL
    SELECT 'reactions', post_id || ':' || user_id, created_at, updated_at, deleted_at, version,
           jsonb_build_object('postId', post_id, 'userId', user_id, 'type', type), '{}'
    FROM reactions
    UNION ALL
    SELECT 'blocks', side.user_id || ':' || side.other_id, created_at, created_at, NULL, 1,
           jsonb_build_object('userId', side.user_id, 'otherId', side.other_id), '{}'
    FROM blocks CROSS JOIN LATERAL (VALUES (blocker_id, blocked_id), (blocked_id, blocker_id)) AS side (user_id, other_id)
), shown AS (
    SELECT *, 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"' AS iso FROM rows
)
SELECT container, jsonb_strip_nulls(identity || CASE WHEN deleted_at IS NULL THEN content ELSE '{}' END || jsonb_build_object(
    'id', id, 'version', version, 'createdAt', to_char(created_at AT TIME ZONE 'UTC', iso),
    'updatedAt', to_char(updated_at AT TIME ZONE 'UTC', iso),
    'deletedAt', to_char(deleted_at AT TIME ZONE 'UTC', iso)))::text AS document
FROM shown"#;

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::generate;

    #[test]
    fn every_write_of_a_network_is_a_row() {
        let options = generate::Options { users: 5, posts: 20, likes: 20, ..Default::default() };
        let network = generate::Network::new(&options, Timestamp::UNIX_EPOCH);
        let statements: Vec<String> = network.writes().map(|write| insert(&write)).collect();
        assert_eq!(statements.len() as u64, network.documents());
        for table in ["users", "profiles", "follows", "posts", "reactions"] {
            assert!(statements.iter().any(|text| text.contains(&format!("INSERT INTO {table} "))), "{table}");
        }
    }
}
