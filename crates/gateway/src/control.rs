//! What Cosmos has not, under `/_feedmill/`: for tests that want something to happen now.
//!
//! - `POST /_feedmill/clock {"advanceSeconds": n}`: puts the store's wall time forward, never back.
//! - `POST /_feedmill/fail {"next": n, "status": s, "subStatus": t, "retryAfterMs": m}`: the next n requests for items are answered so
//!   and not carried out.
//! - `POST /_feedmill/split/{database}/{container} {"id": "0"}`: cuts a physical partition in two.
//! - `POST /_feedmill/merge/{database}/{container} {"low": "1", "high": "2"}`: makes one of two neighbours.
//! - `GET /_feedmill/topology/{database}/{container}`: the physical partitions.
//!
//! Signed as everything else is.

use feedmill_store_api::FeedRange;
use http::{Method, StatusCode};
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::json;

use crate::directory::ContainerEntry;
use crate::fault::Fault;
use crate::path::Resource;
use crate::ranges;
use crate::reply::Reply;
use crate::router::Call;

#[derive(Default)]
pub(crate) struct Control {
    /// What the next requests for items get instead of an answer.
    failing: Mutex<Option<(u32, Fault)>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Fail {
    next: u32,
    status: u16,
    #[serde(default)]
    sub_status: u32,
    retry_after_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Advance {
    advance_seconds: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Split {
    id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Merge {
    low: String,
    high: String,
}

impl Control {
    /// The failure that somebody has ordered for this request.
    pub(crate) fn intervene(&self, resource: &Resource) -> Result<(), Fault> {
        if !matches!(resource, Resource::Items { .. } | Resource::Item { .. }) {
            return Ok(());
        }
        let mut failing = self.failing.lock();
        let Some((left, fault)) = failing.as_mut() else { return Ok(()) };
        let fault = fault.clone();
        *left -= 1;
        if *left == 0 {
            *failing = None;
        }
        Err(fault)
    }

    pub(crate) async fn carry_out(&self, call: &Call<'_>, segments: &[String]) -> Result<Reply, Fault> {
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match (call.method, segments.as_slice()) {
            (&Method::POST, ["clock"]) => {
                let Advance { advance_seconds } = call.json()?;
                let now = call.clock.advance(advance_seconds);
                Ok(Reply::json(StatusCode::OK, &json!({"now": now.to_string()})))
            }
            (&Method::POST, ["fail"]) => {
                let Fail { next, status, sub_status, retry_after_ms } = call.json()?;
                let status = StatusCode::from_u16(status).ok().filter(|status| status.as_u16() >= 400);
                let status = status.ok_or_else(|| Fault::bad_request("status is that of a failure, 400 to 599"))?;
                let fault = Fault::new(status, "Ordered", "somebody has ordered this failure under /_feedmill/fail");
                let fault = Fault { retry_after_ms, ..fault.sub(sub_status) };
                *self.failing.lock() = (next > 0).then_some((next, fault));
                Ok(Reply::new(StatusCode::NO_CONTENT))
            }
            (&Method::POST, ["split", database, container]) => {
                let Split { id } = call.json()?;
                let entry = call.directory.container(database, container)?;
                let range = partition(call, &entry, &id)?;
                call.directory.store.split(&entry.database, entry.container.name(), &range).await?;
                topology(call, &entry)
            }
            (&Method::POST, ["merge", database, container]) => {
                let Merge { low, high } = call.json()?;
                let entry = call.directory.container(database, container)?;
                let (low, high) = (partition(call, &entry, &low)?, partition(call, &entry, &high)?);
                call.directory.store.merge(&entry.database, entry.container.name(), &low, &high).await?;
                topology(call, &entry)
            }
            (&Method::GET, ["topology", database, container]) => {
                topology(call, &*call.directory.container(database, container)?)
            }
            _ => Err(Fault::not_found("there is no such thing under /_feedmill; see control.rs of the gateway")),
        }
    }
}

fn partition(call: &Call<'_>, entry: &ContainerEntry, id: &str) -> Result<FeedRange, Fault> {
    let found = ranges::of(call.directory, entry)?.into_iter().find(|range| range.id == id);
    found.map(|found| found.range).ok_or_else(|| Fault::gone(format!("there is no physical partition {id}")))
}

fn topology(call: &Call<'_>, entry: &ContainerEntry) -> Result<Reply, Fault> {
    let ranges = ranges::of(call.directory, entry)?;
    let shown = ranges.iter().map(|ranges::Range { id, range, parents }| {
        json!({"id": id, "min": range.min(), "max": range.max(), "parents": parents})
    });
    Ok(Reply::json(StatusCode::OK, &json!({"partitions": shown.collect::<Vec<_>>()})))
}
