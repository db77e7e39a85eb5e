//! Plays simulated worlds and tells which seeds fail.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use feedmill_clock::{Clock, SystemClock};
use feedmill_simulation::{Mutant, Run, Scale, Sink};

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
    /// Tiny worlds only: one author, two followers, two posts, two hosts. Without it and `--full`, even seeds play tiny worlds
    /// and odd ones full ones.
    #[arg(long, conflicts_with_all = ["full", "mutant", "mutants"])]
    tiny: bool,
    /// Full worlds only: several hosts with whole engines.
    #[arg(long, conflicts_with_all = ["mutant", "mutants"])]
    full: bool,
    /// Full worlds only whose hosts begin at the same time, while what they read is split.
    #[arg(long, conflicts_with_all = ["tiny", "full", "mutant", "mutants"])]
    opening: bool,
    /// Full worlds only whose hosts go away for about as long as others need to count them as dead, and come back.
    #[arg(long = "return", conflicts_with_all = ["tiny", "full", "opening", "mutant", "mutants"])]
    returns: bool,
    /// Switches off one rule; its name is one of those that `--mutants` prints.
    #[arg(long, conflicts_with = "mutants")]
    mutant: Option<String>,
    /// Switches off each rule in turn, and prints how many seeds it takes to notice: from `--seed` on, as many as are stated
    /// for it.
    #[arg(long, conflicts_with = "seeds")]
    mutants: bool,
    /// Prints everything that happens: milliseconds, who, what.
    #[arg(long)]
    trace: bool,
}

impl Args {
    fn scale(&self) -> Option<Scale> {
        let asked = [
            (self.tiny, Scale::Tiny),
            (self.full, Scale::Full),
            (self.opening, Scale::Opening),
            (self.returns, Scale::Return),
        ];
        asked.into_iter().find_map(|(is_asked, scale)| is_asked.then_some(scale))
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    if args.mutants {
        return measure(&args);
    }
    let mutant = args.mutant.as_ref().map(|name| Mutant::ALL.into_iter().find(|mutant| mutant.name == name));
    if let Some(None) = mutant {
        eprintln!("there is no such rule; --mutants prints them all");
        return ExitCode::from(2);
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let began = clock.monotonic();
    let (mut failed, mut requests, mut tiny) = (0_u64, 0_u64, 0_u64);
    for seed in args.seed..args.seed.saturating_add(args.seeds) {
        let scale = args.scale().unwrap_or(Scale::of(seed));
        let mut run = mutant.flatten().map_or_else(|| Run::new(scale, seed), |mutant| Run::of(mutant, seed));
        run.steps = args.steps;
        tiny += u64::from(run.scale == Scale::Tiny);
        if args.trace {
            run.trace = Sink::Print;
        }
        match run.play() {
            Ok(story) => requests += story.requests,
            Err(failure) => {
                failed += 1;
                println!("seed {seed} of {:?}: {failure}", run.scale);
            }
        }
    }
    let took = clock.monotonic().since(began);
    println!("{} seeds, {tiny} of them tiny, {failed} failed, {requests} requests, {took:.1?}", args.seeds);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// A row for each rule. Fails where one is missed for longer than it says.
fn measure(args: &Args) -> ExitCode {
    println!("| switched off | world | first seed that notices | seeds that notice | of |");
    println!("|---|---|---|---|---|");
    let mut missed = false;
    for mutant in Mutant::ALL {
        let Mutant { name, scale, seeds_max, .. } = mutant;
        let seeds = args.seed..args.seed.saturating_add(seeds_max);
        let noticed: Vec<u64> = seeds.filter(|seed| Run::of(mutant, *seed).play().is_err()).collect();
        let first = noticed.first().map_or("none".to_owned(), u64::to_string);
        println!("| {name} | {scale:?} | {first} | {} | {seeds_max} |", noticed.len());
        missed |= noticed.is_empty();
    }
    if missed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
