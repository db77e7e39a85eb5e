use crate::error::Result;
use crate::postgres;
use crate::settings::Settings;

/// Brings the schema to the newest version
///
/// Forward only, each step in a transaction; several at once take turns. The login owns what is made and must be able to create roles and
/// extensions.
#[derive(Debug, clap::Args)]
pub(super) struct Args {}

pub(super) async fn run(_: &Args, settings: &Settings) -> Result<()> {
    let applied = feedmill_outbox::migrate(&postgres::connect(settings).await?).await?;
    for migration in &applied {
        anstream::println!("{:04} {}", migration.version, migration.description);
    }
    if applied.is_empty() {
        anstream::eprintln!("nothing to do: the schema is as new as this program");
    }
    Ok(())
}
