use std::sync::Arc;

use clap::ValueEnum;
use feedmill_clock::Clock;
use feedmill_engine::{Difference, SettleError};
use feedmill_outbox::{Canon, Rows};
use feedmill_store_api::{Error as StoreError, ErrorKind};
use feedmill_user_feed::{CANON, Found};
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::error::{Failure, Result};
use crate::postgres;
use crate::settings::Settings;

/// What a projection is computed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Origin {
    /// The source documents, as the processors do
    Store,
    /// The canonical tables that `feedmill outbox migrate` makes, whatever has become of the documents; --all is everybody in them, and only what
    /// differs is written
    Postgres,
}

/// The canonical tables, as feeds are computed from them.
#[derive(Clone)]
pub(crate) struct Canonical(Canon);

impl Canonical {
    pub(super) async fn open(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Self> {
        Ok(Self(Canon::new(postgres::outbox(settings, clock).await?)))
    }

    pub(super) async fn people(&self, after: Option<&str>) -> Result<Vec<String>> {
        Ok(self.0.people(after).await?)
    }

    /// Fails with the first of these whom the tables do not know.
    pub(super) async fn know(&self, users: &[String]) -> Result<()> {
        for some in users.chunks(1_000) {
            if let Some(user) = self.0.strangers(some).await?.first() {
                return Err(Failure::failed(
                    anyhow::anyhow!("the canonical tables know no user {user}"),
                    "is it the right database? Ids are UUIDs in lower case, as PostgreSQL writes them",
                ));
            }
        }
        Ok(())
    }

    /// Which of these differences an event may explain that is still to be relayed.
    pub(super) async fn waiting(&self, differences: &[&Difference]) -> Result<Vec<bool>> {
        let keys = |difference: &Difference| -> Vec<String> {
            let of_row =
                difference.sources.iter().filter_map(|source| Some((source.0.strip_prefix(CANON)?, &source.1)));
            of_row.map(|(topic, id)| format!("{topic}:{id}")).collect()
        };
        let mut waiting = Vec::with_capacity(differences.len());
        for some in differences.chunks(1_000) {
            let keys: Vec<_> = some.iter().map(|difference| keys(difference)).collect();
            let waits = self.0.waiting(&keys.concat()).await?;
            waiting.extend(keys.iter().map(|keys| keys.iter().any(|key| waits.contains(key))));
        }
        Ok(waiting)
    }

    async fn documents(&self, rows: Rows, wanted: &[(&str, &str)]) -> Found {
        self.0.documents(rows, wanted).await.map_err(settling)
    }
}

impl feedmill_user_feed::Canon for Canonical {
    fn followed<'a>(
        &'a self,
        follower: &'a str,
        after: Option<&'a str>,
    ) -> BoxFuture<'a, std::result::Result<Vec<String>, SettleError>> {
        async move { self.0.followed(follower, after).await.map_err(settling) }.boxed()
    }

    fn posts_by<'a>(
        &'a self,
        author: &'a str,
        after: Option<&'a str>,
    ) -> BoxFuture<'a, std::result::Result<Vec<String>, SettleError>> {
        async move { self.0.posts_by(author, after).await.map_err(settling) }.boxed()
    }

    fn posts<'a>(&'a self, wanted: &'a [(&'a str, &'a str)]) -> BoxFuture<'a, Found> {
        self.documents(Rows::Posts, wanted).boxed()
    }

    fn follows<'a>(&'a self, wanted: &'a [(&'a str, &'a str)]) -> BoxFuture<'a, Found> {
        self.documents(Rows::Follows, wanted).boxed()
    }

    fn blocks<'a>(&'a self, wanted: &'a [(&'a str, &'a str)]) -> BoxFuture<'a, Found> {
        self.documents(Rows::Blocks, wanted).boxed()
    }
}

fn settling(error: feedmill_outbox::Error) -> SettleError {
    match error {
        feedmill_outbox::Error::Unfit { .. } => SettleError::Invalid(error.to_string()),
        error => SettleError::Store(StoreError::new(ErrorKind::Unavailable, error.to_string()).with_source(error)),
    }
}
