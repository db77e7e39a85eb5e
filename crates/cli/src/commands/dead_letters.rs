use std::sync::Arc;

use clap::Subcommand;
use feedmill_engine::{DeadLetters, Letter, LetterFilter, LetterState, Writer};
use feedmill_store_api::{Database, DocumentId};

use crate::error::{Failure, Result};
use crate::output::{Lines, Table};
use crate::running::Running;
use crate::settings::Settings;
use crate::{store, wiring};

/// Shows, replays and drops changes that could not be applied
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Lists them
    #[command(after_help = "Example: feedmill dead-letters list --processor user-feed --data-dir ./store")]
    List {
        #[command(flatten)]
        filter: Filter,
        /// Prints at most so many
        #[arg(long, value_name = "N", default_value_t = 100)]
        limit: usize,
        /// Prints one JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// Shows one with its document
    Show {
        /// As the list prints it
        id: String,
    },
    /// Tries them now, from their documents as they are now
    ///
    /// A letter that is applied is closed: its change has landed where it would have. Exit code 1 where one still fails.
    Replay(Chosen),
    /// Removes them: nobody tries them again
    Drop {
        #[command(flatten)]
        some: Chosen,
        /// Does not ask
        #[arg(long)]
        yes: bool,
    },
}

/// Which letters.
#[derive(Debug, clap::Args)]
struct Chosen {
    /// As the list prints it; without one all that the filters leave
    id: Option<String>,

    #[command(flatten)]
    filter: Filter,
}

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Filters")]
struct Filter {
    /// Of this processor, such as user-feed
    #[arg(long, value_name = "NAME")]
    processor: Option<String>,

    /// Of changes of this container
    #[arg(long, value_name = "NAME")]
    container: Option<String>,

    /// In this state; all that are not closed where it is not given
    #[arg(long, value_enum)]
    state: Option<State>,

    /// Whose error has this text in it
    #[arg(long, value_name = "TEXT")]
    error: Option<String>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum State {
    Retrying,
    Dead,
    Closed,
}

impl Filter {
    fn filter(&self) -> LetterFilter {
        let state = self.state.map(|state| match state {
            State::Retrying => LetterState::Retrying,
            State::Dead => LetterState::Dead,
            State::Closed => LetterState::Closed,
        });
        LetterFilter {
            processor: self.processor.clone(),
            container: self.container.clone(),
            state,
            error: self.error.clone(),
        }
    }
}

struct Desk {
    settings: Settings,
    running: Running,
    database: Arc<dyn Database>,
    letters: DeadLetters,
}

pub(crate) async fn run(args: &Args, settings: Settings) -> Result<()> {
    let running = Running::prepare(&settings).await?;
    let store::Opened { database, .. } = store::open_existing(&settings, running.clock.clone()).await?;
    let (clock, entropy) = (running.clock.clone(), running.entropy.clone());
    let letters = DeadLetters::open(&*database, &settings.engine, clock, entropy).await?;
    let desk = Desk { settings, running, database, letters };
    match &args.command {
        Command::List { filter, limit, json } => desk.list(filter, *limit, *json).await,
        Command::Show { id } => desk.show(id).await,
        Command::Replay(some) => desk.replay(some).await,
        Command::Drop { some, yes } => desk.drop(some, *yes).await,
    }
}

impl Desk {
    /// Those that are wanted, `limit` at most, page by page.
    async fn some(&self, filter: &Filter, limit: usize) -> Result<Vec<Letter>> {
        let (wanted, mut letters, mut continuation) = (filter.filter(), Vec::new(), None);
        loop {
            let (page, next) = self.letters.list(&wanted, continuation).await?;
            let open = |letter: &Letter| wanted.state.is_some() || letter.state != LetterState::Closed;
            letters.extend(page.into_iter().filter(open).take(limit - letters.len()));
            match next {
                Some(next) if letters.len() < limit => continuation = Some(next),
                _ => return Ok(letters),
            }
        }
    }

    async fn list(&self, filter: &Filter, limit: usize, json: bool) -> Result<()> {
        let letters = self.some(filter, limit).await?;
        if json {
            let mut lines = Lines::to_stdout();
            for letter in &letters {
                lines.print(letter)?;
            }
            return Ok(lines.finish()?);
        }
        let mut table = Table::new(&["id", "state", "attempts", "last failed", "error"]);
        for letter in &letters {
            let error = letter.error.chars().take(100).collect();
            let (state, failed) = (word(letter.state).to_owned(), format!("{:.0}", letter.last_failed_at));
            table.row([letter.id.clone(), state, letter.attempts.to_string(), failed, error]);
        }
        table.print()?;
        if letters.is_empty() {
            anstream::eprintln!("nothing there");
        }
        Ok(())
    }

    async fn show(&self, id: &str) -> Result<()> {
        // As a value, so that the document in it is laid out as well.
        let letter = serde_json::to_value(self.one(id).await?).expect("a letter is JSON");
        let mut lines = Lines::to_stdout();
        lines.print_text(&serde_json::to_vec_pretty(&letter).expect("a letter is JSON"))?;
        Ok(lines.finish()?)
    }

    async fn one(&self, id: &str) -> Result<Letter> {
        let missing = || {
            Failure::failed(anyhow::anyhow!("there is no dead letter {id}"), "`feedmill dead-letters list` shows them")
        };
        let document = DocumentId::new(id).map_err(|_| missing())?;
        self.letters.read(&document).await?.ok_or_else(missing)
    }

    async fn chosen(&self, some: &Chosen) -> Result<Vec<Letter>> {
        match &some.id {
            Some(id) => Ok(vec![self.one(id).await?]),
            None => self.some(&some.filter, usize::MAX).await,
        }
    }

    async fn replay(&self, some: &Chosen) -> Result<()> {
        let (clock, entropy) = (self.running.clock.clone(), self.running.entropy.clone());
        let writer = Writer::new(self.database.clone(), clock, entropy, self.settings.engine.settle.clone());
        let processors = wiring::processors(&self.settings);
        let (mut applied, mut failed) = (0, 0);
        for letter in self.chosen(some).await? {
            let is_its = |processor: &&feedmill_engine::Processor| {
                processor.name == letter.processor && processor.source == letter.container
            };
            let Some(processor) = processors.iter().find(is_its) else {
                failed += 1;
                self.running.screen.say(&format!("{}: there is no such processor in these settings", letter.id));
                continue;
            };
            match self.letters.replay(&letter, processor, &*self.database, &writer).await? {
                None => applied += 1,
                Some(reason) => {
                    failed += 1;
                    self.running.screen.say(&format!("{}: {reason}", letter.id));
                }
            }
        }
        self.running.screen.say(&format!("{applied} applied, {failed} still fail"));
        match failed {
            0 => Ok(()),
            _ => Err(Failure::failed(
                anyhow::anyhow!("{failed} still fail"),
                "mend what the text above names and replay, or drop them",
            )),
        }
    }

    async fn drop(&self, some: &Chosen, yes: bool) -> Result<()> {
        let letters = self.chosen(some).await?;
        if !yes {
            let error = anyhow::anyhow!("{} dead letters would be removed for good", letters.len());
            return Err(Failure::misuse(error, "--yes removes them"));
        }
        let mut dropped = 0;
        for letter in letters {
            let id = DocumentId::new(letter.id).map_err(|error| Failure::failed(error, "export shows it as it is"))?;
            dropped += u64::from(self.letters.drop(&id).await?);
        }
        self.running.screen.say(&format!("{dropped} dropped"));
        Ok(())
    }
}

fn word(state: LetterState) -> &'static str {
    match state {
        LetterState::Retrying => "retrying",
        LetterState::Dead => "dead",
        LetterState::Closed => "closed",
    }
}
