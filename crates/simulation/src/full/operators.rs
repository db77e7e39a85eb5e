use std::sync::Arc;

use feedmill_clock::{Clock, Entropy, ManualClock};
use feedmill_engine::{Act, DeadLetters, LeaseError, Operator, Options, RewindTo, Writer};
use feedmill_erase::{Erasure, Report};
use feedmill_store_api::Database;
use feedmill_user_feed::UserFeed;
use tokio::task::JoinSet;

use super::host::processors;
use super::writer::PEOPLE;
use crate::BEGINNING;
use crate::gate::Gate;
use crate::network::{FaultyDatabase, Link, Network, Reach, Weather};
use crate::oracle::OPERATOR;
use crate::seed::{Chance, Seed};
use crate::store::Store;
use crate::tiny;
use crate::trace::Trace;

/// The people who run the fleets, at their command lines.
pub(super) struct Operators {
    /// What the fleets call the account.
    accounts: Vec<String>,
    feeds: feedmill_user_feed::Options,
    chance: Entropy,
    /// Decides what is done by hand, where that is more than one thing.
    hands: Entropy,
    clock: ManualClock,
    store: Store,
    network: Network,
    trace: Trace,
    /// Commands that have not come back.
    under_way: JoinSet<()>,
}

impl Operators {
    pub(super) fn new(
        accounts: Vec<String>,
        seed: Seed,
        clock: &ManualClock,
        store: &Store,
        network: &Network,
        trace: &Trace,
    ) -> Self {
        let (feeds, chance) = (tiny::feeds(&seed.stream("feeds")), seed.stream("operators"));
        let hands = seed.stream("hands");
        let (clock, store, network, trace) = (clock.clone(), store.clone(), network.clone(), trace.clone());
        Self { accounts, feeds, chance, hands, clock, store, network, trace, under_way: JoinSet::new() }
    }

    /// Somebody enters a command. `gone`: who has had their account deleted.
    pub(super) fn act(&mut self, gone: Option<&'static str>) {
        let account: &String = self.chance.one_of(&self.accounts);
        let database = self.database(account);
        let command = Command {
            feeds: self.feeds.clone(),
            chance: Entropy::seeded(self.chance.next_u64()),
            clock: self.clock.clone(),
            trace: self.trace.clone(),
        };
        match self.chance.below(0..5) {
            0 => self.under_way.spawn(async move { command.pause(database).await }),
            1 => self.under_way.spawn(async move { command.release(database).await }),
            2 => self.under_way.spawn(async move { command.rewind(database).await }),
            _ => match (self.hands.below(0..4), gone) {
                (0, _) => self.under_way.spawn(async move { command.rebuild_counters(database).await }),
                (1, _) => self.under_way.spawn(async move { command.rebuild_notifications(database).await }),
                (_, Some(user)) => self.under_way.spawn(async move { command.erase(database, user).await }),
                (_, None) => self.under_way.spawn(async move { command.rebuild(database).await }),
            },
        };
    }

    /// All commands have come back, nothing of them is late any more, and nothing is paused.
    pub(super) async fn leave(&mut self) {
        while self.under_way.join_next().await.is_some() {}
        self.clock.sleep(Weather::LATE_MAX).await;
        for account in &self.accounts {
            let operator = operator(self.database(account), &self.clock, &self.chance).await;
            for processor in operator.paused().await.expect("all is well") {
                self.trace.say(OPERATOR, || format!("resumes {processor}"));
                operator.pause(&processor, false).await.expect("all is well");
            }
        }
    }

    /// Once all is quiet: takes out what is left of somebody, and says what still stands in the way of an end.
    pub(super) async fn erase(&self, user: &'static str) -> Vec<String> {
        let Some(account) = self.accounts.first() else { return Vec::new() };
        let (database, clock) = (self.database(account), &self.clock);
        let report = erase(&database, clock, &self.chance, user).await.expect("all is well");
        let waits = report.waiting.changes + u64::from(report.waiting.unknown);
        if report.live() + report.busy() + waits == 0 {
            return Vec::new();
        }
        vec![format!("{user} cannot be erased though all is quiet: {report:?}")]
    }

    fn database(&self, account: &str) -> Arc<dyn Database> {
        Arc::new(FaultyDatabase::new(&self.store.served, &self.link()).called(account))
    }

    fn link(&self) -> Link {
        Link::new(&self.network, OPERATOR, &Gate::open(), &Reach::default())
    }
}

/// One command, on its own.
struct Command {
    feeds: feedmill_user_feed::Options,
    chance: Entropy,
    clock: ManualClock,
    trace: Trace,
}

impl Command {
    async fn pause(self, database: Arc<dyn Database>) {
        let processor = self.chance.one_of(&processors(&self.feeds)).name.clone();
        let paused = self.chance.happens(0.5);
        self.trace.say(OPERATOR, || format!("{} {processor}", if paused { "pauses" } else { "resumes" }));
        let operator = operator(database, &self.clock, &self.chance).await;
        self.told(operator.pause(&processor, paused).await);
    }

    async fn release(self, database: Arc<dyn Database>) {
        let operator = operator(database, &self.clock, &self.chance).await;
        let done = async {
            let leases = operator.leases().await?;
            if leases.is_empty() {
                return Ok(());
            }
            let lease = self.chance.one_of(&leases);
            self.trace.say(OPERATOR, || format!("releases {}", lease.id));
            operator.release(lease).await?;
            Ok::<_, LeaseError>(())
        };
        self.told(done.await);
    }

    async fn rewind(self, database: Arc<dyn Database>) {
        let operator = operator(database, &self.clock, &self.chance).await;
        let done = async {
            let leases = operator.leases().await?;
            if leases.is_empty() {
                return Ok(());
            }
            let lease = self.chance.one_of(&leases);
            let to = if self.chance.happens(0.5) { RewindTo::Beginning } else { RewindTo::Time(BEGINNING) };
            self.trace.say(OPERATOR, || format!("rewinds {} to {to:?}", lease.id));
            operator.rewind(lease, &to).await?;
            Ok::<_, LeaseError>(())
        };
        self.told(done.await);
    }

    /// A command that fails is not entered again: whatever it did is right.
    async fn rebuild(self, database: Arc<dyn Database>) {
        let (user, act) = (*self.chance.one_of(&PEOPLE), *self.chance.one_of(&[Act::Settle, Act::Repair]));
        self.trace.say(OPERATOR, || format!("rebuilds the feed of {user}: {act:?}"));
        let writer = writer(database, &self.clock, &self.chance);
        let done = UserFeed::new(self.feeds.clone()).rebuild(user, act, &writer.operator(act == Act::Repair)).await;
        self.told(done.map(|_| ()));
    }

    async fn rebuild_counters(self, database: Arc<dyn Database>) {
        let user = *self.chance.one_of(&PEOPLE);
        self.trace.say(OPERATOR, || format!("counts anew what is counted of {user}"));
        let writer = writer(database, &self.clock, &self.chance);
        let options = feedmill_counters::Options::default();
        let done = feedmill_counters::rebuild(&options, user, Act::Repair, &writer.operator(true)).await;
        self.told(done.map(|_| ()));
    }

    async fn rebuild_notifications(self, database: Arc<dyn Database>) {
        let (user, act) = (*self.chance.one_of(&PEOPLE), *self.chance.one_of(&[Act::Settle, Act::Repair]));
        self.trace.say(OPERATOR, || format!("rebuilds the notifications of {user}: {act:?}"));
        let writer = writer(database, &self.clock, &self.chance);
        let options = feedmill_notifications::Options::default();
        let settler = writer.operator(act == Act::Repair);
        self.told(feedmill_notifications::rebuild(&options, user, act, &settler).await.map(|_| ()));
    }

    async fn erase(self, database: Arc<dyn Database>, user: &'static str) {
        self.trace.say(OPERATOR, || format!("erases {user}"));
        self.told(erase(&database, &self.clock, &self.chance, user).await.map(|_| ()));
    }

    fn told<E: std::fmt::Display>(&self, done: Result<(), E>) {
        self.trace.say(OPERATOR, || match done {
            Ok(()) => "done".to_owned(),
            Err(error) => format!("failed: {error}"),
        });
    }
}

async fn erase(
    database: &Arc<dyn Database>,
    clock: &ManualClock,
    chance: &Entropy,
    user: &str,
) -> Result<Report, feedmill_erase::Error> {
    let (options, of_letters) = (Options::default(), Arc::new(clock.clone()));
    let letters = DeadLetters::open(&**database, &options, of_letters, chance.clone()).await?;
    let erasure = Erasure {
        database: &**database,
        writer: &writer(Arc::clone(database), clock, chance),
        letters: &letters,
        leases: &options.leases,
        feeds: &feeds(),
        tell: &|_| {},
    };
    erasure.run(user, false).await
}

fn writer(database: Arc<dyn Database>, clock: &ManualClock, chance: &Entropy) -> Writer {
    Writer::new(database, Arc::new(clock.clone()), chance.clone(), Options::default().settle)
}

/// Every processor's name and source.
fn feeds() -> Vec<(String, String)> {
    let all = processors(&feedmill_user_feed::Options::default()).into_iter();
    all.map(|processor| (processor.name, processor.source)).collect()
}

async fn operator(database: Arc<dyn Database>, clock: &ManualClock, chance: &Entropy) -> Operator {
    let clock: Arc<dyn Clock> = Arc::new(clock.clone());
    let operator = Operator::open(database, clock, chance.clone(), &Options::default(), feeds()).await;
    operator.expect("every container is there, and outages are outlasted")
}
