use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::directory::{ContainerEntry, Kept};
use crate::fault::Fault;
use crate::headers::{AUTOSCALE, Asked, THROUGHPUT};
use crate::reply::{Reply, listing};
use crate::router::Call;

/// Request units a second of a new physical partition, of manual throughput; from Azure's scaling best practices.
const MANUAL_AT_FIRST: u64 = 6_000;
/// And the most that one partition has.
const PARTITION_MAX: u64 = 10_000;
/// Past a million Azure wants to be asked; here it is a mistake.
const UNITS_MAX: u64 = 1_000_000;

/// What is provisioned for a database or container, in request units a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Throughput {
    Manual(u64),
    /// Up to this many, and by so many percent more by itself where that is not enough.
    Autoscale {
        units: u64,
        #[serde(default)]
        increment_percent: Option<u64>,
    },
}

impl Throughput {
    pub(crate) fn least() -> Self {
        Self::Manual(400)
    }

    /// What the headers of a request that makes something ask for.
    pub(crate) fn asked(asked: Asked<'_>) -> Result<Option<Self>, Fault> {
        if let Some(text) = asked.text(AUTOSCALE) {
            let settings: Value = serde_json::from_str(text)
                .map_err(|error| Fault::bad_request(format!("{AUTOSCALE} is {text:?}: {error}")))?;
            let autoscale = Self::autoscale(&settings);
            let autoscale = autoscale.ok_or_else(|| Fault::bad_request(format!("{AUTOSCALE} has no maxThroughput")))?;
            return autoscale.checked().map(Some);
        }
        let Some(text) = asked.text(THROUGHPUT) else { return Ok(None) };
        let units = text.trim().parse();
        let units =
            units.map_err(|_| Fault::bad_request(format!("{THROUGHPUT} is {text:?}, which is no whole number")))?;
        Self::Manual(units).checked().map(Some)
    }

    /// From `{"maxThroughput": …}`.
    fn autoscale(settings: &Value) -> Option<Self> {
        let units = settings["maxThroughput"].as_u64()?;
        let increment_percent = settings["autoUpgradePolicy"]["throughputPolicy"]["incrementPercent"].as_u64();
        Some(Self::Autoscale { units, increment_percent })
    }

    fn checked(self) -> Result<Self, Fault> {
        let (units, least, step) = match self {
            Self::Manual(units) => (units, 400, 100),
            Self::Autoscale { units, .. } => (units, 1_000, 1_000),
        };
        if units < least || units > UNITS_MAX || units % step != 0 {
            return Err(Fault::bad_request(format!(
                "a throughput of {units} RU/s: it is between {least} and {UNITS_MAX} in steps of {step}"
            )));
        }
        Ok(self)
    }

    pub(crate) fn units(self) -> u64 {
        match self {
            Self::Manual(units) | Self::Autoscale { units, .. } => units,
        }
    }

    /// Physical partitions of a container that is made with it.
    pub(crate) fn partitions_at_first(self) -> u32 {
        let each = if let Self::Manual(_) = self { MANUAL_AT_FIRST } else { PARTITION_MAX };
        u32::try_from(self.units().div_ceil(each)).unwrap_or(u32::MAX)
    }
}

/// What an offer is of.
struct Owner {
    rid: String,
    self_link: String,
    kept: Kept,
    throughput: Throughput,
}

fn owners(call: &Call<'_>) -> Vec<Owner> {
    let mut owners = Vec::new();
    let mut add = |rid: &str, self_link: String, kept: &Kept| {
        if let Some(throughput) = kept.throughput {
            owners.push(Owner { rid: rid.to_owned(), self_link, kept: kept.clone(), throughput });
        }
    };
    for database in call.directory.databases() {
        add(&database.rid, format!("dbs/{}/", database.rid), &database.kept);
        for container in database.containers() {
            add(container.rid(), container.self_link(), &container.kept);
        }
    }
    owners
}

/// An offer is called as its owner is, without the padding.
fn offer_rid(rid: &str) -> &str {
    rid.trim_end_matches('=')
}

fn shown(owner: &Owner) -> Value {
    let rid = offer_rid(&owner.rid);
    let content = match owner.throughput {
        Throughput::Manual(units) => json!({
            "offerThroughput": units,
            "offerIsRUPerMinuteThroughputEnabled": false,
        }),
        // What it scales from is a tenth of what it scales to.
        Throughput::Autoscale { units, increment_percent } => {
            let mut settings = json!({"maxThroughput": units});
            if let Some(percent) = increment_percent {
                settings["autoUpgradePolicy"] = json!({"throughputPolicy": {"incrementPercent": percent}});
            }
            json!({
                "offerThroughput": units / 10,
                "offerIsRUPerMinuteThroughputEnabled": false,
                "offerAutopilotSettings": settings,
            })
        }
    };
    json!({
        "id": rid,
        "_rid": rid,
        "_self": format!("offers/{rid}/"),
        "_etag": owner.kept.etag(),
        "_ts": owner.kept.timestamp_seconds,
        "resource": owner.self_link,
        "offerResourceId": owner.rid,
        "offerType": "Invalid",
        "offerVersion": "V2",
        "content": content,
    })
}

/// All of them, or those that a query of a client asks for: each SDK asks in its own words for the offer of one resource id.
pub(crate) fn list(call: &Call<'_>) -> Result<Reply, Fault> {
    let mut offers: Vec<_> = owners(call).iter().map(|owner| shown(owner).to_string().into_bytes()).collect();
    if call.method == http::Method::POST {
        offers = crate::queries::over(call, &offers)?;
    }
    let count = offers.len();
    Ok(Reply::new(StatusCode::OK).body(listing("", "Offers", &offers)).items(count))
}

pub(crate) fn read(call: &Call<'_>, rid: &str) -> Result<Reply, Fault> {
    let owner = find(call, rid)?;
    Ok(Reply::json(StatusCode::OK, &shown(&owner)).header("etag", &owner.kept.etag()))
}

pub(crate) async fn replace(call: &Call<'_>, rid: &str) -> Result<Reply, Fault> {
    let body: Value = call.json()?;
    let content = &body["content"];
    let wanted = match (Throughput::autoscale(&content["offerAutopilotSettings"]), content["offerThroughput"].as_u64())
    {
        (Some(autoscale), _) => autoscale,
        (None, Some(units)) => Throughput::Manual(units),
        (None, None) => {
            return Err(Fault::bad_request("the offer has neither content.offerThroughput nor autopilot settings"));
        }
    };
    let wanted = wanted.checked()?;
    let _alone = call.directory.changing.lock().await;
    let owner = find(call, rid)?;
    let entry =
        call.directory.databases().iter().flat_map(|database| database.containers()).find(|e| e.rid() == owner.rid);
    let Some(entry) = entry else {
        return Err(Fault::not_implemented("changing the throughput that a database shares among its containers"));
    };
    grow(call, &entry, wanted).await?;
    let entry = call.directory.change_container(&entry, entry.definition.clone(), Some(wanted)).await?;
    let owner = Owner { kept: entry.kept.clone(), throughput: wanted, ..owner };
    Ok(Reply::json(StatusCode::OK, &shown(&owner)).header("etag", &owner.kept.etag()))
}

/// Splits until no partition would have more than one may: those of the widest range first, each in halves. Never merges, as
/// Azure does not either when throughput falls.
async fn grow(call: &Call<'_>, entry: &ContainerEntry, wanted: Throughput) -> Result<(), Fault> {
    let (store, database, name) = (&call.directory.store, &entry.database, entry.container.name());
    let enough = usize::try_from(wanted.units().div_ceil(PARTITION_MAX)).unwrap_or(usize::MAX);
    loop {
        let partitions = store.partitions(database, name)?;
        if partitions.len() >= enough {
            return Ok(());
        }
        // Each split adds its number of ancestors, so the fewest have the most room.
        let Some(widest) = partitions.iter().min_by_key(|partition| partition.parents.len()) else { return Ok(()) };
        store.split(database, name, &widest.range).await?;
    }
}

fn find(call: &Call<'_>, rid: &str) -> Result<Owner, Fault> {
    let wanted = offer_rid(rid);
    let found = owners(call).into_iter().find(|owner| offer_rid(&owner.rid).eq_ignore_ascii_case(wanted));
    found.ok_or_else(|| Fault::not_found(format!("there is no offer {rid}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_containers_have_as_many_partitions_as_azure_gives_them() {
        for (units, partitions) in [(400, 1), (6_000, 1), (11_000, 2), (12_000, 2), (21_000, 4), (30_000, 5)] {
            assert_eq!(Throughput::Manual(units).partitions_at_first(), partitions, "{units}");
        }
        assert_eq!(autoscale(10_000).partitions_at_first(), 1);
        assert_eq!(autoscale(20_000).partitions_at_first(), 2);
    }

    fn autoscale(units: u64) -> Throughput {
        Throughput::Autoscale { units, increment_percent: None }
    }

    #[test]
    fn throughput_comes_in_steps() {
        for bad in [Throughput::Manual(399), Throughput::Manual(450), autoscale(400), Throughput::Manual(2_000_000)] {
            assert!(bad.checked().is_err(), "{bad:?}");
        }
        assert!(Throughput::Manual(1_300).checked().is_ok() && autoscale(4_000).checked().is_ok());
    }
}
