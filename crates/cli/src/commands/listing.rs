use std::sync::Arc;

use feedmill_clock::{Clock, SystemClock};
use feedmill_store_api::Database;

use crate::error::Result;
use crate::newest::{Cursor, Item, Listing, newest};
use crate::output::Lines;
use crate::settings::Settings;
use crate::store;

/// How a listing is cut and printed.
#[derive(Debug, clap::Args)]
pub(crate) struct Paging {
    /// Prints at most so many
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = limit)]
    pub(crate) limit: usize,

    /// Prints what comes after this in the list: TIME or TIME,ID, as the page before said
    #[arg(long, value_name = "CURSOR")]
    pub(crate) before: Option<Cursor>,

    /// Prints one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

fn limit(text: &str) -> std::result::Result<usize, String> {
    text.parse().ok().filter(|limit| (1..=1_000_000).contains(limit)).ok_or_else(|| "from 1 to 1000000".to_owned())
}

/// What one person has in one container, newest first; `command` lists it.
pub(crate) struct Personal<'a> {
    pub(crate) container: &'a str,
    pub(crate) listing: &'static Listing,
    pub(crate) command: &'static str,
    pub(crate) user: &'a str,
}

impl Personal<'_> {
    /// Lists a page as it was asked for. `print` is for people; JSON is the same everywhere.
    pub(crate) async fn list(
        &self,
        paging: &Paging,
        settings: &Settings,
        print: impl AsyncFnOnce(&dyn Database, &[Item]) -> Result<()>,
    ) -> Result<()> {
        let store::Opened { database, .. } = store::open_existing(settings, Arc::new(SystemClock)).await?;
        let (items, next) = self.page(&*database, paging.before.as_ref(), paging.limit).await?;
        if paging.json {
            let mut lines = Lines::to_stdout();
            for item in &items {
                lines.print_text(&item.body)?;
            }
            lines.finish()?;
        } else {
            print(&*database, &items).await?;
        }
        match next {
            None if items.is_empty() => anstream::eprintln!("nothing there"),
            None => {}
            Some(next) => anstream::eprintln!("more: feedmill {} {} --before '{next}'", self.command, self.user),
        }
        Ok(())
    }

    pub(crate) async fn page(
        &self,
        database: &dyn Database,
        before: Option<&Cursor>,
        limit: usize,
    ) -> Result<(Vec<Item>, Option<Cursor>)> {
        let container = store::container(database, self.container).await?;
        Ok(newest(&*container, self.user.into(), self.listing, SystemClock.now(), before, limit).await?)
    }
}
