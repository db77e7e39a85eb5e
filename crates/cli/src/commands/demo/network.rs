use feedmill_documents::containers::PUBLIC_PROFILES;
use feedmill_store_api::{Database, DocumentId, PartitionKey, ReadLevel, RequestCharge};
use feedmill_workload::generate;
use feedmill_workload::ldbc::Dataset;
use feedmill_workload::loader::{LoadError, Loader, Progress};
use jiff::Timestamp;
use serde::Deserialize;

use super::Args;
use crate::error::{Failure, Result};
use crate::progress::Loading;
use crate::settings::Settings;
use crate::store;

/// What the demo is to load.
pub(super) enum Network {
    /// From files; `events` of the stream are replayed.
    Ldbc { dataset: Dataset, until: Option<Timestamp>, events: u64 },
    /// Made once it is known when it ends.
    Generated { options: generate::Options, until: Option<Timestamp> },
}

/// What loading did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Loaded {
    /// Source documents that had to be there; several writes may concern one.
    pub(super) writes: u64,
    /// Those that were not there yet, or not like that.
    pub(super) written: u64,
    pub(super) charge: RequestCharge,
}

impl Loaded {
    fn add(&mut self, progress: &Progress) {
        self.writes += progress.writes;
        self.written += progress.written;
        self.charge += progress.charge;
    }
}

impl Network {
    /// Reads a data folder from end to end, so that a mistake in it is found before anything is written.
    pub(super) fn open(args: &Args, settings: &Settings) -> Result<Self> {
        let Some(folder) = &args.data else {
            return Ok(Self::Generated { options: generated(args, &settings.generate), until: args.until });
        };
        let dataset = Dataset::open(folder).map_err(|error| {
            Failure::failed(error, "nothing was written; `feedmill demo` without --data makes a network of its own")
        })?;
        let events = args.events.unwrap_or(u64::MAX);
        Ok(Self::Ldbc { dataset, until: args.until, events })
    }

    /// What is to be written into `database`, which may have it already.
    pub(super) async fn plan(self, database: &dyn Database, now: Timestamp) -> Result<Plan> {
        Ok(match self {
            Self::Ldbc { dataset, until, events } => Plan::Ldbc { dataset, until, events },
            Self::Generated { options, until } => {
                let end = match until {
                    Some(until) => until,
                    None => end_before(database, &options).await?.unwrap_or(now),
                };
                Plan::Generated(generate::Network::new(&options, end))
            }
        })
    }
}

/// The settings, but for what the flags say. Another number of people has posts and likes in proportion.
fn generated(args: &Args, settings: &generate::Options) -> generate::Options {
    let users = args.users.unwrap_or(settings.users);
    let scaled = |documents: u32| {
        let scaled = u64::from(documents) * u64::from(users) / u64::from(settings.users.max(1));
        u32::try_from(scaled).unwrap_or(u32::MAX)
    };
    generate::Options {
        seed: args.seed.unwrap_or(settings.seed),
        users,
        posts: scaled(settings.posts),
        likes: scaled(settings.likes),
        ..settings.clone()
    }
}

/// When the network ended that the store has already: then the same one is made again, and nothing has to be written.
async fn end_before(database: &dyn Database, options: &generate::Options) -> Result<Option<Timestamp>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Profile {
        created_at: Timestamp,
    }
    // The first account; all of them are as old as the network.
    let first = "1";
    let id = DocumentId::new(first).expect("a digit is an id");
    let profiles = store::container(database, PUBLIC_PROFILES).await?;
    let (found, _) = profiles.read(&PartitionKey::from(first), &id, &ReadLevel::Quorum).await?;
    let begun = found.and_then(|profile| profile.parse::<Profile>().ok()).map(|profile| profile.created_at);
    Ok(begun.and_then(|begun| begun.checked_add(options.span).ok()))
}

/// All that there is to load.
pub(super) enum Plan {
    Ldbc { dataset: Dataset, until: Option<Timestamp>, events: u64 },
    Generated(generate::Network),
}

impl Plan {
    /// How many writes there are, or about how many: what `--until` leaves out is not known before it is read.
    pub(super) fn loading(&self) -> Loading {
        match self {
            Self::Ldbc { dataset, events, .. } => {
                let counts = dataset.counts();
                let snapshot = counts.persons + 2 * counts.friendships + counts.messages + counts.likes;
                Loading::of(snapshot + dataset.events().min(*events))
            }
            Self::Generated(network) => Loading::of(network.documents()),
        }
    }

    /// Writes what the store does not have yet.
    pub(super) async fn load(self, loader: Loader, loading: Loading) -> std::result::Result<Loaded, LoadError> {
        let mut loaded = Loaded::default();
        match self {
            Self::Ldbc { dataset, until, events } => {
                let snapshot = dataset.snapshot(until)?;
                loaded.add(&loader.load(snapshot, |progress| loading.reached(progress.writes)).await?);
                let before = loaded.writes;
                let stream = dataset.stream(until)?.take(usize::try_from(events).unwrap_or(usize::MAX));
                loaded.add(&loader.replay(stream, |progress| loading.reached(before + progress.events)).await?);
            }
            Self::Generated(network) => {
                let writes = network.writes().map(Ok);
                loaded.add(&loader.load(writes, |progress| loading.reached(progress.writes)).await?);
            }
        }
        Ok(loaded)
    }
}
