use feedmill_documents::containers::NOTIFICATIONS;
use feedmill_store_api::Database;

use super::listing::{Paging, Personal};
use crate::error::Result;
use crate::names::Names;
use crate::newest::{Item, Listing};
use crate::output::Table;
use crate::settings::Settings;

/// A withdrawn one stays until it expires, so that like, unlike, like tells nobody twice; nobody sees it. And the store may still
/// have what is past its time.
const TOLD: Listing = Listing {
    shown: "NOT IS_DEFINED(c.deletedAt) AND c.withdrawn = false AND (NOT IS_DEFINED(c.expiresAt) OR c.expiresAt > @now)",
    then_by: "",
    tie: "id",
};

/// Shows what a person was told, newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: feedmill notifications 17 --json --data-dir ./store")]
pub(crate) struct Args {
    /// Id of the person
    user: String,

    #[command(flatten)]
    paging: Paging,
}

pub(crate) async fn run(args: &Args, settings: &Settings) -> Result<()> {
    personal(&args.user).list(&args.paging, settings, print).await
}

/// The newest ones, for the demo.
pub(crate) async fn show(database: &dyn Database, user: &str, limit: usize) -> Result<()> {
    let (items, _) = personal(user).page(database, None, limit).await?;
    print(database, &items).await
}

fn personal(user: &str) -> Personal<'_> {
    Personal { container: NOTIFICATIONS, listing: &TOLD, command: "notifications", user }
}

async fn print(database: &dyn Database, items: &[Item]) -> Result<()> {
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
