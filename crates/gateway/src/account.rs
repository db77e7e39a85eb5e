use http::StatusCode;
use serde_json::json;

use crate::reply::Reply;
use crate::router::Call;

/// What `GET /` says. Clients go on with the endpoints named here, so these are what the client itself has used.
pub(crate) fn read(call: &Call<'_>) -> Reply {
    let host = call.asked.text("host").unwrap_or("localhost");
    let endpoint = format!("{}://{host}/", call.scheme);
    let location = json!([{"name": "local", "databaseAccountEndpoint": endpoint}]);
    let body = json!({
        "_self": "",
        "id": "feedmill",
        "_rid": "feedmill",
        "media": "//media/",
        "addresses": "//addresses/",
        "_dbs": "//dbs/",
        "writableLocations": location,
        "readableLocations": location,
        "enableMultipleWriteLocations": false,
        "userReplicationPolicy": {"asyncReplication": false, "minReplicaSetSize": 1, "maxReplicasetSize": 1},
        "userConsistencyPolicy": {"defaultConsistencyLevel": "Session"},
        "systemReplicationPolicy": {"minReplicaSetSize": 1, "maxReplicasetSize": 1},
        "readPolicy": {"primaryReadCoefficient": 1, "secondaryReadCoefficient": 1},
        "queryEngineConfiguration": crate::queries::ENGINE,
    });
    Reply::json(StatusCode::OK, &body)
}
