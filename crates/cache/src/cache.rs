use std::time::Duration;

use feedmill_clock::Entropy;
use feedmill_store_api::{Container, PageRequest, ReadLevel, Scope};
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{AsyncTypedCommands, Script};

use crate::{Options, Subject};

/// Removes a key and the permits of those who were about to fill it. Gives 1 when there was something to remove.
const REMOVE: &str = "redis.call('DEL', KEYS[2]) return redis.call('DEL', KEYS[1])";

/// Fills a key for who holds its permit.
const FILL: &str = "
    if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
    redis.call('DEL', KEYS[2])
    redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
    return 1";

/// The cache. Clones share a connection, which is made when first needed and again whenever it is lost.
#[derive(Clone)]
pub struct Cache {
    connection: ConnectionManager,
    entropy: Entropy,
    options: Options,
}

/// That nothing was removed of a subject since this was given out; lost when something is, or when Redis loses its data.
#[derive(Debug)]
pub struct Permit(String);

#[derive(Debug, thiserror::Error)]
#[error("{attempt}")]
pub struct Error {
    attempt: String,
    source: redis::RedisError,
}

impl Cache {
    /// Must be called within a runtime. Fails only when `url` is no address; Redis may come later. No error says any of `url`.
    pub fn open(url: &str, options: Options, entropy: Entropy) -> Result<Self, Error> {
        let failed = |source| Error { attempt: "open the cache".to_owned(), source };
        // Whoever called tries again, or goes to the store.
        let config = ConnectionManagerConfig::new()
            .set_number_of_retries(0)
            .set_connection_timeout(Some(options.timeout))
            .set_response_timeout(Some(options.timeout));
        let client = redis::Client::open(url).map_err(failed)?;
        let connection = ConnectionManager::new_lazy_with_config(client, config).map_err(failed)?;
        Ok(Self { connection, entropy, options })
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    /// What is cached of a subject.
    pub async fn look_up(&self, subject: &Subject) -> Result<Option<String>, Error> {
        let found = self.connection.clone().get(subject.key()).await;
        found.map_err(|source| Error { attempt: format!("look up {}", subject.key()), source })
    }

    /// Asks to fill a subject with what is read from the store *after* this. Of several at a time the last one may.
    pub async fn permit(&self, subject: &Subject) -> Result<Permit, Error> {
        // Never given out twice, or one from before Redis lost its data would pass for one from after it.
        let permit = format!("{:016x}{:016x}", self.entropy.next_u64(), self.entropy.next_u64());
        let given =
            self.connection.clone().pset_ex(subject.permit_key(), &permit, milliseconds(self.options.fill_max)).await;
        given.map_err(|source| Error { attempt: format!("ask to fill {}", subject.key()), source })?;
        Ok(Permit(permit))
    }

    /// Whether the value was taken. Not when something was removed of the subject since the permit was given.
    pub async fn fill(&self, subject: &Subject, permit: Permit, value: &[u8]) -> Result<bool, Error> {
        let filled = Script::new(FILL)
            .key(subject.key())
            .key(subject.permit_key())
            .arg(permit.0)
            .arg(value)
            .arg(milliseconds(self.options.ttl))
            .invoke_async::<bool>(&mut self.connection.clone())
            .await;
        filled.map_err(|source| Error { attempt: format!("fill {}", subject.key()), source })
    }

    /// Removes what is cached of a subject, and every permit to fill it. Whether there was something.
    pub async fn remove(&self, subject: &Subject) -> Result<bool, Error> {
        let removed = Script::new(REMOVE)
            .key(subject.key())
            .key(subject.permit_key())
            .invoke_async::<bool>(&mut self.connection.clone())
            .await;
        removed.map_err(|source| Error { attempt: format!("remove {}", subject.key()), source })
    }

    /// The value of a subject as JSON text: the cached one, or that of the store, which is then cached.
    ///
    /// Fails only as the store does: without Redis it is slower and no less right. `container` is the subject's, see
    /// [`crate::Kind::container`].
    pub async fn read(&self, subject: &Subject, container: &dyn Container) -> feedmill_store_api::Result<String> {
        if let Ok(Some(cached)) = self.look_up(subject).await {
            return Ok(cached);
        }
        let permit = self.permit(subject).await.ok();
        let kind = subject.kind;
        let page = PageRequest::first(kind.items_max(self.options.feed_items_max));
        let scope = Scope::Partition(subject.partition_key());
        // An older copy than the newest may be older than a removal before the permit.
        let read = container.query(&scope, &kind.query(), &page, &ReadLevel::Quorum).await?;
        let value = kind.value(&read.items)?;
        if let Some(permit) = permit {
            // Not cached is not wrong.
            let _taken = self.fill(subject, permit, &value).await;
        }
        Ok(String::from_utf8(value).expect("serde_json writes UTF-8"))
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}
