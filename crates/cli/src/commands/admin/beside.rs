use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use feedmill_documents::containers;
use feedmill_engine::{Operator, Processor};
use feedmill_store_api::Database;
use serde::Serialize;

use super::versions::{self, Compared, Unequal};
use crate::error::{Failure, Result};
use crate::operating;
use crate::output::{Lines, Table};
use crate::running::Running;
use crate::settings::Settings;
use crate::{store, wiring};

/// Builds a projection anew beside the one in use, from the beginning of the feeds, and compares the two
///
/// The new one has processors and leases of its own, so it goes on where it was stopped, and what runs meanwhile is not
/// disturbed. Once it has caught up, the two are compared; what is merely in flight is no difference. Exit code 0 where they are
/// equal: then the setting that is named makes every host and reader use the new one, whose processors go on from where
/// this ended, and the old one can be deleted. Exit code 1 where they differ.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: feedmill admin rebuild-projection user-feed --into userFeed_v2 --endpoint http://127.0.0.1:8081"
)]
pub(super) struct Args {
    /// Which one. Notifications are not among them: whether one was read is nowhere but in itself
    #[arg(value_enum)]
    projection: Versioned,

    /// Container to build it in, such as userFeed_v2; made where it is missing
    #[arg(long, value_name = "CONTAINER")]
    into: String,

    /// Prints one JSON object a line
    #[arg(long)]
    json: bool,
}

/// A projection of which there may be several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Versioned {
    UserFeed,
    Counters,
}

impl Versioned {
    fn base(self) -> &'static str {
        match self {
            Self::UserFeed => containers::USER_FEED,
            Self::Counters => containers::COUNTERS,
        }
    }

    /// The setting that says which container is in use.
    fn key(self) -> &'static str {
        match self {
            Self::UserFeed => "user_feed.container",
            Self::Counters => "counters.container",
        }
    }

    fn container(self, settings: &mut Settings) -> &mut String {
        match self {
            Self::UserFeed => &mut settings.user_feed.container,
            Self::Counters => &mut settings.counters.container,
        }
    }

    fn processor(self, settings: &Settings) -> String {
        match self {
            Self::UserFeed => feedmill_user_feed::name(&settings.user_feed),
            Self::Counters => feedmill_counters::name(&settings.counters),
        }
    }
}

/// How often it is looked how far it is.
const LOOK: Duration = Duration::from_secs(1);
/// Where changes never stop, it has caught up once for so many looks nothing waited for longer than this.
const CLOSE_SECONDS: u64 = 5;
const CLOSE_LOOKS: u32 = 10;
/// Where nothing waits at all, two looks are enough: what one range wrote another has seen in the second.
const EMPTY_LOOKS: u32 = 2;

pub(super) async fn run(args: &Args, settings: &Settings) -> Result<()> {
    let (which, mut beside) = (args.projection, settings.clone());
    if !containers::is_version_of(&args.into, which.base()) {
        let error = anyhow::anyhow!("{} is no name for a version of {}", args.into, which.base());
        return Err(Failure::misuse(error, format!("such as {}_v2", which.base())));
    }
    let old = std::mem::replace(which.container(&mut beside), args.into.clone());
    if old == args.into {
        let error = anyhow::anyhow!("{old} is the one in use");
        return Err(Failure::misuse(
            error,
            format!("another name, such as {}_v2; {} says which", which.base(), which.key()),
        ));
    }
    let running = Running::prepare(settings).await?;
    let store::Opened { database, failed } = store::open_existing(settings, running.clock.clone()).await?;
    store::provision(&*database, settings).await?;
    store::provision(&*database, &beside).await?;

    let name = which.processor(&beside);
    // Beside a host that runs on this machine, and the same one again when it goes on.
    beside.host.name = format!("{}.{}", crate::host::name(settings, &running.entropy), args.into);
    let processors: Vec<_> =
        wiring::processors(&beside).into_iter().filter(|processor| processor.name == name).collect();
    let build = Build { running: &running, database: database.clone(), processors: processors.clone() };
    let engine =
        wiring::engine_of(&beside, database.clone(), running.clock.clone(), running.entropy.clone(), processors);
    let stop = running.stop.child_token();
    let compared = async {
        let compared = match stop.run_until_cancelled(build.catches_up(&beside)).await {
            Some(Ok(())) => {
                running.screen.say(&format!("{} has caught up; comparing it with {old}", args.into));
                stop.run_until_cancelled(versions::compare(&*database, &*running.clock, &old, &args.into)).await
            }
            Some(Err(failure)) => Some(Err(failure)),
            None => None,
        };
        stop.cancel();
        compared
    };
    let (ran, compared) = tokio::join!(running.process_until(engine, failed, stop.clone()), compared);
    ran?;
    let stopped = || {
        let error = anyhow::anyhow!("stopped before {} had caught up and was compared", args.into);
        Failure::failed(error, "the same command again goes on where this one stopped")
    };
    let compared = compared.ok_or_else(stopped)??;
    print(&compared, args.json)?;
    conclude(&compared, which, (&old, &args.into), &running)
}

struct Build<'a> {
    running: &'a Running,
    database: Arc<dyn Database>,
    processors: Vec<Processor>,
}

impl Build<'_> {
    async fn catches_up(&self, settings: &Settings) -> Result<()> {
        let feeds = self.processors.iter().map(|each| (each.name.clone(), each.source.clone()));
        let (clock, entropy) = (self.running.clock.clone(), self.running.entropy.clone());
        let operator = Operator::open(self.database.clone(), clock, entropy, &settings.engine, feeds);
        let operator = operator.await.map_err(operating::failed)?;
        let (mut empty, mut close) = (0, 0);
        loop {
            self.running.clock.sleep(LOOK).await;
            let waiting = self.waits(&operator).await?;
            empty = if waiting == Some((0, 0)) { empty + 1 } else { 0 };
            close = if waiting.is_some_and(|(_, seconds)| seconds <= CLOSE_SECONDS) { close + 1 } else { 0 };
            if empty >= EMPTY_LOOKS || close >= CLOSE_LOOKS {
                return Ok(());
            }
        }
    }

    /// Changes that wait and the age of the oldest; `None` while there are sources without leases.
    async fn waits(&self, operator: &Operator) -> Result<Option<(u64, u64)>> {
        let leases = operator.leases().await.map_err(operating::failed)?;
        let has_leases = |each: &Processor| leases.iter().any(|lease| lease.source == each.source);
        if !self.processors.iter().all(has_leases) {
            return Ok(None);
        }
        let (mut changes, mut seconds) = (0, 0);
        for lease in &leases {
            let lag = operator.lag(lease).await.map_err(operating::failed)?;
            (changes, seconds) = (changes + lag.changes, seconds.max(lag.seconds));
        }
        Ok(Some((changes, seconds)))
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    id: &'a str,
    difference: &'static str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    fields: &'a [String],
}

fn print(compared: &Compared, json: bool) -> std::io::Result<()> {
    let lines = compared.unequal.iter().map(|(id, unequal)| match unequal {
        Unequal::Missing => Line { id, difference: "missing", fields: &[] },
        Unequal::Extra => Line { id, difference: "extra", fields: &[] },
        Unequal::Fields(fields) => Line { id, difference: "differs", fields },
    });
    if json {
        let mut out = Lines::to_stdout();
        for line in lines {
            out.print(&line)?;
        }
        return out.finish();
    }
    if compared.unequal.is_empty() {
        return Ok(());
    }
    let mut table = Table::new(&["id", "in the new one", "fields"]);
    for line in lines {
        table.row([line.id.to_owned(), line.difference.to_owned(), line.fields.join(", ")]);
    }
    table.print()
}

fn conclude(compared: &Compared, which: Versioned, (old, new): (&str, &str), running: &Running) -> Result<()> {
    let count = |is: fn(&Unequal) -> bool| compared.unequal.values().filter(|unequal| is(unequal)).count();
    let missing = count(|unequal| matches!(unequal, Unequal::Missing));
    let extra = count(|unequal| matches!(unequal, Unequal::Extra));
    let differ = compared.unequal.len() - missing - extra;
    running.screen.say(&format!(
        "{old} and {new}: {} documents compared, {missing} missing in {new}, {extra} extra, {differ} different",
        compared.documents
    ));
    if compared.more {
        running.screen.say("and more differences");
    }
    if compared.unequal.is_empty() {
        running.screen.say(&format!("{} = \"{new}\" makes hosts and readers use it", which.key()));
        return Ok(());
    }
    let hint = "the new one is as the sources say: `feedmill verify` says of the old one what is wrong with it";
    Err(Failure::failed(anyhow::anyhow!("{} documents differ", compared.unequal.len()), hint))
}
