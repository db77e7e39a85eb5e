use http::StatusCode;
use serde_json::{Value, json};

use crate::directory::DatabaseEntry;
use crate::fault::Fault;
use crate::offers::Throughput;
use crate::reply::{Reply, listing};
use crate::router::Call;

/// Databases are few, so one page has all of them.
pub(crate) fn list(call: &Call<'_>) -> Reply {
    let databases = call.directory.databases();
    let items: Vec<_> = databases.iter().map(|entry| shown(entry).to_string()).collect();
    let count = items.len();
    Reply::new(StatusCode::OK).body(listing("", "Databases", &items)).items(count)
}

pub(crate) async fn create(call: &Call<'_>) -> Result<Reply, Fault> {
    let body: Value = call.json()?;
    let name = body["id"]
        .as_str()
        .filter(|name| !name.is_empty() && name.len() <= 255 && !name.contains(['/', '\\', '?', '#']));
    let name = name.ok_or_else(|| Fault::bad_request("a database's id has 1 to 255 bytes without / \\ ? #"))?;
    let throughput = Throughput::asked(call.asked)?;
    let _alone = call.directory.changing.lock().await;
    if name.starts_with('_') || call.directory.database(name).is_ok() {
        return Err(Fault::conflict(format!("the database {name} is there already, or its name is the server's own")));
    }
    let entry = call.directory.add_database(name, throughput).await?;
    Ok(Reply::json(StatusCode::CREATED, &shown(&entry)).header("etag", &entry.kept.etag()))
}

pub(crate) fn read(call: &Call<'_>, name: &str) -> Result<Reply, Fault> {
    let entry = call.directory.database(name)?;
    Ok(Reply::json(StatusCode::OK, &shown(&entry)).header("etag", &entry.kept.etag()))
}

pub(crate) async fn remove(call: &Call<'_>, name: &str) -> Result<Reply, Fault> {
    let _alone = call.directory.changing.lock().await;
    let entry = call.directory.database(name)?;
    call.directory.remove_database(&entry).await?;
    Ok(Reply::new(StatusCode::NO_CONTENT))
}

pub(crate) fn shown(entry: &DatabaseEntry) -> Value {
    json!({
        "id": entry.name,
        "_rid": entry.rid,
        "_self": format!("dbs/{}/", entry.rid),
        "_etag": entry.kept.etag(),
        "_colls": "colls/",
        "_users": "users/",
        "_ts": entry.kept.timestamp_seconds,
    })
}
