use feedmill_outbox::Drift;
use serde::Serialize;

use crate::error::{Failure, Result};
use crate::output::{Lines, Table};
use crate::postgres;
use crate::settings::Settings;

/// Compares the live schema with what the migrations make; fails where it drifted
///
/// Tables and functions that the migrations do not know are not looked at. Changes nothing; needs the right to create a schema, which is
/// rolled back.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Compares; there is nothing else to do with a schema yet
    #[arg(long, required = true)]
    check: bool,

    /// Prints one JSON object a line
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Shown<'a> {
    object: &'a str,
    /// Null: the migrations do not make it.
    expected: Option<&'a str>,
    /// Null: it is missing.
    found: Option<&'a str>,
}

pub(super) async fn run(args: &Args, settings: &Settings) -> Result<()> {
    let drifts = feedmill_outbox::check(&postgres::connect(settings).await?).await?;
    if args.json {
        let mut lines = Lines::to_stdout();
        for Drift { object, expected, found } in &drifts {
            lines.print(&Shown { object, expected: expected.as_deref(), found: found.as_deref() })?;
        }
        lines.finish()?;
    } else if !drifts.is_empty() {
        let mut table = Table::new(&["object", "expected", "found"]);
        for Drift { object, expected, found } in &drifts {
            let said = |side: &Option<String>| {
                side.as_deref().map_or("nothing", |text| if text.is_empty() { "it" } else { text }).to_owned()
            };
            table.row([object.clone(), said(expected), said(found)]);
        }
        table.print()?;
    }
    match drifts.len() {
        0 => {
            anstream::eprintln!("the schema is as the migrations make it");
            Ok(())
        }
        some => Err(Failure::failed(
            anyhow::anyhow!("{some} objects are not as the migrations make them"),
            "`feedmill outbox migrate` adds what a newer version brings; what was changed by hand is put back by hand",
        )),
    }
}
