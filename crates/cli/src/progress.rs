use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use feedmill_clock::Clock;
use feedmill_engine::{RangeStatus, Status};
use indicatif::{HumanCount, MultiProgress, ProgressBar, ProgressStyle};

/// How often bars move.
const BARS: Duration = Duration::from_millis(200);
/// How often a line is written where nobody watches bars.
const LINES: Duration = Duration::from_secs(5);

/// Stderr, shared by bars, talk and log lines.
#[derive(Clone)]
pub(crate) struct Screen {
    bars: MultiProgress,
    terminal: bool,
}

impl Screen {
    /// Draws bars only on a terminal.
    pub(crate) fn new() -> Self {
        Self { bars: MultiProgress::new(), terminal: io::stderr().is_terminal() }
    }

    pub(crate) fn say(&self, text: &str) {
        self.bars.suspend(|| anstream::eprintln!("{text}"));
    }

    /// A bar that counts what has no known end.
    pub(crate) fn counting(&self, name: &str) -> ProgressBar {
        let style = ProgressStyle::with_template("{prefix:>14} {spinner} {human_pos} in {elapsed}")
            .expect("the template above is well-formed");
        self.bars.add(ProgressBar::new_spinner().with_style(style).with_prefix(name.to_owned()))
    }

    /// For log lines: bars step aside for each.
    pub(crate) fn log_writer(&self) -> impl Fn() -> LogWriter + Send + Sync + 'static {
        let bars = self.bars.clone();
        move || LogWriter(bars.clone())
    }
}

pub(crate) struct LogWriter(MultiProgress);

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// How far a loader is; clones are one.
#[derive(Clone, Debug)]
pub(crate) struct Loading {
    done: Arc<AtomicU64>,
    total: u64,
}

impl Loading {
    pub(crate) fn of(total: u64) -> Self {
        Self { done: Arc::default(), total }
    }

    pub(crate) fn reached(&self, done: u64) {
        self.done.store(done, Ordering::Relaxed);
    }

    fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }
}

/// Shows how far everything is until it is dropped; never completes.
pub(crate) async fn watch(screen: &Screen, clock: &dyn Clock, status: &Status, loading: Option<&Loading>) {
    if screen.terminal {
        let mut bars = Bars::new(screen.bars.clone(), loading);
        loop {
            bars.draw(&sums(&status.ranges()), loading);
            clock.sleep(BARS).await;
        }
    }
    let began = clock.monotonic();
    loop {
        clock.sleep(LINES).await;
        let seconds = clock.monotonic().since(began).as_secs();
        screen.say(&line(seconds, &sums(&status.ranges()), loading));
    }
}

/// Shows what `shown` says until it is dropped: on a terminal as one line that changes; never completes.
pub(crate) async fn tell(screen: &Screen, clock: &dyn Clock, shown: impl Fn() -> String) {
    if screen.terminal {
        let spinner = Spinner(screen.bars.add(ProgressBar::new_spinner()));
        loop {
            spinner.0.set_message(shown());
            spinner.0.tick();
            clock.sleep(BARS).await;
        }
    }
    let began = clock.monotonic();
    loop {
        clock.sleep(LINES).await;
        screen.say(&format!("{} s · {}", clock.monotonic().since(began).as_secs(), shown()));
    }
}

/// Leaves nothing behind.
struct Spinner(ProgressBar);

impl Drop for Spinner {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// All ranges of one processor together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sum {
    delivered: u64,
    /// `None` while a range has not said.
    behind: Option<u64>,
    per_second: f64,
}

fn sums(ranges: &[RangeStatus]) -> BTreeMap<&str, Sum> {
    let mut sums = BTreeMap::new();
    for range in ranges {
        let sum = sums.entry(range.processor.as_str()).or_insert(Sum { behind: Some(0), ..Sum::default() });
        sum.delivered += range.delivered;
        sum.behind = sum.behind.zip(range.lag_changes).map(|(sum, more)| sum + more);
        sum.per_second += range.changes_per_second;
    }
    sums
}

fn line(seconds: u64, sums: &BTreeMap<&str, Sum>, loading: Option<&Loading>) -> String {
    let mut parts = vec![format!("{seconds} s")];
    if let Some(loading) = loading {
        parts.push(format!("loaded {} of {}", HumanCount(loading.done()), HumanCount(loading.total)));
    }
    for (processor, sum) in sums {
        let behind = sum.behind.map_or("?".to_owned(), |behind| HumanCount(behind).to_string());
        parts.push(format!("{processor} {} done, {behind} behind", HumanCount(sum.delivered)));
    }
    parts.join(" · ")
}

/// A bar for the loader and one for each processor.
struct Bars {
    all: MultiProgress,
    loader: Option<ProgressBar>,
    processors: BTreeMap<String, ProgressBar>,
}

impl Bars {
    fn new(all: MultiProgress, loading: Option<&Loading>) -> Self {
        let loader = loading.map(|loading| all.add(bar("loading", Some(loading.total))));
        Self { all, loader, processors: BTreeMap::new() }
    }

    fn draw(&mut self, sums: &BTreeMap<&str, Sum>, loading: Option<&Loading>) {
        if let (Some(bar), Some(loading)) = (&self.loader, loading) {
            bar.set_position(loading.done());
        }
        for (&processor, sum) in sums {
            let bar = self.processors.entry(processor.to_owned()).or_insert_with(|| self.all.add(bar(processor, None)));
            bar.set_length(sum.delivered + sum.behind.unwrap_or(0));
            bar.set_position(sum.delivered);
            bar.set_message(format!("{}/s", HumanCount(sum.per_second as u64)));
        }
    }
}

impl Drop for Bars {
    fn drop(&mut self) {
        // What they said is said again, better, by whoever comes next.
        for bar in self.processors.values().chain(&self.loader) {
            bar.finish_and_clear();
        }
    }
}

fn bar(name: &str, total: Option<u64>) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:>14} {bar:30} {human_pos:>10} of {human_len:<10} {msg}")
        .expect("the template above is well-formed");
    ProgressBar::new(total.unwrap_or(0)).with_style(style).with_prefix(name.to_owned())
}
