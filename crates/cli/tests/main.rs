//! The commands as a user runs them: real processes, one test binary.

mod bad_input;
mod config;
mod demo;
mod export;
mod help;
mod support;
