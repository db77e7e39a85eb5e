use clap::CommandFactory;
use clap_complete::Shell;

use crate::error::Result;

/// Prints a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: feedmill completions bash > /etc/bash_completion.d/feedmill")]
pub(crate) struct Args {
    shell: Shell,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut crate::args::Args::command(), "feedmill", &mut script);
    Ok(std::io::Write::write_all(&mut std::io::stdout(), &script)?)
}
