use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::{EnvFilter, fmt};

use crate::{LogFormat, Options};

#[derive(Debug, thiserror::Error)]
pub enum TracingError {
    #[error("read telemetry.log_filter {filter:?}: {source}")]
    Filter { filter: String, source: tracing_subscriber::filter::ParseError },
    #[error("start logging: a subscriber is installed already")]
    Installed,
}

/// Sends events to `writer` from now on, for the whole process.
///
/// The writer is the caller's because progress bars and log lines share one stderr.
pub fn start_tracing<W>(options: &Options, writer: W) -> Result<(), TracingError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::builder()
        .parse(&options.log_filter)
        .map_err(|source| TracingError::Filter { filter: options.log_filter.clone(), source })?;
    let lines = fmt().with_env_filter(filter).with_writer(writer).with_ansi(false);
    match options.log_format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    }
    .map_err(|_| TracingError::Installed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_malformed_filter_is_named() {
        let options = Options { log_filter: "feedmill=loud".to_owned(), ..Options::default() };
        let error = start_tracing(&options, std::io::sink).unwrap_err();
        assert!(error.to_string().contains("feedmill=loud"), "{error}");
    }
}
