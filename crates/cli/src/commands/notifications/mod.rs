mod groups;
mod told;

use std::sync::Arc;

use feedmill_clock::SystemClock;
use feedmill_store_api::Database;

use super::listing::Paging;
use crate::error::Result;
use crate::names::Names;
use crate::newest::{Cursor, Item};
use crate::output::{Lines, Table};
use crate::settings::Settings;
use crate::store;
use groups::Group;
use told::{COUNTED_MAX, Told};

/// Shows what a person was told, newest first: who reacted or replied to the same post, or follows them, together
///
/// Kinds that the person has turned off in their preferences are not shown. These are a document of the person's own in the container
/// notifications, {"id": "17:preferences", "recipientId": "17", "off": ["reaction"], "ttl": -1}, of reaction, reply and follow.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  feedmill notifications 17 --data-dir ./store
  feedmill notifications 17 --each --json --data-dir ./store")]
pub(crate) struct Args {
    /// Id of the person
    user: String,

    /// Shows each notification by itself
    #[arg(long)]
    each: bool,

    #[command(flatten)]
    paging: Paging,
}

pub(crate) async fn run(args: &Args, settings: &Settings) -> Result<()> {
    let Args { user, each, paging } = args;
    let store::Opened { database, .. } = store::open_existing(settings, Arc::new(SystemClock)).await?;
    let told = Told::of(&*database, user).await?;
    let (found, next) = if *each {
        let (items, next) = told.each(paging.before.as_ref(), paging.limit).await?;
        match paging.json {
            true => lines(items.iter(), |lines, item| lines.print_text(&item.body))?,
            false => print_each(&*database, &items).await?,
        }
        (items.len(), next)
    } else {
        let (groups, next) = groups::newest(&told, paging.before.as_ref(), paging.limit).await?;
        match paging.json {
            true => lines(groups.iter(), |lines, group| lines.print(group))?,
            false => print(&*database, &groups).await?,
        }
        (groups.len(), next)
    };
    if paging.before.is_none() {
        match told.unread().await? {
            0 => {}
            unread if unread >= COUNTED_MAX => anstream::eprintln!("{COUNTED_MAX} or more are unread"),
            unread => anstream::eprintln!("{unread} unread"),
        }
    }
    say_more(user, *each, found, next);
    Ok(())
}

/// The newest ones, for the demo.
pub(crate) async fn show(database: &dyn Database, user: &str, limit: usize) -> Result<()> {
    let (groups, _) = groups::newest(&Told::of(database, user).await?, None, limit).await?;
    print(database, &groups).await
}

fn say_more(user: &str, each: bool, found: usize, next: Option<Cursor>) {
    match next {
        None if found == 0 => anstream::eprintln!("nothing there"),
        None => {}
        Some(next) => {
            let each = if each { " --each" } else { "" };
            anstream::eprintln!("more: feedmill notifications {user}{each} --before '{next}'");
        }
    }
}

fn lines<T>(
    items: impl Iterator<Item = T>,
    print: impl Fn(&mut Lines, T) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let mut lines = Lines::to_stdout();
    for item in items {
        print(&mut lines, item)?;
    }
    lines.finish()
}

async fn print(database: &dyn Database, groups: &[Group]) -> Result<()> {
    let mut names = Names::of(database).await?;
    let mut table = Table::new(&["newest", "what", "unread"]);
    for group in groups {
        let first = names.shown(group.actor_ids.first().map_or("", String::as_str)).await?;
        let unread = if group.more { format!("{} or more", group.unread) } else { group.unread.to_string() };
        table.row([group.created_at.clone(), group.says(&first), unread]);
    }
    Ok(table.print()?)
}

async fn print_each(database: &dyn Database, items: &[Item]) -> Result<()> {
    let mut names = Names::of(database).await?;
    let mut table = Table::new(&["created", "what", "read"]);
    for item in items {
        let fields = item.fields();
        let field = |name: &str| fields[name].as_str().unwrap_or_default();
        let actor = names.shown(field("actorId")).await?;
        let what = match field("kind") {
            "reaction" => format!("{actor} reacted to {}: {}", field("postId"), field("type")),
            "reply" => format!("{actor} replied to {} with {}", field("parentPostId"), field("postId")),
            "follow" => format!("{actor} follows"),
            other => format!("{actor}: {other}"),
        };
        let read = if fields["read"] == true { "yes" } else { "no" };
        table.row([item.created_at.clone(), what, read.to_owned()]);
    }
    Ok(table.print()?)
}
