//! The `feedmill` command: settings, wiring, commands. Everything that reads files or the environment is here.
//!
//! Read `args.rs` for what can be asked, `wiring.rs` for how the parts meet, `commands/` for what each command does.

mod account;
mod address;
mod args;
mod commands;
mod confirm;
mod containers;
mod error;
mod figures;
mod host;
mod line;
mod names;
mod newest;
mod operating;
mod output;
mod postgres;
mod progress;
mod redis;
mod running;
mod settings;
mod signals;
mod store;
mod wiring;

use std::process::ExitCode;

use clap::Parser;

/// Documents are many small allocations on many threads; the system's allocator costs a fifth of the throughput there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = args::Args::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            anstream::eprintln!("error: start the runtime: {error}\nhint: are there threads left for this user?");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(commands::dispatch(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            anstream::eprint!("{failure}");
            failure.exit_code()
        }
    }
}
