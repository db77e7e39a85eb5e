use http::StatusCode;
use serde_json::{Value, json};

use crate::definition::Definition;
use crate::directory::ContainerEntry;
use crate::fault::Fault;
use crate::offers::Throughput;
use crate::reply::{Reply, listing};
use crate::router::Call;

/// One page has all containers of a database.
pub(crate) fn list(call: &Call<'_>, database: &str) -> Result<Reply, Fault> {
    let database = call.directory.database(database).map_err(|fault| Fault::owner_not_found(fault.message))?;
    let containers = database.containers();
    let items: Vec<_> = containers.iter().map(|entry| shown(entry).to_string()).collect();
    let count = items.len();
    Ok(Reply::new(StatusCode::OK).body(listing(&database.rid, "DocumentCollections", &items)).items(count))
}

pub(crate) async fn create(call: &Call<'_>, database: &str) -> Result<Reply, Fault> {
    let definition = Definition::parse(&call.body)?;
    let throughput = Throughput::asked(call.asked)?;
    let _alone = call.directory.changing.lock().await;
    let database = call.directory.database(database).map_err(|fault| Fault::owner_not_found(fault.message))?;
    if database.find(definition.name()).is_some() {
        return Err(Fault::conflict(format!("the container {} is there already", definition.name())));
    }
    // Without throughput of its own a container shares its database's; where there is none either it has the least.
    let throughput = throughput.or_else(|| database.kept.throughput.is_none().then(Throughput::least));
    let spec = definition.spec(throughput.map_or(1, Throughput::partitions_at_first))?;
    let entry = call.directory.add_container(&database, definition, &spec, throughput).await?;
    Ok(reply(StatusCode::CREATED, &entry))
}

pub(crate) fn read(entry: &ContainerEntry) -> Reply {
    reply(StatusCode::OK, entry)
}

/// Only what a container may change: not its name, not its key. Of the rest the store acts upon the time to live alone; indexes stay
/// as they were made, which costs time and changes no answer.
pub(crate) async fn replace(call: &Call<'_>, entry: &ContainerEntry) -> Result<Reply, Fault> {
    let definition = Definition::parse(&call.body)?;
    let _alone = call.directory.changing.lock().await;
    let entry = call.directory.container(&entry.database, entry.container.name())?;
    if let Some(wanted) = call.asked.text("if-match")
        && wanted != entry.kept.etag()
    {
        return Err(Fault::precondition_failed(format!("the container's etag is {}", entry.kept.etag())));
    }
    for fixed in ["id", "partitionKey", "uniqueKeyPolicy"] {
        if definition.0.get(fixed) != entry.definition.0.get(fixed) {
            return Err(Fault::bad_request(format!("{fixed} of a container cannot be changed")));
        }
    }
    // Judged as if it were new: what a container may not be it may not become.
    let spec = definition.spec(entry.container.spec().partitions)?;
    if spec.default_ttl != entry.container.spec().default_ttl {
        return Err(Fault::not_implemented("changing defaultTtl of a container that is there already"));
    }
    let throughput = entry.kept.throughput;
    let entry = call.directory.change_container(&entry, definition, throughput).await?;
    Ok(reply(StatusCode::OK, &entry))
}

pub(crate) async fn remove(call: &Call<'_>, entry: &ContainerEntry) -> Result<Reply, Fault> {
    let _alone = call.directory.changing.lock().await;
    // Again, now that nobody else removes it.
    let entry = call.directory.container(&entry.database, entry.container.name())?;
    call.directory.remove_container(&entry).await?;
    Ok(Reply::new(StatusCode::NO_CONTENT))
}

fn reply(status: StatusCode, entry: &ContainerEntry) -> Reply {
    Reply::json(status, &shown(entry)).header("etag", &entry.kept.etag())
}

pub(crate) fn shown(entry: &ContainerEntry) -> Value {
    let mut shown = entry.definition.0.clone();
    for (name, value) in [
        ("_rid", json!(entry.rid())),
        ("_self", json!(entry.self_link())),
        ("_etag", json!(entry.kept.etag())),
        ("_ts", json!(entry.kept.timestamp_seconds)),
        ("_docs", json!("docs/")),
        ("_sprocs", json!("sprocs/")),
        ("_triggers", json!("triggers/")),
        ("_udfs", json!("udfs/")),
        ("_conflicts", json!("conflicts/")),
    ] {
        shown.insert(name.to_owned(), value);
    }
    Value::Object(shown)
}
