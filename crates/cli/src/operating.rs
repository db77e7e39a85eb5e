use std::sync::Arc;

use feedmill_clock::{Entropy, SystemClock};
use feedmill_engine::{DeadLetters, LeaseRecord, Operator};

use crate::error::{Failure, Result};
use crate::settings::Settings;
use crate::{store, wiring};

/// The leases of all processors in the store of the settings.
pub(crate) async fn operator(settings: &Settings) -> Result<Operator> {
    Ok(open(settings).await?.0)
}

/// The same, and the dead letters.
pub(crate) async fn open(settings: &Settings) -> Result<(Operator, DeadLetters)> {
    let clock = Arc::new(SystemClock);
    let database = store::open_existing(settings, clock.clone()).await?.database;
    let entropy = Entropy::from_os()
        .map_err(|error| Failure::failed(anyhow::Error::new(error).context("read chance"), "is /dev/urandom there?"))?;
    let missing = "`feedmill run --data-dir DIR` makes what is missing";
    let letters = DeadLetters::open(&*database, &settings.engine, clock.clone(), entropy.clone())
        .await
        .map_err(|error| Failure::failed(error, missing))?;
    let operator = Operator::open(database, clock, entropy, &settings.engine, wiring::feeds(settings))
        .await
        .map_err(|error| Failure::failed(error, missing))?;
    Ok((operator, letters))
}

/// A processor there is, or which ones there are.
pub(crate) fn known(settings: &Settings, processor: &str) -> Result<()> {
    let mut names: Vec<_> = wiring::feeds(settings).into_iter().map(|(name, _)| name).collect();
    names.sort();
    names.dedup();
    if names.iter().any(|name| name == processor) {
        return Ok(());
    }
    Err(Failure::misuse(
        anyhow::anyhow!("there is no processor {processor}"),
        format!("there are {}", names.join(", ")),
    ))
}

/// What a lease is called where its id would be too long: `processor/source/range`.
pub(crate) fn name(lease: &LeaseRecord) -> String {
    format!("{}/{}/{}", lease.processor, lease.source, lease.range.token())
}

pub(crate) fn failed(error: impl Into<anyhow::Error>) -> Failure {
    Failure::failed(error, "the same command again does what is left to do")
}
