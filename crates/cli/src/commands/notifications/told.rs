use std::sync::Arc;

use feedmill_clock::{Clock, SystemClock};
use feedmill_documents::containers::NOTIFICATIONS;
use feedmill_documents::notification::{self, Kind, Preferences};
use feedmill_store_api::{Container, Database, Error, ErrorKind, ReadLevel, Result};

use super::groups::Subject;
use crate::newest::{Cursor, Item, Listing, newest};
use crate::store;

/// Of more than so many unread ones, or members of one group, it is only said that there are more: what is counted is read.
pub(super) const COUNTED_MAX: usize = 100;

/// A withdrawn one stays until it expires, so that like, unlike, like tells nobody twice; nobody sees it. And the store may still
/// have what is past its time.
const SHOWN: &str =
    "NOT IS_DEFINED(c.deletedAt) AND c.withdrawn = false AND (NOT IS_DEFINED(c.expiresAt) OR c.expiresAt > @now)";

/// What one person is shown of what they were told.
///
/// Preferences are applied here and nowhere else: what is turned off is hidden at once and costs its recipient no write, and turned
/// on again all is there as it would have been, with what was read. A page costs one point read more for it.
pub(super) struct Told<'a> {
    container: Arc<dyn Container>,
    user: &'a str,
    off: Vec<Kind>,
    now: jiff::Timestamp,
}

impl<'a> Told<'a> {
    pub(super) async fn of(database: &dyn Database, user: &'a str) -> crate::error::Result<Self> {
        let container = store::container(database, NOTIFICATIONS).await?;
        let off = off(&*container, user).await?;
        Ok(Self { container, user, off, now: SystemClock.now() })
    }

    /// Each by itself.
    pub(super) async fn each(&self, before: Option<&Cursor>, limit: usize) -> Result<(Vec<Item>, Option<Cursor>)> {
        self.newest(self.listing(), before, limit).await
    }

    /// Each that is about none of these.
    pub(super) async fn but(
        &self,
        known: &[Subject],
        before: Option<&Cursor>,
        limit: usize,
    ) -> Result<(Vec<Item>, Option<Cursor>)> {
        let mut listing = self.listing();
        for (number, subject) in known.iter().enumerate() {
            let is = about(subject, number, &mut listing);
            listing.shown.push_str(&format!(" AND NOT ({is})"));
        }
        self.newest(listing, before, limit).await
    }

    /// Those about one subject, so many that they can be counted, and whether there are more.
    pub(super) async fn about(&self, subject: &Subject) -> Result<(Vec<Item>, bool)> {
        let mut listing = self.listing();
        let is = about(subject, 0, &mut listing);
        listing.shown.push_str(&format!(" AND {is}"));
        let (items, next) = self.newest(listing, None, COUNTED_MAX).await?;
        Ok((items, next.is_some()))
    }

    /// How many are unread, up to [`COUNTED_MAX`].
    pub(super) async fn unread(&self) -> Result<usize> {
        let mut listing = self.listing();
        listing.shown.push_str(" AND c.read != true");
        Ok(self.newest(listing, None, COUNTED_MAX).await?.0.len())
    }

    fn listing(&self) -> Listing {
        let mut shown = SHOWN.to_owned();
        for kind in &self.off {
            shown.push_str(&format!(" AND c.kind != '{kind}'"));
        }
        Listing { shown, parameters: Vec::new(), then_by: "", tie: "id" }
    }

    async fn newest(
        &self,
        listing: Listing,
        before: Option<&Cursor>,
        limit: usize,
    ) -> Result<(Vec<Item>, Option<Cursor>)> {
        newest(&*self.container, self.user.into(), &listing, self.now, before, limit).await
    }
}

/// The condition that a notification is about this.
fn about(subject: &Subject, number: usize, listing: &mut Listing) -> String {
    let field = match subject.kind {
        Kind::Reaction => "postId",
        Kind::Reply => "parentPostId",
        Kind::Follow => return "c.kind = 'follow'".to_owned(),
    };
    let name = format!("@subject{number}");
    let is = format!("c.kind = '{}' AND c.{field} = {name}", subject.kind);
    listing.parameters.push((name, subject.id.clone().into()));
    is
}

/// Kinds that the person has turned off.
async fn off(container: &dyn Container, user: &str) -> Result<Vec<Kind>> {
    // Who has no such id has no notifications either.
    let Ok(id) = notification::preferences_id(user) else { return Ok(Vec::new()) };
    let (found, _) = container.read(&user.into(), &id, &ReadLevel::Quorum).await?;
    let Some(found) = found else { return Ok(Vec::new()) };
    let preferences: Preferences = found.parse().map_err(|error| {
        Error::new(ErrorKind::Corrupt, format!("read the preferences {id} of {NOTIFICATIONS}")).with_source(error)
    })?;
    Ok(preferences.off)
}
