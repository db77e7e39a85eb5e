//! Plays simulated worlds and tells which seeds fail.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use feedmill_clock::{Clock, SystemClock};
use feedmill_simulation::{Run, Scale, Sink};

/// Plays simulated worlds: the real engine and processors on the real local store, with everything going wrong that may.
/// A failing seed is printed and can be replayed.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// The world to play, or the first of them.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many worlds to play, one seed after the other.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// Steps of the actors in each world; without it as many as the seed says.
    #[arg(long)]
    steps: Option<u64>,
    /// Tiny worlds only: one author, two followers, two posts, two hosts.
    #[arg(long)]
    tiny: bool,
    /// Prints everything that happens: milliseconds, who, what.
    #[arg(long)]
    trace: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let began = clock.monotonic();
    let (mut failed, mut requests) = (0_u64, 0_u64);
    for seed in args.seed..args.seed.saturating_add(args.seeds) {
        let mut run = Run::new(if args.tiny { Scale::Tiny } else { Scale::Full }, seed);
        run.steps = args.steps;
        if args.trace {
            run.trace = Sink::Print;
        }
        match run.play() {
            Ok(story) => requests += story.requests,
            Err(failure) => {
                failed += 1;
                println!("seed {seed}: {failure}");
            }
        }
    }
    let took = clock.monotonic().since(began);
    println!("{} seeds, {failed} failed, {requests} requests, {took:.1?}", args.seeds);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
