//! Our specification of a container, to and from the service's.

use azure_data_cosmos::models::{
    CompositeIndex, CompositeIndexOrder, CompositeIndexProperty, ContainerProperties, IndexingMode, IndexingPolicy,
    PartitionKeyDefinition, ThroughputProperties, TimeToLive,
};
use feedmill_store_api::{ContainerSpec, DefaultTtl, IndexPath, Order};

use crate::account::Throughput;

/// Excluded from the index of every container, whether or not one asks for it.
const ALWAYS_EXCLUDED: &str = "/\"_etag\"/?";

/// The service makes one partition for so many request units a second that are not autoscaled.
/// <https://learn.microsoft.com/azure/cosmos-db/scaling-provisioned-throughput-best-practices>
const UNITS_OF_A_PARTITION: u64 = 6_000;

pub(crate) fn properties(spec: &ContainerSpec) -> ContainerProperties {
    let paths: Vec<_> = spec.partition_key.iter().cloned().map(Into::into).collect();
    let mut indexing = IndexingPolicy::default().with_indexing_mode(IndexingMode::Consistent).with_included_path("/*");
    indexing.automatic = true;
    for path in &spec.excluded_paths {
        indexing = indexing.with_excluded_path(path.as_str());
    }
    for index in &spec.composite_indexes {
        let add = |index: CompositeIndex, path: &IndexPath| {
            let order = match path.order {
                Order::Ascending => CompositeIndexOrder::Ascending,
                Order::Descending => CompositeIndexOrder::Descending,
            };
            index.with_property(CompositeIndexProperty::new(path.path.clone(), order))
        };
        indexing = indexing.with_composite_index(index.iter().fold(CompositeIndex::default(), add));
    }
    ContainerProperties::new(spec.name.clone(), PartitionKeyDefinition::new(paths))
        .with_indexing_policy(indexing)
        .with_default_ttl(match spec.default_ttl {
            None => TimeToLive::Forever,
            Some(DefaultTtl::Forever) => TimeToLive::NoDefault,
            Some(DefaultTtl::Seconds(seconds)) => TimeToLive::Seconds(seconds),
        })
}

pub(crate) fn throughput(spec: &ContainerSpec, given: Throughput) -> Option<ThroughputProperties> {
    match given {
        Throughput::Fixed(units) => Some(ThroughputProperties::manual(u64::from(units))),
        Throughput::ByPartitions if spec.partitions > 1 => {
            Some(ThroughputProperties::manual(u64::from(spec.partitions) * UNITS_OF_A_PARTITION))
        }
        Throughput::ByPartitions | Throughput::Unnamed => None,
    }
}

/// What the service says of a container's own request units.
pub(crate) fn named(properties: &ThroughputProperties) -> Option<feedmill_store_api::Throughput> {
    use feedmill_store_api::Throughput::{Autoscale, Manual};
    properties.autoscale_maximum().map(Autoscale).or_else(|| properties.throughput().map(Manual))
}

pub(crate) fn spec(properties: &ContainerProperties, partitions: u32) -> ContainerSpec {
    let indexing = properties.indexing_policy.as_ref();
    let excluded = indexing.into_iter().flat_map(|policy| &policy.excluded_paths).map(|path| path.path.clone());
    let composite = indexing.into_iter().flat_map(|policy| &policy.composite_indexes).map(|index| {
        let path = |property: &CompositeIndexProperty| IndexPath {
            path: property.path.clone(),
            order: match property.order {
                CompositeIndexOrder::Descending => Order::Descending,
                _ => Order::Ascending,
            },
        };
        index.properties.iter().map(path).collect()
    });
    ContainerSpec {
        name: properties.id.to_string(),
        partition_key: properties.partition_key.paths().iter().map(ToString::to_string).collect(),
        default_ttl: match properties.default_ttl {
            TimeToLive::NoDefault => Some(DefaultTtl::Forever),
            TimeToLive::Seconds(seconds) => Some(DefaultTtl::Seconds(seconds)),
            _ => None,
        },
        composite_indexes: composite.collect(),
        excluded_paths: excluded.filter(|path| path != ALWAYS_EXCLUDED).collect(),
        partitions,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> ContainerSpec {
        ContainerSpec::new("userFeed", "/recipientId")
            .ttl(DefaultTtl::Forever)
            .composite_index(&[("/recipientId", Order::Ascending), ("/createdAt", Order::Descending)])
            .exclude("/_source/*")
            .partitions(3)
    }

    #[test]
    fn a_specification_survives_the_service() {
        for wanted in [
            full(),
            ContainerSpec::new("a", "/pk"),
            ContainerSpec { default_ttl: Some(DefaultTtl::Seconds(90)), ..full() },
            ContainerSpec { partition_key: vec!["/tenant".to_owned(), "/user/id".to_owned()], ..full() },
        ] {
            // As the service has it: through its JSON, with what it adds itself.
            let mut json = serde_json::to_value(properties(&wanted)).unwrap();
            let excluded = json["indexingPolicy"]["excludedPaths"].as_array().cloned().unwrap_or_default();
            let added = [excluded, vec![serde_json::json!({ "path": ALWAYS_EXCLUDED })]].concat();
            json["indexingPolicy"]["excludedPaths"] = added.into();
            let there = spec(&serde_json::from_value(json).unwrap(), wanted.partitions);
            assert_eq!(there, wanted);
        }
    }

    #[test]
    fn partitions_are_asked_for_in_units_on_this_machine_only() {
        let units = |given| throughput(&full(), given).and_then(|throughput| throughput.throughput());
        assert_eq!(units(Throughput::ByPartitions), Some(18_000));
        assert_eq!(units(Throughput::Fixed(400)), Some(400));
        assert_eq!(units(Throughput::Unnamed), None);
    }
}
