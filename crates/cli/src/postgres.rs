use std::sync::Arc;

use feedmill_clock::Clock;
use feedmill_outbox::{Outbox, PgPool};
use secrecy::ExposeSecret;

use crate::address::Address;
use crate::error::{Failure, Result};
use crate::settings::Settings;

const WHERE: &str = "FEEDMILL_POSTGRES_URL, or the file that postgres.url_file names, says where PostgreSQL is and as whom: \
                     postgres://LOGIN:PASSWORD@HOST/DATABASE";

const ADDRESS: Address = Address {
    server: "PostgreSQL",
    variable: "FEEDMILL_POSTGRES_URL",
    setting: "postgres.url_file",
    schemes: ["postgres://", "postgresql://"],
    hint: WHERE,
};

/// Connections to the canonical database; to an outbox in it, see [`outbox`].
pub(crate) async fn connect(settings: &Settings) -> Result<PgPool> {
    let url = ADDRESS.read(&settings.postgres.url_file)?;
    // Each relay listens on one for as long as it runs; its claims have their own.
    let connections_max = settings.postgres.connections_max.max(settings.outbox.relays + 2);
    Ok(feedmill_outbox::connect(url.expose_secret(), connections_max).await?)
}

/// The outbox that the settings describe.
pub(crate) async fn outbox(settings: &Settings, clock: Arc<dyn Clock>) -> Result<Outbox> {
    Ok(Outbox::open(connect(settings).await?, settings.outbox.clone(), clock).await?)
}

impl From<feedmill_outbox::Error> for Failure {
    fn from(error: feedmill_outbox::Error) -> Self {
        use feedmill_outbox::Remedy;
        let hint = match error.remedy() {
            Remedy::Settings => {
                return Self::misuse(error, "`feedmill config show` prints the settings; those of [outbox] count here");
            }
            Remedy::Wait => {
                "try again later; if it stays like this, is PostgreSQL where FEEDMILL_POSTGRES_URL or postgres.url_file says, and the store where --data-dir says?"
            }
            Remedy::Connect => WHERE,
            Remedy::Grant => {
                "GRANT the login its role: feedmill_relay for run and sweep; feedmill_admin for status, show, retry, skip, snapshot, verify and rebuild-user-feed; migrate and schema --check are for the schema's owner"
            }
            Remedy::Migrate => {
                "`feedmill outbox migrate` makes it; names and columns of an outbox of your own are mapped in [outbox.table]"
            }
            Remedy::Upgrade => "a newer feedmill has migrated this database: use that one",
            Remedy::Look => "`feedmill outbox show --failed` lists the events that failed",
            Remedy::Report => "nothing was changed halfway; what PostgreSQL says above tells why",
        };
        Self::failed(error, hint)
    }
}
