//! The suite every adapter runs: each promise of this crate's docs as a case that fails where it is broken.
//!
//! An adapter implements [`Harness`] in its tests and calls [`conformance_tests!`](crate::conformance_tests), which makes
//! each case a test of its own. A case panics with a sentence; what cannot run on an adapter says so on stderr.

pub mod batches;
pub mod bodies;
pub mod database;
pub mod documents;
pub mod expiry;
pub mod feed;
pub mod feed_parts;
mod fixture;
pub mod queries;
pub mod races;
pub mod topology;

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::{Database, FeedRange};

/// What a case needs of its surroundings. One is made for each case.
pub trait Harness: Send + Sync {
    fn database(&self) -> Arc<dyn Database>;

    /// Another name each time, of no container there is.
    fn container_name(&self) -> String;

    /// Moves the store's clock forward; `false` when nobody can.
    fn advance(&self, seconds: u32) -> BoxFuture<'_, bool>;

    /// Splits the physical partition of this range in two; `false` when nobody can.
    fn split<'a>(&'a self, _container: &'a str, _range: &'a FeedRange) -> BoxFuture<'a, bool> {
        Box::pin(std::future::ready(false))
    }

    /// Makes one physical partition of two neighbours; `false` when nobody can.
    fn merge<'a>(&'a self, _container: &'a str, _low: &'a FeedRange, _high: &'a FeedRange) -> BoxFuture<'a, bool> {
        Box::pin(std::future::ready(false))
    }

    /// Runs `task` beside the case, on the runtime that the store needs. The result completes with it and panics if it
    /// panicked.
    fn spawn(&self, task: BoxFuture<'static, ()>) -> BoxFuture<'static, ()>;
}

fn skipped(case: &str) {
    eprintln!("skipped on this store: {case}");
}

/// Makes every case a `#[tokio::test]` here. The expression makes a fresh [`Harness`](crate::conformance::Harness) and may
/// await; two stores under one adapter each get a module of their own.
///
/// ```text
/// mod memory {
///     feedmill_store_api::conformance_tests!(super::Memory::new());
/// }
/// ```
#[macro_export]
macro_rules! conformance_tests {
    ($harness:expr) => {
        $crate::conformance_tests! { @cases $harness;
            database: [
                an_unknown_container_is_not_found
                provisioning_again_changes_nothing
                a_container_that_differs_is_told_of_and_left_alone
                a_container_knows_what_it_is
                all_containers_are_listed_in_order
            ]
            documents: [
                create_refuses_a_taken_id_and_leaves_what_is_there
                one_id_under_two_keys_is_two_documents
                upsert_creates_and_then_replaces
                what_is_not_there_can_be_neither_replaced_nor_deleted
                a_condition_holds_for_the_version_it_names_only
                no_two_versions_share_an_etag
                a_version_made_before_a_delete_never_matches_again
                the_store_adds_its_own_fields
                the_time_of_a_write_is_the_stores
                many_are_read_in_the_order_asked_for_with_gaps
                more_than_a_hundred_are_not_read_at_once
                what_was_acknowledged_is_seen
                a_quorum_read_costs_more_than_a_session_read
            ]
            bodies: [
                odd_ids_and_keys_are_as_good_as_any
                neighbouring_keys_and_ids_do_not_mix
                every_kind_of_key_is_its_own_partition
                a_key_may_have_several_levels
                a_body_must_be_an_object_with_its_own_id_and_key
                an_item_may_have_two_megabytes_and_no_more
                a_partition_key_has_a_limit
                a_body_comes_back_as_it_was_meant
            ]
            batches: [
                a_batch_takes_effect_as_a_whole
                a_refused_operation_undoes_the_whole_batch
                an_invalid_operation_undoes_the_whole_batch
                operations_of_a_batch_see_those_before_them
                a_batch_has_limits
                a_batch_is_one_lsn_and_keeps_its_order
                a_batch_stays_within_its_key
            ]
            expiry: [
                a_document_expires_by_its_own_time_or_the_containers
                without_a_default_only_a_ttl_of_its_own_counts
                where_nothing_expires_a_ttl_is_a_field_like_any_other
                every_write_starts_the_time_anew
                an_expired_document_is_absent_to_writes
                a_ttl_is_a_positive_whole_number_or_minus_one
            ]
            feed: [
                ranges_cover_everything_once
                every_document_is_in_exactly_one_range
                a_change_says_when_and_which_version
                a_key_comes_in_the_order_of_its_last_writes
                a_deleted_document_leaves_the_feed
                a_page_is_as_large_as_asked_for
                a_transaction_is_never_cut
                reading_goes_on_from_any_position
                an_overwritten_change_does_not_disturb_positions_around_it
                now_begins_after_all_there_is
                a_time_begins_with_what_was_written_after_it
                the_end_of_the_feed_stands_still_until_something_is_written
                an_empty_container_has_an_empty_feed
                a_range_across_partitions_is_gone
                a_page_costs_what_it_holds
            ]
            feed_parts: [
                a_part_of_a_range_holds_its_keys_alone
                a_position_of_a_range_is_good_for_its_parts
                an_empty_part_still_moves_on
                a_reader_among_writers_misses_nothing
            ]
            topology: [
                halves_take_the_place_of_what_was_split
                a_position_of_a_parent_is_good_for_its_children
                positions_stay_good_after_a_merge
                what_was_written_before_a_time_stays_out_after_a_merge
                a_document_stays_what_it_was_through_a_split_and_a_merge
                nothing_is_lost_while_ranges_split_and_merge
            ]
            races: [
                one_of_those_who_race_for_an_id_creates_it
                one_of_those_who_race_for_a_version_replaces_it
                a_request_that_is_dropped_happened_wholly_or_not_at_all
            ]
            queries: [
                a_filter_finds_what_it_describes
                a_partition_or_the_whole_container_is_searched
                an_order_is_kept_over_pages_in_both_directions
                an_ordered_query_may_begin_anywhere
                an_order_ranks_types_as_the_service_does
                pages_stay_whole_while_others_write
                aggregates_and_groups
                what_documents_have_in_arrays_is_joined_page_by_page
                a_limit_counts_over_all_pages
                a_whole_document_is_what_a_read_gives
                the_stores_own_fields_are_there_however_they_are_asked_for
                a_path_left_out_of_the_index_still_answers
                a_query_that_makes_no_sense_is_refused_with_its_place
                a_page_of_an_indexed_order_costs_what_it_holds
            ]
        }
    };
    (@cases $harness:expr; $($module:ident: [$($case:ident)*])*) => {
        $($(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let harness = $harness;
                $crate::conformance::$module::$case(&harness).await;
            }
        )*)*
    };
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_case_is_on_the_list() {
        let list = include_str!("mod.rs");
        let files = [
            include_str!("batches.rs"),
            include_str!("bodies.rs"),
            include_str!("database.rs"),
            include_str!("documents.rs"),
            include_str!("expiry.rs"),
            include_str!("feed.rs"),
            include_str!("feed_parts.rs"),
            include_str!("queries.rs"),
            include_str!("races.rs"),
            include_str!("topology.rs"),
        ];
        let cases = files.iter().flat_map(|file| file.lines()).filter_map(|line| line.strip_prefix("pub async fn "));
        let mut count = 0;
        for case in cases.filter_map(|line| line.split('(').next()) {
            assert!(list.lines().any(|line| line.trim() == case), "{case} is never run");
            count += 1;
        }
        assert!(count > 50, "only {count} cases were found");
    }
}
