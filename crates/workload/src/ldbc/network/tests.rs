//! What each delete takes along, and what it leaves.

use super::*;

const AT: Timestamp = Timestamp::UNIX_EPOCH;

fn post(network: &mut Network, id: u64, author: u64, forum: u64) {
    let post = Message { id, author, parent: None, forum: Some(forum), created: AT };
    network.insert_message(post).unwrap();
}

fn comment(network: &mut Network, id: u64, author: u64, parent: u64) -> Result<Inserted, Refused> {
    network.insert_message(Message { id, author, parent: Some(parent), forum: None, created: AT })
}

fn like(network: &mut Network, person: u64, message: u64) -> Result<Inserted, Refused> {
    network.insert_like(Like { person, message, created: AT })
}

fn friends(network: &mut Network, one: u64, other: u64) -> Result<Inserted, Refused> {
    network.insert_friendship(Friendship { one, other, created: AT })
}

/// Persons 1, 2, 3; 1 and 2 are friends. Post 10 by 1 in forum 100, below it 11 by 2, below that 12 by 3.
/// Post 20 by 2 in forum 200. 3 likes 10 and 12, 1 likes 11 and 20.
fn network() -> Network {
    let mut network = Network::default();
    for id in 1..=3 {
        network.insert_person(Person { id, name: None, created: AT });
    }
    friends(&mut network, 1, 2).unwrap();
    post(&mut network, 10, 1, 100);
    comment(&mut network, 11, 2, 10).unwrap();
    comment(&mut network, 12, 3, 11).unwrap();
    post(&mut network, 20, 2, 200);
    for (person, message) in [(3, 10), (3, 12), (1, 11), (1, 20)] {
        like(&mut network, person, message).unwrap();
    }
    network
}

/// What a delete took, in words, sorted.
fn taken(delete: impl FnOnce(&mut Network, &mut Vec<Gone>)) -> Vec<String> {
    taken_from(&mut network(), delete)
}

fn taken_from(network: &mut Network, delete: impl FnOnce(&mut Network, &mut Vec<Gone>)) -> Vec<String> {
    let mut gone = Vec::new();
    delete(network, &mut gone);
    let mut words: Vec<_> = gone
        .iter()
        .map(|gone| match gone {
            Gone::Person(person) => format!("person {}", person.id),
            Gone::Friendship(Friendship { one, other, .. }) => format!("friends {one} {other}"),
            Gone::Message(message) => format!("message {}", message.id),
            Gone::Like(Like { person, message, .. }) => format!("like {person} {message}"),
        })
        .collect();
    words.sort();
    words
}

#[test]
fn a_deleted_message_takes_the_whole_tree_below_it_and_the_likes_on_it() {
    let gone = taken(|network, gone| network.delete_message(11, gone));
    assert_eq!(gone, ["like 1 11", "like 3 12", "message 11", "message 12"]);
}

#[test]
fn a_deleted_person_takes_likes_friendships_and_messages_with_their_trees() {
    let gone = taken(|network, gone| network.delete_person(2, gone));
    let expected =
        ["friends 2 1", "like 1 11", "like 1 20", "like 3 12", "message 11", "message 12", "message 20", "person 2"];
    assert_eq!(gone, expected);
    let gone = taken(|network, gone| network.delete_person(3, gone));
    assert_eq!(gone, ["like 3 10", "like 3 12", "message 12", "person 3"]);
}

#[test]
fn a_deleted_person_takes_their_walls_and_albums_but_no_group_they_moderate() {
    for (title, takes) in
        [("Wall of Ada", true), ("Album 3 of Ada", true), ("Group for Wall ", false), ("Wallaby", false)]
    {
        let mut network = network();
        network.insert_forum(200, 3, title);
        let gone = taken_from(&mut network, |network, gone| network.delete_person(3, gone));
        assert_eq!(gone.contains(&"message 20".to_owned()), takes, "{title}");
    }
}

#[test]
fn a_deleted_forum_takes_its_posts_and_their_threads() {
    let gone = taken(|network, gone| network.delete_forum(100, gone));
    assert_eq!(gone, ["like 1 11", "like 3 10", "like 3 12", "message 10", "message 11", "message 12"]);
}

#[test]
fn a_delete_of_something_unknown_or_already_deleted_takes_nothing() {
    let mut network = network();
    let nothing: [&str; 0] = [];
    for _ in 0..2 {
        let again = taken_from(&mut network, |network, gone| {
            network.delete_person(99, gone);
            network.delete_message(99, gone);
            network.delete_forum(99, gone);
            network.delete_like(1, 10, gone);
            network.delete_like(99, 99, gone);
            network.delete_friendship(1, 3, gone);
            network.delete_friendship(98, 99, gone);
        });
        assert_eq!(again, nothing);
    }
    assert_eq!(taken_from(&mut network, |network, gone| network.delete_like(3, 10, gone)), ["like 3 10"]);
    assert_eq!(taken_from(&mut network, |network, gone| network.delete_like(3, 10, gone)), nothing);
    assert_eq!(taken_from(&mut network, |network, gone| network.delete_friendship(2, 1, gone)), ["friends 2 1"]);
    assert_eq!(taken_from(&mut network, |network, gone| network.delete_friendship(1, 2, gone)), nothing);
}

#[test]
fn an_insert_after_a_delete_revives_the_thing_but_not_what_went_with_it() {
    let mut network = network();
    taken_from(&mut network, |network, gone| network.delete_message(11, gone));
    assert_eq!(comment(&mut network, 11, 2, 10), Ok(Inserted::New));
    assert_eq!(like(&mut network, 1, 12), Err(Refused::Deleted));
    assert_eq!(taken_from(&mut network, |network, gone| network.delete_message(11, gone)), ["message 11"]);
    taken_from(&mut network, |network, gone| network.delete_person(2, gone));
    assert_eq!(friends(&mut network, 1, 2), Err(Refused::Deleted));
    network.insert_person(Person { id: 2, name: None, created: AT });
    assert_eq!(friends(&mut network, 1, 2), Ok(Inserted::New));
    assert_eq!(taken_from(&mut network, |network, gone| network.delete_person(2, gone)), ["friends 2 1", "person 2"]);
}

#[test]
fn an_insert_that_refers_to_nothing_says_to_what() {
    let mut network = network();
    let unknown = |what, id| Err(Refused::Unknown { what, id });
    assert_eq!(like(&mut network, 9, 10), unknown(Thing::Person, 9));
    assert_eq!(like(&mut network, 1, 99), unknown(Thing::Message, 99));
    assert_eq!(friends(&mut network, 1, 9), unknown(Thing::OtherPerson, 9));
    assert_eq!(comment(&mut network, 50, 9, 10), unknown(Thing::Author, 9));
    assert_eq!(comment(&mut network, 50, 1, 99), unknown(Thing::Parent, 99));
}

#[test]
fn a_message_keeps_its_author_and_parent_even_when_it_comes_back() {
    let mut network = network();
    let other = Refused::OtherIdentity { old: (2, Some(10)), new: (3, Some(10)) };
    assert_eq!(comment(&mut network, 11, 3, 10), Err(other.clone()));
    taken_from(&mut network, |network, gone| network.delete_message(11, gone));
    assert_eq!(comment(&mut network, 11, 3, 10), Err(other));
    assert_eq!(comment(&mut network, 11, 2, 10), Ok(Inserted::New));
}

#[test]
fn a_stub_has_no_author_that_a_delete_could_find() {
    let mut network = network();
    network.insert_stub(30, AT);
    comment(&mut network, 31, 1, 30).unwrap();
    assert_eq!(
        taken_from(&mut network, |network, gone| network.delete_message(30, gone)),
        ["message 30", "message 31"]
    );
    assert_eq!(comment(&mut network, 30, 1, 10), Ok(Inserted::New));
    assert_eq!(
        taken_from(&mut network, |network, gone| network.delete_message(10, gone)).first().unwrap(),
        "like 1 11"
    );
    assert!(!network.has_message(30));
}
