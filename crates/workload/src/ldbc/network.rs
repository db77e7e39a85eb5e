//! The social network as it is at one point of the data: what is there, and what a delete takes along.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::error::Fault;

/// The author of a message that existed before the stream and of which only the id is known.
pub(super) const UNKNOWN_AUTHOR: u64 = 0;

/// Forums that belong to one person and go with them.
const PERSONAL_FORUMS: [&str; 2] = ["Wall ", "Album "];

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) id: u64,
    /// First and last.
    pub(super) name: Option<(String, String)>,
    pub(super) created: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) id: u64,
    pub(super) author: u64,
    pub(super) parent: Option<u64>,
    pub(super) forum: Option<u64>,
    pub(super) created: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Friendship {
    pub(super) one: u64,
    pub(super) other: u64,
    pub(super) created: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Like {
    pub(super) person: u64,
    pub(super) message: u64,
    pub(super) created: Timestamp,
}

/// What a delete took, itself and what goes with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Gone {
    Person(Person),
    Friendship(Friendship),
    Message(Message),
    Like(Like),
}

/// Whether an insert met something of the same id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inserted {
    New,
    /// It was there already and has the new values now.
    Again,
}

/// Why an insert was not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// It refers to something that was never there.
    Unknown { what: Thing, id: u64 },
    /// It refers to something that was deleted.
    Deleted,
    /// A message of this id had another author or parent.
    OtherIdentity { old: Identity, new: Identity },
}

/// Author and parent: what a message id stands for, for ever.
pub(super) type Identity = (u64, Option<u64>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Thing {
    Author,
    /// The first or only person of an event.
    Person,
    OtherPerson,
    Message,
    Parent,
}

impl Refused {
    pub(super) fn is_about(&self, thing: Thing) -> bool {
        matches!(self, Self::Unknown { what, .. } if *what == thing)
    }

    /// What is wrong with the row that asked for it.
    pub(super) fn fault(&self) -> Fault {
        let words = |(author, parent): &Identity| match parent {
            None => format!("person {author}, a post"),
            Some(parent) => format!("person {author}, a reply to {parent}"),
        };
        match self {
            Self::Unknown { what: Thing::Message | Thing::Parent, id } => Fault::Unknown { what: "message", id: *id },
            Self::Unknown { id, .. } => Fault::Unknown { what: "person", id: *id },
            Self::Deleted => Fault::Deleted,
            Self::OtherIdentity { old, new } => Fault::Identity { old: words(old), new: words(new) },
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Network {
    persons: BTreeMap<u64, Person>,
    gone_persons: BTreeSet<u64>,
    /// Both ways.
    friends: BTreeMap<u64, BTreeMap<u64, Timestamp>>,
    messages: BTreeMap<u64, Message>,
    gone_messages: BTreeMap<u64, Identity>,
    by_author: BTreeMap<u64, BTreeSet<u64>>,
    replies: BTreeMap<u64, BTreeSet<u64>>,
    in_forum: BTreeMap<u64, BTreeSet<u64>>,
    likes_of_message: BTreeMap<u64, BTreeMap<u64, Timestamp>>,
    likes_by_person: BTreeMap<u64, BTreeSet<u64>>,
    /// Forums that go with their moderator.
    personal_forums: BTreeMap<u64, BTreeSet<u64>>,
    personal_forum_owner: BTreeMap<u64, u64>,
}

impl Network {
    pub(super) fn insert_person(&mut self, person: Person) -> Inserted {
        self.gone_persons.remove(&person.id);
        inserted(self.persons.insert(person.id, person))
    }

    pub(super) fn insert_friendship(&mut self, friendship: Friendship) -> Result<Inserted, Refused> {
        let Friendship { one, other, created } = friendship;
        self.need_person(one, Thing::Person)?;
        self.need_person(other, Thing::OtherPerson)?;
        self.friends.entry(other).or_default().insert(one, created);
        Ok(inserted(self.friends.entry(one).or_default().insert(other, created)))
    }

    pub(super) fn insert_message(&mut self, message: Message) -> Result<Inserted, Refused> {
        self.need_person(message.author, Thing::Author)?;
        if let Some(parent) = message.parent {
            self.need_message(parent, Thing::Parent)?;
        }
        let before = self.messages.get(&message.id).map(|old| (old.author, old.parent));
        let new = (message.author, message.parent);
        match before.or_else(|| self.gone_messages.get(&message.id).copied()) {
            // Of a stub nothing is known, so nothing changes: nobody follows the unknown author.
            Some(old) if old != new && old.0 != UNKNOWN_AUTHOR => Err(Refused::OtherIdentity { old, new }),
            _ => Ok(self.put_message(message)),
        }
    }

    /// A message of which only the id is known.
    pub(super) fn insert_stub(&mut self, id: u64, created: Timestamp) -> Message {
        let stub = Message { id, author: UNKNOWN_AUTHOR, parent: None, forum: None, created };
        self.put_message(stub);
        stub
    }

    fn put_message(&mut self, message: Message) -> Inserted {
        let old = self.messages.remove(&message.id);
        if let Some(old) = old {
            self.forget_message(old);
        }
        self.messages.insert(message.id, message);
        self.gone_messages.remove(&message.id);
        self.by_author.entry(message.author).or_default().insert(message.id);
        if let Some(parent) = message.parent {
            self.replies.entry(parent).or_default().insert(message.id);
        }
        if let Some(forum) = message.forum {
            self.in_forum.entry(forum).or_default().insert(message.id);
        }
        inserted(old)
    }

    pub(super) fn insert_like(&mut self, like: Like) -> Result<Inserted, Refused> {
        self.need_person(like.person, Thing::Person)?;
        self.need_message(like.message, Thing::Message)?;
        self.likes_by_person.entry(like.person).or_default().insert(like.message);
        Ok(inserted(self.likes_of_message.entry(like.message).or_default().insert(like.person, like.created)))
    }

    /// Forums matter only by what goes with them.
    pub(super) fn insert_forum(&mut self, id: u64, moderator: u64, title: &str) {
        if let Some(owner) = self.personal_forum_owner.remove(&id) {
            remove(&mut self.personal_forums, owner, id);
        }
        if PERSONAL_FORUMS.iter().any(|start| title.starts_with(start)) {
            self.personal_forum_owner.insert(id, moderator);
            self.personal_forums.entry(moderator).or_default().insert(id);
        }
    }

    pub(super) fn has_person(&self, id: u64) -> bool {
        self.persons.contains_key(&id)
    }

    pub(super) fn has_message(&self, id: u64) -> bool {
        self.messages.contains_key(&id)
    }

    /// A person with their likes, friendships, messages and personal forums.
    pub(super) fn delete_person(&mut self, id: u64, gone: &mut Vec<Gone>) {
        let Some(person) = self.persons.remove(&id) else { return };
        self.gone_persons.insert(id);
        for message in self.likes_by_person.get(&id).cloned().unwrap_or_default() {
            self.delete_like(id, message, gone);
        }
        for other in self.friends.get(&id).cloned().unwrap_or_default().into_keys() {
            self.delete_friendship(id, other, gone);
        }
        for forum in self.personal_forums.get(&id).cloned().unwrap_or_default() {
            self.delete_forum(forum, gone);
        }
        for message in self.by_author.get(&id).cloned().unwrap_or_default() {
            self.delete_message(message, gone);
        }
        gone.push(Gone::Person(person));
    }

    /// A forum's posts with their threads.
    pub(super) fn delete_forum(&mut self, id: u64, gone: &mut Vec<Gone>) {
        if let Some(owner) = self.personal_forum_owner.remove(&id) {
            remove(&mut self.personal_forums, owner, id);
        }
        for post in self.in_forum.get(&id).cloned().unwrap_or_default() {
            self.delete_message(post, gone);
        }
    }

    /// A message with the whole reply tree below it and all likes on these.
    pub(super) fn delete_message(&mut self, id: u64, gone: &mut Vec<Gone>) {
        // A list instead of recursion, because a thread may be deeper than the stack.
        let mut doomed = vec![id];
        while let Some(id) = doomed.pop() {
            let Some(message) = self.messages.remove(&id) else { continue };
            self.gone_messages.insert(id, (message.author, message.parent));
            doomed.extend(self.replies.get(&id).into_iter().flatten());
            self.forget_message(message);
            for (person, created) in self.likes_of_message.remove(&id).unwrap_or_default() {
                remove(&mut self.likes_by_person, person, id);
                gone.push(Gone::Like(Like { person, message: id, created }));
            }
            gone.push(Gone::Message(message));
        }
    }

    /// Takes a message out of what leads to it.
    fn forget_message(&mut self, message: Message) {
        remove(&mut self.by_author, message.author, message.id);
        if let Some(parent) = message.parent {
            remove(&mut self.replies, parent, message.id);
        }
        if let Some(forum) = message.forum {
            remove(&mut self.in_forum, forum, message.id);
        }
    }

    pub(super) fn delete_like(&mut self, person: u64, message: u64, gone: &mut Vec<Gone>) {
        let Some(likes) = self.likes_of_message.get_mut(&message) else { return };
        let Some(created) = likes.remove(&person) else { return };
        if likes.is_empty() {
            self.likes_of_message.remove(&message);
        }
        remove(&mut self.likes_by_person, person, message);
        gone.push(Gone::Like(Like { person, message, created }));
    }

    pub(super) fn delete_friendship(&mut self, one: u64, other: u64, gone: &mut Vec<Gone>) {
        let created = self.friends.get_mut(&one).and_then(|friends| friends.remove(&other));
        let Some(created) = created else { return };
        if let Some(friends) = self.friends.get_mut(&other) {
            friends.remove(&one);
        }
        gone.push(Gone::Friendship(Friendship { one, other, created }));
    }

    fn need_person(&self, id: u64, what: Thing) -> Result<(), Refused> {
        if self.persons.contains_key(&id) {
            return Ok(());
        }
        Err(if self.gone_persons.contains(&id) { Refused::Deleted } else { Refused::Unknown { what, id } })
    }

    fn need_message(&self, id: u64, what: Thing) -> Result<(), Refused> {
        if self.messages.contains_key(&id) {
            return Ok(());
        }
        Err(if self.gone_messages.contains_key(&id) { Refused::Deleted } else { Refused::Unknown { what, id } })
    }
}

fn inserted<T>(old: Option<T>) -> Inserted {
    if old.is_some() { Inserted::Again } else { Inserted::New }
}

fn remove(index: &mut BTreeMap<u64, BTreeSet<u64>>, key: u64, value: u64) {
    if let Some(values) = index.get_mut(&key) {
        values.remove(&value);
        if values.is_empty() {
            index.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests;
