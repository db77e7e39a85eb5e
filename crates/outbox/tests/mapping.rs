use std::sync::Arc;

use feedmill_outbox::{Error, Lifetime, Options, Outbox, Selection, TableOptions};
use tokio_util::sync::CancellationToken;

use crate::support::World;

const FOREIGN: &str = r#"CREATE SCHEMA "Sales";
    CREATE TABLE "Sales"."Out""Box" (
        "Id" uuid PRIMARY KEY DEFAULT gen_random_uuid(), key text NOT NULL, kind varchar(20), aggregate uuid NOT NULL,
        position integer NOT NULL, body json NOT NULL, at timestamptz DEFAULT now(), "done at" timestamptz,
        tries smallint NOT NULL DEFAULT 0, again timestamptz, UNIQUE (aggregate, position));
    INSERT INTO "Sales"."Out""Box" (key, kind, aggregate, position, body)
    SELECT a || '-' || n, 'post', lpad(a::text, 32, '0')::uuid, n,
           json_build_object('postId', 'p' || a, 'version', n, 'text', CASE a WHEN 3 THEN NULL ELSE 'x' END)
    FROM generate_series(1, 4) AS a, generate_series(1, 5) AS n"#;

fn foreign() -> TableOptions {
    let name = |name: &str| name.to_owned();
    TableOptions {
        schema: name("Sales"),
        name: name("Out\"Box"),
        id: name("Id"),
        event_key: name("key"),
        topic: name("kind"),
        partition_key: name("aggregate"),
        sequence: name("position"),
        payload: name("body"),
        created_at: name("at"),
        processed_at: name("done at"),
        retry_count: name("tries"),
        next_retry_at: name("again"),
        max_retries: String::new(),
        last_error: String::new(),
        max_retries_default: 0,
    }
}

fn options(world: &World) -> Options {
    let mut options = Options { table: foreign(), ..world.options() };
    options.routes.get_mut("post").expect("a default route").mirror = false;
    options
}

#[tokio::test]
async fn an_outbox_of_the_customers_own_is_relayed_and_operated() {
    let Some(world) = World::new("an_outbox_of_the_customers_own_is_relayed_and_operated").await else { return };
    world.sql(FOREIGN).await;
    world.sql(r#"UPDATE "Sales"."Out""Box" SET body = '{}' WHERE key = '2-3'"#).await;
    let outbox = world.outbox_with(options(&world), Arc::new(world.manual.clone())).await;
    let relay = world.relay(&outbox);
    let summary = relay.run(Lifetime::UntilDrained, CancellationToken::new()).await.unwrap();
    assert_eq!((summary.total.relayed, summary.total.dead), (17, 1));
    let status = outbox.status().await.unwrap();
    assert_eq!((status.pending, status.dead, status.held), (3, 1, 2));
    assert_eq!(outbox.show(&Selection::Dead, 9).await.unwrap()[0].event_key, "2-3");
    assert_eq!(outbox.retry(&Selection::Dead).await.unwrap(), 1);
    assert_eq!(outbox.skip(&Selection::Event("2-3".to_owned()), "no").await.unwrap(), 1);
    world.settle(&relay).await;
    assert_eq!(outbox.status().await.unwrap().pending, 0);
    for a in 1..=4 {
        assert_eq!(world.document("posts_v2", &format!("p{a}"), &format!("p{a}")).await.unwrap()["version"], 5);
    }
    world.manual.advance(std::time::Duration::from_secs(30 * 24 * 3_600));
    assert_eq!(outbox.sweep().await.unwrap(), 20);
}

#[tokio::test]
async fn a_column_that_is_not_there_is_refused_by_name() {
    let Some(world) = World::new("a_column_that_is_not_there_is_refused_by_name").await else { return };
    for (table, words) in [
        (TableOptions { sequence: "posiiton".to_owned(), ..TableOptions::default() }, "posiiton"),
        (TableOptions { id: "id\" FROM users; --".to_owned(), ..TableOptions::default() }, "no column"),
    ] {
        let options = Options { table, ..world.options() };
        let opened = Outbox::open(world.pool.clone(), options, Arc::new(world.manual.clone())).await;
        let Err(error @ Error::Settings(_)) = opened else { panic!("{words}: was not refused") };
        assert!(error.to_string().contains(words), "{error}");
    }
    let table = TableOptions { name: "outbocks".to_owned(), ..TableOptions::default() };
    let options = Options { table, ..world.options() };
    let opened = Outbox::open(world.pool.clone(), options, Arc::new(world.manual.clone())).await;
    let Err(error @ Error::NoTable(_)) = opened else { panic!("a table that is not there was not refused") };
    assert!(error.to_string().contains("outbocks"), "{error}");
}
