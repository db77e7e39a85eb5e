//! The containers that these settings need, and how those that are there compare.

use feedmill_documents::containers;
use feedmill_store_api::{ContainerSpec, Database, Difference, ErrorKind, Result, Throughput};

use crate::settings::Settings;

/// How a container compares with what it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Compared {
    Missing,
    AsWanted,
    Differs(Vec<Difference>),
}

/// Every container there should be, under the name that the settings give it.
pub(crate) fn wanted(settings: &Settings) -> Vec<ContainerSpec> {
    let mut wanted = containers::all(settings.store.partitions);
    for spec in &mut wanted {
        match spec.name.as_str() {
            containers::LEASES => spec.name.clone_from(&settings.engine.leases),
            containers::DEAD_LETTERS => spec.name.clone_from(&settings.engine.dead_letters),
            containers::USER_FEED => spec.name.clone_from(&settings.user_feed.container),
            containers::COUNTERS => spec.name.clone_from(&settings.counters.container),
            _ => {}
        }
    }
    let work = settings.user_feed.work();
    if work != containers::FAN_OUT {
        // Others than feeds have work in the first one.
        let of_first = wanted.iter().find(|spec| spec.name == containers::FAN_OUT).cloned();
        wanted.extend(of_first.map(|spec| ContainerSpec { name: work, ..spec }));
    }
    wanted
}

/// The specification with the freedom that it leaves: leases may also lie under `/partitionKey`, as some fleets of .NET have them.
pub(crate) async fn as_it_may_be(
    database: &dyn Database,
    settings: &Settings,
    mut spec: ContainerSpec,
) -> Result<ContainerSpec> {
    if spec.name != settings.engine.leases {
        return Ok(spec);
    }
    match database.container(&spec.name).await {
        Ok(there) => {
            if there.partition_key_paths() == ["/partitionKey"] {
                spec.partition_key = vec!["/partitionKey".to_owned()];
            }
            Ok(spec)
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(spec),
        Err(error) => Err(error),
    }
}

/// Changes nothing. Request units are compared where `units` says how many there should be.
pub(crate) async fn compare(database: &dyn Database, wanted: &ContainerSpec, units: Option<u32>) -> Result<Compared> {
    let there = match database.container(&wanted.name).await {
        Ok(there) => there,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Compared::Missing),
        Err(error) => return Err(error),
    };
    let mut differences = there.spec().differences(wanted);
    if let Some(units) = units {
        let is = database.throughput(&wanted.name).await?;
        differences.extend(throughput(is, units));
    }
    Ok(if differences.is_empty() { Compared::AsWanted } else { Compared::Differs(differences) })
}

fn throughput(is: Option<Throughput>, units: u32) -> Option<Difference> {
    let wanted = Throughput::Manual(u64::from(units));
    (is != Some(wanted)).then(|| Difference {
        what: "throughput",
        is: is.map_or("none of its own".to_owned(), |is| is.to_string()),
        wanted: wanted.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_and_dead_letters_have_the_names_of_the_settings() {
        let mut settings = Settings::default();
        settings.engine.leases = "feedLeases".to_owned();
        settings.engine.dead_letters = "failed".to_owned();
        let names: Vec<_> = wanted(&settings).into_iter().map(|spec| spec.name).collect();
        assert!(names.contains(&"feedLeases".to_owned()) && names.contains(&"failed".to_owned()), "{names:?}");
        assert!(!names.contains(&"leases".to_owned()) && !names.contains(&"deadLetters".to_owned()), "{names:?}");
        assert_eq!(names.len(), 14);
    }

    #[test]
    fn versions_of_projections_have_their_own_containers() {
        let mut settings = Settings::default();
        settings.user_feed.container = "userFeed_v2".to_owned();
        settings.counters.container = "counters_v3".to_owned();
        let names: Vec<_> = wanted(&settings).into_iter().map(|spec| spec.name).collect();
        for name in ["userFeed_v2", "fanOut_v2", "counters_v3"] {
            assert!(names.iter().any(|each| each == name), "{names:?}");
        }
        assert!(!names.iter().any(|name| ["userFeed", "counters"].contains(&name.as_str())), "{names:?}");
    }

    #[test]
    fn throughput_differs_exactly_where_the_units_do() {
        assert_eq!(throughput(Some(Throughput::Manual(400)), 400), None);
        let said = |is| throughput(is, 400).unwrap().to_string();
        assert_eq!(said(Some(Throughput::Manual(500))), "the throughput is 500 RU/s, wanted is 400 RU/s");
        assert_eq!(said(Some(Throughput::Autoscale(400))), "the throughput is up to 400 RU/s, wanted is 400 RU/s");
        assert_eq!(said(None), "the throughput is none of its own, wanted is 400 RU/s");
    }
}
