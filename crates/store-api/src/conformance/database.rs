//! Containers come and go as provisioned.

use super::Harness;
use super::fixture::{Fixture, assert_refused};
use crate::{ContainerSpec, DefaultTtl, ErrorKind, Order, Provisioned};

pub async fn an_unknown_container_is_not_found(harness: &dyn Harness) {
    let database = harness.database();
    let missing = database.container(&harness.container_name()).await;
    assert_refused(missing.map(drop), ErrorKind::NotFound, "a container nobody made");
}

pub async fn provisioning_again_changes_nothing(harness: &dyn Harness) {
    let database = harness.database();
    let spec = ContainerSpec::new(harness.container_name(), "/pk")
        .ttl(DefaultTtl::Forever)
        .composite_index(&[("/a", Order::Ascending), ("/b", Order::Descending)])
        .exclude("/_source/*")
        .partitions(2);
    let first = database.provision(&spec).await.expect("a new container can be provisioned");
    assert_eq!(first, Provisioned::Created);
    let rid = database.container(&spec.name).await.expect("it is there").rid().to_owned();
    let second = database.provision(&spec).await.expect("provisioning can be repeated");
    assert_eq!(second, Provisioned::Unchanged);
    assert_eq!(database.container(&spec.name).await.expect("it is still there").rid(), rid);
}

pub async fn a_container_that_differs_is_told_of_and_left_alone(harness: &dyn Harness) {
    let database = harness.database();
    let spec = ContainerSpec::new(harness.container_name(), "/pk").ttl(DefaultTtl::Seconds(90));
    database.provision(&spec).await.expect("a new container can be provisioned");
    let others = [
        ContainerSpec { default_ttl: None, ..spec.clone() },
        ContainerSpec { partition_key: vec!["/other".to_owned()], ..spec.clone() },
        spec.clone().composite_index(&[("/a", Order::Ascending), ("/b", Order::Ascending)]),
        spec.clone().exclude("/_source/*"),
    ];
    for other in others {
        match database.provision(&other).await.expect("a difference is no failure") {
            Provisioned::Differs(differences) => assert!(!differences.is_empty(), "{other:?}: nothing said"),
            outcome => panic!("{other:?} differs from {spec:?}, but the store says {outcome:?}"),
        }
    }
    let stored = database.container(&spec.name).await.expect("it is still there");
    assert_eq!(stored.spec().default_ttl, spec.default_ttl);
    assert_eq!(stored.partition_key_paths(), spec.partition_key);
}

pub async fn a_container_knows_what_it_is(harness: &dyn Harness) {
    let database = harness.database();
    let spec = ContainerSpec::new(harness.container_name(), "/pk")
        .ttl(DefaultTtl::Seconds(60))
        .composite_index(&[("/a", Order::Ascending), ("/b", Order::Descending)])
        .exclude("/_source/*");
    database.provision(&spec).await.expect("a new container can be provisioned");
    let container = database.container(&spec.name).await.expect("it is there");
    assert_eq!(container.name(), spec.name);
    assert_eq!(container.partition_key_paths(), ["/pk"]);
    assert_eq!(container.spec().default_ttl, spec.default_ttl);
    assert_eq!(container.spec().composite_indexes, spec.composite_indexes);
    assert_eq!(container.spec().excluded_paths, spec.excluded_paths);
    let other = Fixture::new(harness).await;
    assert_ne!(container.rid(), other.container.rid(), "two containers have two resource ids");
    assert!(!database.host().is_empty() && !database.rid().is_empty());
    assert_eq!(database.rid(), harness.database().rid());
}

pub async fn all_containers_are_listed_in_order(harness: &dyn Harness) {
    let database = harness.database();
    let mut made = Vec::new();
    for _ in 0..3 {
        made.push(Fixture::new(harness).await.container.name().to_owned());
    }
    let listed = database.containers().await.expect("containers can be listed");
    assert!(listed.is_sorted(), "{listed:?}");
    assert!(made.iter().all(|name| listed.contains(name)), "{made:?} in {listed:?}");
}
