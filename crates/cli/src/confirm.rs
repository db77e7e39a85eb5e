use std::io::IsTerminal;

use crate::error::{Failure, Result};

/// Asks on a terminal. Where nobody is there to be asked, and after a no, nothing is done: exit code 2.
pub(crate) fn confirm(question: &str) -> Result<()> {
    let refused = |why: &'static str| Err(Failure::misuse(anyhow::anyhow!(why), "--yes does not ask"));
    if !std::io::stdin().is_terminal() {
        return refused("nobody is there to be asked");
    }
    anstream::eprint!("{question} [y/N] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") { Ok(()) } else { refused("nothing was done") }
}
