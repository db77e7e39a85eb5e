//! Whether a document names a person. Ids of people and of posts may be equal, so it matters where one stands.

use feedmill_documents::{containers, counter, id};
use serde_json::Value;

/// Fields that hold a person's id, in whatever document.
const PEOPLE: [&str; 7] = ["authorId", "userId", "followerId", "followeeId", "otherId", "recipientId", "actorId"];

/// Containers whose partition key is a person.
const BY_PERSON: [&str; 7] = [
    containers::FOLLOWS,
    containers::BLOCKS,
    containers::FOLLOWING,
    containers::AUTHOR_POSTS,
    containers::USER_FEED,
    containers::NOTIFICATIONS,
    containers::PUBLIC_PROFILES,
];

/// Whether a document of `container` says anything of `user`: in a field, in its id, in what it was made from.
pub fn names(container: &str, document: &Value, user: &str) -> bool {
    let id = document["id"].as_str().unwrap_or_default();
    names_in_id(container, id, user) || names_in_fields(document, user)
}

fn names_in_fields(value: &Value, user: &str) -> bool {
    match value {
        Value::Object(members) => {
            is_letter_about(value, user)
                || members.iter().any(|(name, member)| match (name.as_str(), member) {
                    (name, Value::String(text)) if PEOPLE.contains(&name) => text == user,
                    ("_source", source) => source["from"].as_array().is_some_and(|from| {
                        let part = |source: &Value, index: usize| source[index].as_str().unwrap_or_default().to_owned();
                        from.iter().any(|source| names_in_id(&part(source, 0), &part(source, 1), user))
                    }),
                    // Where followers are cut, they are named as in ids.
                    ("from" | "until", Value::String(cut)) => is_part(cut, user),
                    ("cuts", Value::Array(cuts)) => {
                        cuts.iter().any(|cut| cut.as_str().is_some_and(|cut| is_part(cut, user)))
                    }
                    // A dead letter's document that is no JSON: whoever stands in it in quotes.
                    ("document", Value::String(text)) => text.contains(&Value::from(user).to_string()),
                    (_, member) => names_in_fields(member, user),
                })
        }
        Value::Array(elements) => elements.iter().any(|element| names_in_fields(element, user)),
        _ => false,
    }
}

fn is_letter_about(letter: &Value, user: &str) -> bool {
    let (Some(container), Some(source)) = (letter["container"].as_str(), letter["sourceId"].as_str()) else {
        return false;
    };
    names_in_id(container, source, user) || BY_PERSON.contains(&base(container)) && letter["partitionKey"] == user
}

/// Whether the id of a document of this container has the person in it.
fn names_in_id(container: &str, id: &str, user: &str) -> bool {
    let parts: Vec<&str> = id.split(':').collect();
    let is_user = |index: usize| parts.get(index).is_some_and(|part| is_part(part, user));
    match base(container) {
        containers::FOLLOWS | containers::BLOCKS | containers::FOLLOWING => is_user(0) || is_user(1),
        containers::REACTIONS => is_user(1),
        containers::USER_FEED | containers::PUBLIC_PROFILES => is_user(0),
        containers::NOTIFICATIONS => is_user(0) || is_user(3) || parts.get(1) == Some(&"follow") && is_user(2),
        containers::COUNTERS => {
            let of_people = [counter::FOLLOWERS, counter::FOLLOWING, counter::POSTS];
            is_user(0) && parts.get(1).is_some_and(|name| of_people.contains(name))
        }
        containers::FAN_OUT => is_user(0) && parts.get(1) == Some(&"cuts"),
        _ => false,
    }
}

fn is_part(part: &str, user: &str) -> bool {
    matches!(id::split(part), Ok([decoded]) if decoded == user)
}

/// The container that this one is a version of.
fn base(container: &str) -> &str {
    let versioned = [containers::USER_FEED, containers::COUNTERS, containers::FAN_OUT];
    versioned.into_iter().find(|base| containers::is_version_of(container, base)).unwrap_or(container)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_person_is_found_wherever_a_document_may_name_them_and_a_post_of_the_same_id_is_not() {
        let table = [
            (containers::FOLLOWS, json!({"id": "a:u%3A1"}), true),
            (containers::REACTIONS, json!({"id": "p:u%3A1"}), true),
            (containers::REACTIONS, json!({"id": "u%3A1:a", "postId": "u:1"}), false),
            (containers::POSTS, json!({"id": "p", "authorId": "u:1"}), true),
            (containers::POSTS, json!({"id": "u%3A1", "postId": "u:1", "authorId": "a"}), false),
            (containers::USER_FEED, json!({"id": "u%3A1:p"}), true),
            ("userFeed_v2", json!({"id": "a:p", "_source": {"rev": 1, "from": [["follows", "u%3A1:a", null]]}}), true),
            (containers::USER_FEED, json!({"id": "a:u%3A1"}), false),
            (containers::COUNTERS, json!({"id": "u%3A1:posts", "value": 0}), true),
            (containers::COUNTERS, json!({"id": "u%3A1:likes", "value": 1}), false),
            (containers::NOTIFICATIONS, json!({"id": "a:reaction:p:u%3A1"}), true),
            (containers::NOTIFICATIONS, json!({"id": "a:follow:u%3A1:b"}), true),
            (containers::NOTIFICATIONS, json!({"id": "a:reply:u%3A1:b"}), false),
            (containers::FAN_OUT, json!({"id": "u%3A1:cuts", "cuts": []}), true),
            (containers::FAN_OUT, json!({"id": "a:cuts", "cuts": ["b", "u%3A1"]}), true),
            (containers::FAN_OUT, json!({"id": "p:1", "from": "u%3A1", "until": "z"}), true),
            (containers::FAN_OUT, json!({"id": "p:1", "from": "b", "until": "z"}), false),
            (
                containers::DEAD_LETTERS,
                json!({"container": "follows", "sourceId": "a:u%3A1", "partitionKey": "a"}),
                true,
            ),
            (containers::DEAD_LETTERS, json!({"container": "blocks", "sourceId": "?", "partitionKey": "u:1"}), true),
            (containers::DEAD_LETTERS, json!({"document": {"deep": [{"userId": "u:1"}]}}), true),
            (containers::DEAD_LETTERS, json!({"document": "{\"userId\": \"u:1\", "}), true),
            (containers::DEAD_LETTERS, json!({"document": "{\"userId\": \"u:12\", "}), false),
        ];
        for (container, document, named) in table {
            assert_eq!(names(container, &document, "u:1"), named, "{document} of {container}");
        }
    }
}
