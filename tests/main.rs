//! System tests: whole parts together, and what must stay true of the code itself.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail where they stand")]

mod architecture;
mod audience;
mod by_hand;
mod conformance;
mod costs;
mod determinism;
mod erase;
mod hand_over;
mod large_network;
mod outbox;
mod projections;
mod simulation;
mod trending;
