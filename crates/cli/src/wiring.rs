use std::sync::Arc;

use feedmill_clock::{Clock, Entropy};
use feedmill_documents::containers;
use feedmill_engine::{Engine, Parts, Processor, StartFrom};
use feedmill_store_api::Database;

use crate::account;
use crate::host;
use crate::settings::Settings;

/// An engine with every processor there is. A store of our own is ours alone, so leases that somebody left behind are taken over at
/// once; an account may have other workers.
pub(crate) fn engine(
    settings: &Settings,
    database: Arc<dyn Database>,
    clock: Arc<dyn Clock>,
    entropy: Entropy,
) -> Engine {
    engine_of(settings, database, clock, entropy, processors(settings))
}

/// An engine with some of them.
pub(crate) fn engine_of(
    settings: &Settings,
    database: Arc<dyn Database>,
    clock: Arc<dyn Clock>,
    entropy: Entropy,
    processors: Vec<Processor>,
) -> Engine {
    let host = host::name(settings, &entropy);
    let (exclusive, options) = (!account::is_named(settings), settings.engine.clone());
    let mut engine = Engine::new(Parts { database, clock, entropy, host, exclusive, options });
    for processor in processors {
        engine.add(processor);
    }
    engine
}

/// Every processor's name and source.
pub(crate) fn feeds(settings: &Settings) -> Vec<(String, String)> {
    processors(settings).into_iter().map(|processor| (processor.name, processor.source)).collect()
}

/// Every processor there is, as these settings have it.
pub(crate) fn processors(settings: &Settings) -> Vec<Processor> {
    let Settings { index, user_feed, counters, notifications, .. } = settings;
    let start = StartFrom::Beginning;
    let all = [
        feedmill_index::processors(index, start),
        feedmill_user_feed::processors(user_feed, start),
        feedmill_counters::processors(counters, start),
        feedmill_notifications::processors(notifications, start),
    ];
    all.into_iter().flatten().collect()
}

/// A processor that reads projections, on the versions that are in use.
pub(crate) fn of_versions(mut processor: Processor, settings: &Settings) -> Processor {
    match processor.source.as_str() {
        containers::USER_FEED => processor.source.clone_from(&settings.user_feed.container),
        containers::COUNTERS => processor.source.clone_from(&settings.counters.container),
        _ => {}
    }
    processor
}
