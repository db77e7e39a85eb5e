use std::num::NonZeroUsize;
use std::sync::Arc;

use feedmill_clock::{Clock, SystemClock};
use feedmill_store_api::{Container, Database, PageRequest, Query, ReadLevel, Scope};

use super::listing::Paging;
use crate::error::Result;
use crate::names::Names;
use crate::newest::{Cursor, Item, Listing, newest};
use crate::output::{Lines, Table, excerpt};
use crate::settings::Settings;
use crate::store;

const SHOWN: &str = "NOT IS_DEFINED(c.deletedAt)";
const THEN_BY: &str = ", c.postId ASC";
const TIE: &str = "postId";

/// Shows a person's feed, newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: feedmill feed 17 --limit 5 --data-dir ./store")]
pub(crate) struct Args {
    /// Id of the person
    user: String,

    #[command(flatten)]
    paging: Paging,
}

pub(crate) async fn run(args: &Args, settings: &Settings) -> Result<()> {
    let Args { user, paging } = args;
    let store::Opened { database, .. } = store::open_existing(settings, Arc::new(SystemClock)).await?;
    let (items, next) = page(&*database, settings, user, paging.before.as_ref(), paging.limit).await?;
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
        Some(next) => anstream::eprintln!("more: feedmill feed {user} --before '{next}'"),
    }
    Ok(())
}

/// The newest ones, for the demo.
pub(crate) async fn show(database: &dyn Database, settings: &Settings, user: &str, limit: usize) -> Result<()> {
    let (items, _) = page(database, settings, user, None, limit).await?;
    print(database, &items).await
}

async fn page(
    database: &dyn Database,
    settings: &Settings,
    user: &str,
    before: Option<&Cursor>,
    limit: usize,
) -> Result<(Vec<Item>, Option<Cursor>)> {
    let container = store::container(database, &settings.user_feed.container).await?;
    let listing = Listing { shown: SHOWN.to_owned(), parameters: Vec::new(), then_by: THEN_BY, tie: TIE };
    let items_max = settings.user_feed.feed_items_max.map_or(usize::MAX, NonZeroUsize::get);
    let now = SystemClock.now();
    let (mut items, mut next) = newest(&*container, user.into(), &listing, now, before, limit.min(items_max)).await?;
    match before {
        None if limit >= items_max => next = None,
        Some(_) if items_max != usize::MAX => {
            let last = last(&*container, user, items_max).await?;
            let found = items.len();
            items.retain(|item| last.as_ref().is_none_or(|last| !last.is_before(item)));
            next = next.filter(|_| items.len() == found);
        }
        _ => {}
    }
    Ok((items, next))
}

/// The last item that a feed of so many shows; `None` where it has no more than those.
async fn last(container: &dyn Container, user: &str, items_max: usize) -> Result<Option<Cursor>> {
    let text = format!(
        "SELECT c.createdAt, c.postId FROM c WHERE {SHOWN} ORDER BY c.createdAt DESC{THEN_BY} OFFSET {} LIMIT 1",
        items_max - 1
    );
    let (scope, query) = (Scope::Partition(user.into()), Query::new(text));
    let mut request = PageRequest::first(1);
    loop {
        let page = container.query(&scope, &query, &request, &ReadLevel::Quorum).await?;
        if let Some(item) = page.items.first() {
            return Ok(Some(Item::read(item, TIE)?.cursor()));
        }
        match page.continuation {
            Some(continuation) => request.continuation = Some(continuation),
            None => return Ok(None),
        }
    }
}

async fn print(database: &dyn Database, items: &[Item]) -> Result<()> {
    let mut names = Names::of(database).await?;
    let mut table = Table::new(&["created", "author", "post", "text"]);
    for item in items {
        let fields = item.fields();
        let field = |name: &str| fields[name].as_str().unwrap_or_default();
        let text = match field("replyToPostId") {
            "" => excerpt(field("content")),
            parent => format!("re {parent}: {}", excerpt(field("content"))),
        };
        table.row([item.created_at.clone(), names.shown(field("authorId")).await?, field("postId").to_owned(), text]);
    }
    Ok(table.print()?)
}
