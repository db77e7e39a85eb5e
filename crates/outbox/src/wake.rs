//! Wakes a relay when events are committed: LISTEN, with the relay's own polling behind it.

use std::sync::Arc;
use std::time::Duration;

use feedmill_clock::Clock;
use sqlx::PgPool;
use sqlx::postgres::PgListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// How long after a failed attempt to listen the next one is made. Polling goes on meanwhile.
const RECONNECT: Duration = Duration::from_secs(1);

/// Ends its task when it is dropped.
pub(crate) struct Wake {
    woken: Arc<Notify>,
    task: Option<JoinHandle<()>>,
}

impl Wake {
    /// An empty channel never wakes anybody.
    pub(crate) fn start(pool: &PgPool, channel: &str, clock: &Arc<dyn Clock>) -> Self {
        let woken = Arc::new(Notify::new());
        if channel.is_empty() {
            return Self { woken, task: None };
        }
        // A task of its own, because a receive that reconnects must not be dropped half-way.
        let task = tokio::spawn(listen(pool.clone(), channel.to_owned(), clock.clone(), woken.clone()));
        Self { woken, task: Some(task) }
    }

    /// Completes at once when something was committed since the last call. Dropping the future loses nothing.
    pub(crate) async fn woken(&self) {
        self.woken.notified().await;
    }
}

impl Drop for Wake {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

async fn listen(pool: PgPool, channel: String, clock: Arc<dyn Clock>, woken: Arc<Notify>) {
    while !pool.is_closed() {
        if let Err(error) = receive(&pool, &channel, &woken).await {
            tracing::warn!(channel, error = %error, "cannot listen, polling alone");
        }
        clock.sleep(RECONNECT).await;
    }
}

async fn receive(pool: &PgPool, channel: &str, woken: &Notify) -> Result<(), sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(channel).await?;
    loop {
        // What was committed before we listened, or while the connection was lost, has woken nobody.
        woken.notify_one();
        listener.try_recv().await?;
    }
}
