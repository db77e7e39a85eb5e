//! The tables of a data folder, as writes in an order in which causes come before effects.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::vec;

use jiff::Timestamp;

use super::base::Base;
use super::error::{Error, Fault};
use super::files::Files;
use super::network::{Inserted, Message, Network, Person, Thing};
use super::rows::{Knows, Likes, Messages, Persons, Rows};
use crate::source::{SourceWrite, Stamp};

/// Iterates over the source documents of a snapshot: persons, friendships, messages, likes. Ends after an error.
pub struct Snapshot {
    files: Files,
    until: Option<Timestamp>,
    network: Network,
    stage: Stage,
    ready: VecDeque<SourceWrite>,
    counts: Counts,
}

/// How many rows of each kind were taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub persons: u64,
    pub friendships: u64,
    pub messages: u64,
    pub likes: u64,
}

/// What is read, in this order. A table that the layout does not have is `None` and reads as an empty one.
enum Stage {
    Persons(Option<Persons>),
    /// Persons, then messages, of which only the ids are known.
    Stubs(vec::IntoIter<u64>, vec::IntoIter<u64>),
    Knows(Option<Knows>),
    Messages(Option<Messages>, Waiting),
    Likes(Option<Likes>),
    Done,
}

/// Messages that were read before the one they reply to, by the latter, with their lines.
type Waiting = BTreeMap<u64, Vec<(u64, Message, Option<String>)>>;

/// Nobody knows when a stub was made; it was before everything.
const STUB_CREATED: Timestamp = Timestamp::UNIX_EPOCH;

impl Snapshot {
    pub(super) fn new(files: Files, until: Option<Timestamp>) -> Result<Self, Error> {
        let stage = Stage::Persons(open(files.persons.as_deref())?);
        let (network, ready, counts) = (Network::default(), VecDeque::new(), Counts::default());
        Ok(Self { files, until, network, stage, ready, counts })
    }

    /// So far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Reads what is left, and gives the network that the whole snapshot makes.
    pub(super) fn into_network(mut self) -> Result<(Network, Counts), Error> {
        while self.step()? {
            self.ready.clear();
        }
        Ok((self.network, self.counts))
    }

    /// Reads on until there is a write to give away; `false` at the end.
    fn step(&mut self) -> Result<bool, Error> {
        while self.ready.is_empty() {
            let more = match &mut self.stage {
                Stage::Persons(_) => self.person()?,
                Stage::Stubs(..) => self.stub(),
                Stage::Knows(_) => self.friendship()?,
                Stage::Messages(..) => self.message()?,
                Stage::Likes(_) => self.like()?,
                Stage::Done => return Ok(false),
            };
            if !more {
                self.stage = self.next_stage()?;
            }
        }
        Ok(true)
    }

    fn next_stage(&self) -> Result<Stage, Error> {
        Ok(match &self.stage {
            Stage::Persons(_) => {
                let base = self.files.base.as_deref().map_or_else(|| Ok(Base::default()), Base::read)?;
                Stage::Stubs(base.persons.into_iter(), base.messages.into_iter())
            }
            Stage::Stubs(..) => Stage::Knows(open(self.files.knows.as_deref())?),
            Stage::Knows(_) => Stage::Messages(open(self.files.messages.as_deref())?, Waiting::new()),
            Stage::Messages(rows, waiting) => {
                nobody_waits(rows.as_ref(), waiting)?;
                Stage::Likes(open(self.files.likes.as_deref())?)
            }
            Stage::Likes(_) | Stage::Done => Stage::Done,
        })
    }

    fn person(&mut self) -> Result<bool, Error> {
        let Stage::Persons(Some(rows)) = &mut self.stage else { return Ok(false) };
        let Some(person) = rows.next()? else { return Ok(false) };
        if self.until.is_some_and(|until| person.created >= until) {
            return Ok(true);
        }
        self.ready.push_back(person.write(Stamp::default()));
        let id = person.id;
        if self.network.insert_person(person) == Inserted::Again {
            return Err(rows.table.fault(Some(rows.id), Fault::Duplicate { what: "person", id: id.to_string() }));
        }
        self.counts.persons += 1;
        Ok(true)
    }

    fn stub(&mut self) -> bool {
        let Stage::Stubs(persons, messages) = &mut self.stage else { return false };
        if let Some(id) = persons.next() {
            if !self.network.has_person(id) {
                let person = Person { id, name: None, created: STUB_CREATED };
                self.ready.push_back(person.write(Stamp::default()));
                self.network.insert_person(person);
                self.counts.persons += 1;
            }
            return true;
        }
        let Some(id) = messages.next() else { return false };
        if !self.network.has_message(id) {
            let message = self.network.insert_stub(id, STUB_CREATED);
            self.ready.push_back(message.write(None, Stamp::default()));
            self.counts.messages += 1;
        }
        true
    }

    fn friendship(&mut self) -> Result<bool, Error> {
        let Stage::Knows(Some(rows)) = &mut self.stage else { return Ok(false) };
        let Some(friendship) = rows.next()? else { return Ok(false) };
        if self.until.is_some_and(|until| friendship.created >= until) {
            return Ok(true);
        }
        match self.network.insert_friendship(friendship) {
            Ok(Inserted::New) => {}
            Ok(Inserted::Again) => {
                let id = format!("{} and {}", friendship.one, friendship.other);
                return Err(rows.table.fault(Some(rows.one), Fault::Duplicate { what: "the friendship of", id }));
            }
            Err(refused) => {
                let column = if refused.is_about(Thing::OtherPerson) { rows.other } else { rows.one };
                return Err(rows.table.fault(Some(column), refused.fault()));
            }
        }
        self.counts.friendships += 1;
        self.ready.extend(friendship.writes(Stamp::default()));
        Ok(true)
    }

    fn message(&mut self) -> Result<bool, Error> {
        let Stage::Messages(Some(rows), waiting) = &mut self.stage else { return Ok(false) };
        let Some((message, content)) = rows.next()? else { return Ok(false) };
        if self.until.is_some_and(|until| message.created >= until) {
            return Ok(true);
        }
        let mut next = vec![(rows.table.line(), message, content)];
        while let Some((line, message, content)) = next.pop() {
            if let Some(parent) = message.parent.filter(|parent| !self.network.has_message(*parent)) {
                waiting.entry(parent).or_default().push((line, message, content));
                continue;
            }
            if self.network.has_message(message.id) {
                let fault = Fault::Duplicate { what: "message", id: message.id.to_string() };
                return Err(rows.table.fault_at(line, Some(rows.id), fault));
            }
            if let Err(refused) = self.network.insert_message(message) {
                return Err(rows.table.fault_at(line, Some(rows.creator), refused.fault()));
            }
            self.counts.messages += 1;
            self.ready.push_back(message.write(content.as_deref(), Stamp::default()));
            next.extend(waiting.remove(&message.id).into_iter().flatten());
        }
        Ok(true)
    }

    fn like(&mut self) -> Result<bool, Error> {
        let Stage::Likes(Some(rows)) = &mut self.stage else { return Ok(false) };
        let Some(like) = rows.next()? else { return Ok(false) };
        if self.until.is_some_and(|until| like.created >= until) {
            return Ok(true);
        }
        match self.network.insert_like(like) {
            Ok(Inserted::New) => {}
            Ok(Inserted::Again) => {
                let id = format!("{} for message {}", like.person, like.message);
                return Err(rows.table.fault(Some(rows.person), Fault::Duplicate { what: "the like of person", id }));
            }
            Err(refused) => {
                let column = if refused.is_about(Thing::Message) { rows.message } else { rows.person };
                return Err(rows.table.fault(Some(column), refused.fault()));
            }
        }
        self.counts.likes += 1;
        self.ready.push_back(like.write(Stamp::default()));
        Ok(true)
    }
}

impl Iterator for Snapshot {
    type Item = Result<SourceWrite, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.step() {
            Ok(_) => self.ready.pop_front().map(Ok),
            Err(error) => {
                self.stage = Stage::Done;
                self.ready.clear();
                Some(Err(error))
            }
        }
    }
}

fn open<R: Rows>(path: Option<&Path>) -> Result<Option<R>, Error> {
    path.map(R::open).transpose()
}

/// The first line whose parent never came is the error.
fn nobody_waits(rows: Option<&Messages>, waiting: &Waiting) -> Result<(), Error> {
    let orphans = waiting.iter().flat_map(|(parent, waiting)| waiting.iter().map(move |(line, ..)| (*line, *parent)));
    match (orphans.min(), rows) {
        (Some((line, id)), Some(rows)) => {
            Err(rows.table.fault_at(line, Some(rows.reply_of), Fault::Unknown { what: "message", id }))
        }
        _ => Ok(()),
    }
}
