use feedmill_outbox::Lifetime;
use feedmill_test_servers::Postgres;
use tokio_util::sync::CancellationToken;

use crate::support::World;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_restart_of_postgres_in_the_middle_is_waited_out() {
    let Some(server) = Postgres::own("a_restart_of_postgres_in_the_middle_is_waited_out") else { return };
    let world = World::on(&server).await;
    world.users(10).await;
    world
        .sql("INSERT INTO posts (author_id, body) SELECT user_id, n::text FROM users, generate_series(1, 200) AS n")
        .await;
    let stop = CancellationToken::new();
    let mut relays = Vec::new();
    for _ in 0..3 {
        let relay = world.running_relay().await;
        let stop = stop.clone();
        relays.push(tokio::spawn(async move { relay.run(Lifetime::UntilStopped, stop).await }));
    }
    while world.store.sent().is_empty() {
        tokio::task::yield_now().await;
    }
    server.crash_and_start();
    // The pool's own connections are lost too; the first statement may find out.
    while sqlx::raw_sql("UPDATE posts SET body = body || '!'").execute(&world.pool).await.is_err() {}
    let drain = world.running_relay().await;
    drain.run(Lifetime::UntilDrained, CancellationToken::new()).await.unwrap();
    stop.cancel();
    for relay in relays {
        relay.await.unwrap().expect("a restart is no reason to end");
    }
    assert_eq!(world.number("SELECT count(*) FROM outbox WHERE processed_at IS NULL").await, 0);
    world.assert_documents_are_right().await;
}
