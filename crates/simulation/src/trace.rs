use std::sync::Arc;

use feedmill_clock::{Clock, ManualClock, Monotonic};
use parking_lot::Mutex;

/// What happened, a line an event: milliseconds since the beginning, who, what.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    clock: ManualClock,
    sink: Sink,
}

/// Where lines go.
#[derive(Clone, Debug, Default)]
pub enum Sink {
    #[default]
    Nowhere,
    /// Kept, for comparing two runs.
    Lines(Arc<Mutex<Vec<String>>>),
    /// Standard output, at once, so that a run which hangs shows where.
    Print,
}

impl Trace {
    pub(crate) fn new(clock: &ManualClock, sink: &Sink) -> Self {
        Self { clock: clock.clone(), sink: sink.clone() }
    }

    /// `what` is not called where nobody reads it.
    pub(crate) fn say(&self, who: &str, what: impl FnOnce() -> String) {
        if matches!(self.sink, Sink::Nowhere) {
            return;
        }
        let at = self.clock.monotonic().since(Monotonic::from_origin(std::time::Duration::ZERO));
        let line = format!("{:12.3}  {who:<10}  {}", at.as_secs_f64() * 1_000.0, what());
        match &self.sink {
            Sink::Nowhere => {}
            Sink::Lines(lines) => lines.lock().push(line),
            Sink::Print => println!("{line}"),
        }
    }
}
