use sqlx::migrate::MigrateError;

/// Why something about the outbox could not be done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{attempt}")]
    Database { attempt: String, source: sqlx::Error },
    #[error("{attempt}")]
    Store { attempt: String, source: feedmill_store_api::Error },
    #[error("migrate the database")]
    Migrate { source: MigrateError },
    #[error("there is no table {0}")]
    NoTable(String),
    /// The settings do not fit the database, or each other.
    #[error("outbox settings: {0}")]
    Settings(String),
    #[error("there is no event {0} in the outbox")]
    NoSuchEvent(String),
    #[error("no document can be made of a canonical row of topic {topic}: {why}")]
    Unfit { topic: String, why: String },
}

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// A server is away, or busy: try again later.
    Wait,
    /// The address, or the login, is wrong.
    Connect,
    /// The login lacks a right: grant it the role that the task needs.
    Grant,
    /// The schema is older than this program.
    Migrate,
    /// The schema is newer than this program.
    Upgrade,
    /// The settings do not fit the database.
    Settings,
    /// Look up what there is.
    Look,
    /// None that is known here.
    Report,
}

impl Error {
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Database { source, .. } => remedy_of(source),
            Self::Migrate { source: MigrateError::Execute(source) } => remedy_of(source),
            Self::Migrate { source: MigrateError::VersionMissing(_) } => Remedy::Upgrade,
            Self::Migrate { .. } => Remedy::Report,
            Self::Store { .. } => Remedy::Wait,
            Self::NoTable(_) => Remedy::Migrate,
            Self::Settings(_) => Remedy::Settings,
            Self::NoSuchEvent(_) | Self::Unfit { .. } => Remedy::Look,
        }
    }

    /// Whether the same may succeed later without anybody doing anything about it.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Database { source, .. } => is_transient(source),
            Self::Store { .. } => true,
            Self::Migrate { .. } | Self::NoTable(_) | Self::Settings(_) | Self::NoSuchEvent(_) | Self::Unfit { .. } => {
                false
            }
        }
    }
}

/// Says what was attempted when a statement failed.
pub(crate) trait Attempted<T> {
    fn attempted(self, attempt: impl FnOnce() -> String) -> Result<T, Error>;
}

impl<T> Attempted<T> for Result<T, sqlx::Error> {
    fn attempted(self, attempt: impl FnOnce() -> String) -> Result<T, Error> {
        self.map_err(|source| Error::Database { attempt: attempt(), source })
    }
}

fn remedy_of(error: &sqlx::Error) -> Remedy {
    match error {
        sqlx::Error::Configuration(_) | sqlx::Error::Tls(_) | sqlx::Error::PoolTimedOut => Remedy::Connect,
        error if is_transient(error) => Remedy::Wait,
        sqlx::Error::Database(error) => match error.code().as_deref() {
            // Wrong password or login, no such database.
            Some("28000" | "28P01" | "3D000") => Remedy::Connect,
            Some("42501") => Remedy::Grant,
            // A table, column or function that is not there.
            Some("42P01" | "42703" | "42883") => Remedy::Migrate,
            _ => Remedy::Report,
        },
        _ => Remedy::Report,
    }
}

pub(crate) fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::WorkerCrashed => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| is_transient_state(&code)),
        _ => false,
    }
}

/// <https://www.postgresql.org/docs/15/errcodes-appendix.html>
fn is_transient_state(code: &str) -> bool {
    // Connection trouble, serialisation and deadlock, resources, the operator (restart, shutdown), system errors; and
    // 25P03, by which the server ends a claim that stood still for too long.
    ["08", "40", "53", "57", "58"].iter().any(|class| code.starts_with(class)) || code == "25P03" || code == "55P03"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_is_waited_out_and_a_missing_column_is_not() {
        for (code, transient) in
            [("57P01", true), ("57P03", true), ("08006", true), ("40P01", true), ("25P03", true), ("42703", false)]
        {
            assert_eq!(is_transient_state(code), transient, "{code}");
        }
    }
}
