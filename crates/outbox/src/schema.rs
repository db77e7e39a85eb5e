use std::borrow::Cow;

use sqlx::migrate::{Migrate, Migration, MigrationType, Migrator};
use sqlx::{PgConnection, PgPool, SqlSafeStr};

use crate::Error;
use crate::error::Attempted;

/// Forward only: a file that has been released never changes; what is wrong is put right by the next one.
const MIGRATIONS: [(i64, &str, &str); 6] = [
    (1, "canon", include_str!("../migrations/0001_canon.sql")),
    (2, "outbox", include_str!("../migrations/0002_outbox.sql")),
    (3, "access", include_str!("../migrations/0003_access.sql")),
    (4, "strays", include_str!("../migrations/0004_strays.sql")),
    (5, "mirror", include_str!("../migrations/0005_mirror.sql")),
    (6, "bytes", include_str!("../migrations/0006_bytes.sql")),
];

/// A migration that was applied now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    pub version: i64,
    pub description: String,
}

pub(crate) fn migrations() -> Vec<Migration> {
    let migration = |(version, name, sql): (i64, &'static str, &'static str)| {
        Migration::new(version, Cow::Borrowed(name), MigrationType::Simple, sql.into_sql_str(), false)
    };
    MIGRATIONS.into_iter().map(migration).collect()
}

/// Brings the connection's current schema to the newest version. Several at once take turns; a migration that fails leaves
/// nothing of itself. The connecting role owns what is made and needs to be able to create roles and extensions.
pub async fn migrate(pool: &PgPool) -> Result<Vec<Applied>, Error> {
    let mut connection = pool.acquire().await.attempted(|| "connect to migrate".to_owned())?;
    let before = applied(&mut connection).await?;
    Migrator::with_migrations(migrations()).run(&mut *connection).await.map_err(|source| Error::Migrate { source })?;
    let new = migrations().into_iter().filter(|migration| !before.contains(&migration.version));
    Ok(new.map(|migration| Applied { version: migration.version, description: migration.description.into() }).collect())
}

/// Versions of what has been applied.
async fn applied(connection: &mut PgConnection) -> Result<Vec<i64>, Error> {
    const TABLE: &str = "_sqlx_migrations";
    connection.ensure_migrations_table(TABLE).await.map_err(|source| Error::Migrate { source })?;
    let applied = connection.list_applied_migrations(TABLE).await.map_err(|source| Error::Migrate { source })?;
    Ok(applied.into_iter().map(|migration| migration.version).collect())
}
