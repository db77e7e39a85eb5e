//! The network's things as source documents: one document each, a friendship two.

use super::network::{Friendship, Gone, Like, Message, Person};
use crate::source::{self, SourceWrite, Stamp};

impl Person {
    pub(super) fn write(&self, stamp: Stamp) -> SourceWrite {
        let name = self.name.as_ref().map(|(first, last)| (first.as_str(), last.as_str()));
        source::Profile { user: self.id, name, created: self.created }.write(stamp)
    }
}

impl Friendship {
    /// One follow each way.
    pub(super) fn writes(&self, stamp: Stamp) -> [SourceWrite; 2] {
        [(self.one, self.other), (self.other, self.one)]
            .map(|(followee, follower)| source::Follow { followee, follower, created: self.created }.write(stamp))
    }
}

impl Message {
    pub(super) fn write(&self, content: Option<&str>, stamp: Stamp) -> SourceWrite {
        let Self { id: post, author, parent: reply_to, created, .. } = *self;
        source::Post { post, author, reply_to, content, created }.write(stamp)
    }
}

impl Like {
    pub(super) fn write(&self, stamp: Stamp) -> SourceWrite {
        source::Like { post: self.message, user: self.person, created: self.created }.write(stamp)
    }
}

impl Gone {
    /// Withdrawals; `stamp` says since when. A withdrawn message keeps what names it and loses its text, which the
    /// network does not hold.
    pub(super) fn writes(&self, stamp: Stamp, into: &mut Vec<SourceWrite>) {
        match self {
            Self::Person(person) => into.push(person.write(stamp)),
            Self::Friendship(friendship) => into.extend(friendship.writes(stamp)),
            Self::Message(message) => into.push(message.write(None, stamp)),
            Self::Like(like) => into.push(like.write(stamp)),
        }
    }
}
