//! The server is killed under load, again and again: what it acknowledged is there, and nothing is there by halves.

use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::{Clock, Entropy, SystemClock};
use feedmill_cosmos::{Account, Connection, Options};
use feedmill_store_api::{BatchOutcome, Container, ContainerSpec, DocumentId, Operation, PartitionKey, ReadLevel};
use futures::future::{join, join_all};
use serde_json::Value;

use crate::support::{Served, Store};

/// As many as do not hold up every change; `FEEDMILL_KILLS=1000` for the loop that means it.
const KILLS: u32 = 10;
const WRITERS: u32 = 16;

/// Writes two documents in one batch, again and again, with the same number in both.
struct Writer {
    key: String,
    sent: u64,
    acknowledged: u64,
}

impl Writer {
    fn ids(&self) -> [DocumentId; 2] {
        ["a", "b"].map(|id| DocumentId::new(id).unwrap())
    }

    async fn write_until_it_fails(&mut self, container: &dyn Container) {
        let key = PartitionKey::from(self.key.as_str());
        loop {
            self.sent += 1;
            let operations = self.ids().map(|id| {
                let body = format!(r#"{{"id":"{id}","k":"{}","n":{}}}"#, self.key, self.sent).into();
                Operation::Upsert { id, body }
            });
            match container.batch(&key, operations.into()).await {
                Ok(BatchOutcome::Committed { .. }) => self.acknowledged = self.sent,
                Ok(refused) => panic!("nothing stands against it: {refused:?}"),
                Err(_) => return,
            }
        }
    }

    /// What is there is what was acknowledged last, or what was under way then.
    async fn check(&mut self, container: &dyn Container, kill: u32) {
        let key = PartitionKey::from(self.key.as_str());
        let (found, _) = container.read_many(&key, &self.ids(), &ReadLevel::Quorum).await.unwrap();
        let numbers = found
            .iter()
            .map(|found| found.as_ref().map_or(0, |found| found.parse::<Value>().unwrap()["n"].as_u64().unwrap()));
        let numbers: Vec<u64> = numbers.collect();
        assert_eq!(numbers[0], numbers[1], "{} is there by halves after kill {kill}", self.key);
        let possible = self.acknowledged..=self.sent;
        assert!(possible.contains(&numbers[0]), "{} has {} of {possible:?} after kill {kill}", self.key, numbers[0]);
        (self.acknowledged, self.sent) = (numbers[0], numbers[0]);
    }
}

async fn open(endpoint: &str) -> Arc<dyn Container> {
    let options = Options { endpoint: endpoint.to_owned(), deadline: Duration::from_secs(1), ..Options::default() };
    let account = Account::connect(Connection { options: &options, key: None, runtime: None }).await.unwrap();
    let database = account.create_database("d").await.unwrap();
    database.provision(&ContainerSpec::new("c", "/k").partitions(2)).await.unwrap();
    database.container("c").await.unwrap()
}

#[test]
fn killed_at_random_moments_the_server_keeps_all_it_acknowledged_and_nothing_by_halves() {
    let kills = std::env::var("FEEDMILL_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let (store, entropy) = (Store::new(), Entropy::from_os().unwrap());
    let writer = |n| Writer { key: format!("writer {n}"), sent: 0, acknowledged: 0 };
    let mut writers: Vec<Writer> = (0..WRITERS).map(writer).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        for kill in 0..=kills {
            let served = Served::new(&store.arguments(&["--port", "0"]));
            let container = open(&served.endpoint).await;
            join_all(writers.iter_mut().map(|writer| writer.check(&*container, kill))).await;
            if kill < kills {
                let after = Duration::from_millis(5).mul_f64(1.0 + 60.0 * entropy.unit());
                let killer = async {
                    SystemClock.sleep(after).await;
                    served.kill();
                };
                join(join_all(writers.iter_mut().map(|writer| writer.write_until_it_fails(&*container))), killer).await;
            }
        }
    });
    assert!(writers.iter().all(|writer| writer.acknowledged > 0), "nobody wrote anything: this test proved nothing");
}
