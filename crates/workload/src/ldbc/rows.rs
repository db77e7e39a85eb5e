//! What the columns of each table mean.

use std::path::Path;

use super::error::Error;
use super::network::{Friendship, Like, Message, Person};
use super::table::{Table, TimeColumn};

/// A table whose rows are things of one kind. The column fields say where a fault is.
pub(super) trait Rows: Sized {
    type Row;

    fn open(path: &Path) -> Result<Self, Error>;

    fn table(&mut self) -> &mut Table;

    /// The current line.
    fn row(&self) -> Result<Self::Row, Error>;

    fn next(&mut self) -> Result<Option<Self::Row>, Error> {
        if self.table().advance()? { self.row().map(Some) } else { Ok(None) }
    }
}

pub(super) struct Persons {
    pub(super) table: Table,
    pub(super) id: usize,
    created: TimeColumn,
    first: usize,
    last: usize,
}

impl Rows for Persons {
    type Row = Person;

    fn open(path: &Path) -> Result<Self, Error> {
        let table = Table::open(path)?;
        Ok(Self {
            id: table.column("id")?,
            created: table.time_column("created")?,
            first: table.column("firstName")?,
            last: table.column("lastName")?,
            table,
        })
    }

    fn table(&mut self) -> &mut Table {
        &mut self.table
    }

    fn row(&self) -> Result<Person, Error> {
        let name = (self.table.text(self.first).to_owned(), self.table.text(self.last).to_owned());
        Ok(Person { id: self.table.id(self.id)?, name: Some(name), created: self.table.time(self.created)? })
    }
}

pub(super) struct Knows {
    pub(super) table: Table,
    pub(super) one: usize,
    pub(super) other: usize,
    created: TimeColumn,
}

impl Rows for Knows {
    type Row = Friendship;

    fn open(path: &Path) -> Result<Self, Error> {
        let table = Table::open(path)?;
        let created = table.time_column("created")?;
        Ok(Self { one: table.column("person1")?, other: table.column("person2")?, created, table })
    }

    fn table(&mut self) -> &mut Table {
        &mut self.table
    }

    fn row(&self) -> Result<Friendship, Error> {
        let (one, other) = (self.table.id(self.one)?, self.table.id(self.other)?);
        Ok(Friendship { one, other, created: self.table.time(self.created)? })
    }
}

pub(super) struct Messages {
    pub(super) table: Table,
    pub(super) id: usize,
    pub(super) creator: usize,
    pub(super) reply_of: usize,
    created: TimeColumn,
    forum: Option<usize>,
    content: Option<usize>,
}

impl Rows for Messages {
    type Row = (Message, Option<String>);

    fn open(path: &Path) -> Result<Self, Error> {
        let table = Table::open(path)?;
        Ok(Self {
            id: table.column("id")?,
            creator: table.column("creator")?,
            reply_of: table.column("replyOf")?,
            created: table.time_column("created")?,
            forum: table.optional_column("forum"),
            content: table.optional_column("content"),
            table,
        })
    }

    fn table(&mut self) -> &mut Table {
        &mut self.table
    }

    fn row(&self) -> Result<Self::Row, Error> {
        let table = &self.table;
        let message = Message {
            id: table.id(self.id)?,
            author: table.id(self.creator)?,
            parent: table.optional_id(self.reply_of)?,
            forum: self.forum.map_or(Ok(None), |forum| table.optional_id(forum))?,
            created: table.time(self.created)?,
        };
        Ok((message, self.content.map(|content| table.text(content).to_owned())))
    }
}

pub(super) struct Likes {
    pub(super) table: Table,
    pub(super) person: usize,
    pub(super) message: usize,
    created: TimeColumn,
}

impl Rows for Likes {
    type Row = Like;

    fn open(path: &Path) -> Result<Self, Error> {
        let table = Table::open(path)?;
        let created = table.time_column("created")?;
        Ok(Self { person: table.column("person")?, message: table.column("message")?, created, table })
    }

    fn table(&mut self) -> &mut Table {
        &mut self.table
    }

    fn row(&self) -> Result<Like, Error> {
        let (person, message) = (self.table.id(self.person)?, self.table.id(self.message)?);
        Ok(Like { person, message, created: self.table.time(self.created)? })
    }
}
