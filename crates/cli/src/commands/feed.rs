use feedmill_store_api::Database;

use super::listing::{Paging, Personal};
use crate::error::Result;
use crate::names::Names;
use crate::newest::{Item, Listing};
use crate::output::{Table, excerpt};
use crate::settings::Settings;

const FEED: Listing = Listing { shown: "NOT IS_DEFINED(c.deletedAt)", then_by: ", c.postId ASC", tie: "postId" };

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
    personal(settings, &args.user).list(&args.paging, settings, print).await
}

/// The newest ones, for the demo.
pub(crate) async fn show(database: &dyn Database, settings: &Settings, user: &str, limit: usize) -> Result<()> {
    let (items, _) = personal(settings, user).page(database, None, limit).await?;
    print(database, &items).await
}

fn personal<'a>(settings: &'a Settings, user: &'a str) -> Personal<'a> {
    Personal { container: &settings.user_feed.container, listing: &FEED, command: "feed", user }
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
