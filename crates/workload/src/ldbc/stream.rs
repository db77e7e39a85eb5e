//! The stream of events after the snapshot, each as the writes it makes.

use jiff::Timestamp;

use super::error::Error;
use super::events::{EventRow, EventRows, Operation};
use super::network::{Friendship, Like, Message, Network, Person, Refused, Thing};
use crate::source::{SourceWrite, Stamp, Withdrawal};

/// One event of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub seq: u64,
    pub at: Timestamp,
    /// Empty for what concerns no source document, and for a delete of something that is not there.
    pub writes: Vec<SourceWrite>,
}

/// Iterates over the events of a stream, in its order. Ends after an error.
pub struct Stream {
    /// `None` when there are no events any more.
    rows: Option<EventRows>,
    network: Network,
    until: Option<Timestamp>,
    /// How long a withdrawn document stays, in seconds.
    ttl_seconds: u32,
}

impl Stream {
    pub(super) fn new(rows: Option<EventRows>, network: Network, until: Option<Timestamp>, ttl_seconds: u32) -> Self {
        Self { rows, network, until, ttl_seconds }
    }

    fn event(&mut self) -> Result<Option<Event>, Error> {
        let Some(rows) = &mut self.rows else { return Ok(None) };
        while let Some(EventRow { seq, at, operation }) = rows.next()? {
            if self.until.is_some_and(|until| at >= until) {
                continue;
            }
            let withdrawal = Withdrawal { at, ttl_seconds: self.ttl_seconds };
            // What the snapshot wrote has version 0.
            return match apply(&mut self.network, &operation, at, seq + 1, withdrawal) {
                Ok(writes) => Ok(Some(Event { seq, at, writes })),
                // As a delete of something that is not there, it does nothing.
                Err(Refused::Deleted) => Ok(Some(Event { seq, at, writes: Vec::new() })),
                Err(refused) => Err(rows.fault(place(&operation, &refused), refused.fault())),
            };
        }
        Ok(None)
    }
}

impl Iterator for Stream {
    type Item = Result<Event, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let event = self.event();
        if !matches!(event, Ok(Some(_))) {
            self.rows = None;
        }
        event.transpose()
    }
}

/// What the event does to the network, and to the source documents.
fn apply(
    network: &mut Network,
    operation: &Operation,
    at: Timestamp,
    version: u64,
    withdrawal: Withdrawal,
) -> Result<Vec<SourceWrite>, Refused> {
    let live = Stamp { version, withdrawn: None };
    let mut gone = Vec::new();
    match *operation {
        Operation::InsertPerson { id, ref first, ref last } => {
            let person = Person { id, name: Some((first.clone(), last.clone())), created: at };
            let write = person.write(live);
            network.insert_person(person);
            return Ok(vec![write]);
        }
        Operation::InsertKnows { one, other } => {
            let friendship = Friendship { one, other, created: at };
            network.insert_friendship(friendship)?;
            return Ok(friendship.writes(live).into());
        }
        Operation::InsertPost { id, created, creator, forum } => {
            let message = Message { id, author: creator, parent: None, forum, created };
            network.insert_message(message)?;
            return Ok(vec![message.write(None, live)]);
        }
        Operation::InsertComment { id, created, creator, parent } => {
            let message = Message { id, author: creator, parent: Some(parent), forum: None, created };
            network.insert_message(message)?;
            return Ok(vec![message.write(None, live)]);
        }
        Operation::InsertLike { person, message } => {
            let like = Like { person, message, created: at };
            network.insert_like(like)?;
            return Ok(vec![like.write(live)]);
        }
        Operation::InsertForum { id, moderator, ref title } => network.insert_forum(id, moderator, title),
        Operation::Membership => {}
        Operation::DeletePerson { id } => network.delete_person(id, &mut gone),
        Operation::DeleteKnows { one, other } => network.delete_friendship(one, other, &mut gone),
        Operation::DeleteForum { id } => network.delete_forum(id, &mut gone),
        Operation::DeleteMessage { id } => network.delete_message(id, &mut gone),
        Operation::DeleteLike { person, message } => network.delete_like(person, message, &mut gone),
    }
    let mut writes = Vec::new();
    for gone in gone {
        gone.writes(Stamp { version, withdrawn: Some(withdrawal) }, &mut writes);
    }
    Ok(writes)
}

/// Which value of the line (0 for `a`) is to blame.
fn place(operation: &Operation, refused: &Refused) -> usize {
    match operation {
        Operation::InsertKnows { .. } => usize::from(refused.is_about(Thing::OtherPerson)),
        Operation::InsertLike { .. } => usize::from(refused.is_about(Thing::Message)),
        _ => 0,
    }
}
