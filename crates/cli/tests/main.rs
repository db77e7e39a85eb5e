//! The commands as a user runs them: real processes, one test binary.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail where they stand")]

mod bad_input;
mod beside;
mod by_hand;
mod cache;
mod canonical;
mod charts;
mod config;
mod demo;
mod doctor;
mod erase;
mod export;
mod full_disk;
mod help;
mod host;
mod kill;
mod ldbc;
mod leases;
mod notifications;
mod outbox;
mod outbox_kill;
mod profiles;
mod provision;
mod scaler;
mod sdks;
mod secrets;
mod served_kill;
mod support;
mod traces;
mod workers;
mod workers_in_trouble;
