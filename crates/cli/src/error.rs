use std::fmt;
use std::io;
use std::process::ExitCode;

use feedmill_store_api::ErrorKind;
use feedmill_telemetry::{AdminError, MetricsError, TracingError};

use crate::settings::SettingsError;

pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// Why a command did not do what was asked, and what to do next.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Exit code 1.
    Failed { error: anyhow::Error, hint: String },
    /// The command or its settings were wrong, nothing was attempted. Exit code 2.
    Misuse { error: anyhow::Error, hint: String },
    /// Whoever read stdout has seen enough: not worth a word.
    ReaderGone,
}

impl Failure {
    pub(crate) fn failed(error: impl Into<anyhow::Error>, hint: impl Into<String>) -> Self {
        Self::Failed { error: error.into(), hint: hint.into() }
    }

    pub(crate) fn misuse(error: impl Into<anyhow::Error>, hint: impl Into<String>) -> Self {
        Self::Misuse { error: error.into(), hint: hint.into() }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Failed { .. } => ExitCode::from(1),
            Self::Misuse { .. } => ExitCode::from(2),
            Self::ReaderGone => ExitCode::SUCCESS,
        }
    }
}

/// The error, what caused it, and the hint. Empty when the reader is gone.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Failed { error, hint } | Self::Misuse { error, hint }) = self else { return Ok(()) };
        writeln!(f, "error: {error}")?;
        // Some libraries print their source in their own text; saying it twice helps nobody.
        let mut said = error.to_string();
        for cause in error.chain().skip(1).map(ToString::to_string) {
            if !said.contains(&cause) {
                writeln!(f, "  because: {cause}")?;
                said = cause;
            }
        }
        writeln!(f, "hint: {hint}")
    }
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        let hint = match &error {
            SettingsError::Read { .. } => {
                "--config (or FEEDMILL_CONFIG) names a TOML file; without it the defaults hold".to_owned()
            }
            SettingsError::Unknown { nearest: Some(nearest), .. } => format!("did you mean {nearest}?"),
            SettingsError::Syntax { .. } | SettingsError::Unknown { .. } | SettingsError::Value { .. } => {
                "`feedmill config show` prints every setting with its value".to_owned()
            }
        };
        Self::misuse(error, hint)
    }
}

impl From<feedmill_store_api::Error> for Failure {
    fn from(error: feedmill_store_api::Error) -> Self {
        let hint = match error.kind() {
            ErrorKind::Unavailable | ErrorKind::Throttled { .. } => "the store cannot do it now: try again later",
            ErrorKind::Forbidden => "the store refuses: look at its permissions",
            ErrorKind::Corrupt => "what is stored cannot be understood: nothing was written over it",
            ErrorKind::NotFound => "is the store of --data-dir the right one? `feedmill demo --data-dir DIR` makes one",
            ErrorKind::Conflict | ErrorKind::Precondition | ErrorKind::Gone => {
                "somebody else changed it meanwhile: try again"
            }
            ErrorKind::Invalid => "the store refuses it as it is: the text above says what is wrong",
        };
        Self::failed(error, hint)
    }
}

impl From<AdminError> for Failure {
    fn from(error: AdminError) -> Self {
        Self::failed(error, "another --admin-port PORT; 0 takes a free one, none serves nothing")
    }
}

impl From<TracingError> for Failure {
    fn from(error: TracingError) -> Self {
        let hint = match &error {
            TracingError::Endpoint { .. } | TracingError::Scheme { .. } => {
                "such as --set telemetry.traces_endpoint=http://127.0.0.1:4318"
            }
            TracingError::Ratio { .. } => "such as --set telemetry.traces_ratio=0.01",
            TracingError::Filter { .. } | TracingError::Installed => {
                "such as --set telemetry.log_filter=info or =warn,feedmill_engine=debug"
            }
        };
        Self::misuse(error, hint)
    }
}

impl From<MetricsError> for Failure {
    fn from(error: MetricsError) -> Self {
        Self::failed(error, "--admin-port none runs without metrics")
    }
}

/// Writing to stdout. Files are reported with their name by whoever opened them.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::ReaderGone,
            _ => {
                Self::failed(anyhow::Error::new(error).context("write to stdout"), "is there space left where it goes?")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_error_causes_and_hint() {
        let error = anyhow::anyhow!("disk full").context("write posts_v2").context("load the network");
        assert_eq!(
            Failure::failed(error, "make room").to_string(),
            "error: load the network\n  because: write posts_v2\n  because: disk full\nhint: make room\n"
        );
    }

    #[test]
    fn a_reader_that_left_is_not_an_error() {
        let gone = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(matches!(gone, Failure::ReaderGone) && gone.to_string().is_empty());
        assert!(matches!(Failure::from(io::Error::other("x")), Failure::Failed { .. }));
    }
}
