use std::io::{self, BufWriter, StdoutLock, Write};

use serde::Serialize;

/// Objects on stdout, one a line.
pub(crate) struct Lines(BufWriter<StdoutLock<'static>>);

impl Lines {
    pub(crate) fn to_stdout() -> Self {
        Self(BufWriter::new(io::stdout().lock()))
    }

    pub(crate) fn print<T: Serialize>(&mut self, object: &T) -> io::Result<()> {
        serde_json::to_writer(&mut self.0, object)?;
        self.0.write_all(b"\n")
    }

    /// A text that is JSON already.
    pub(crate) fn print_text(&mut self, text: &[u8]) -> io::Result<()> {
        self.0.write_all(text)?;
        self.0.write_all(b"\n")
    }

    /// Says whether all of it went out.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.0.flush()
    }
}
