//! Generated from proto/externalscaler.proto.

#![allow(
    unreachable_pub,
    let_underscore_drop,
    clippy::all,
    clippy::semicolon_if_nothing_returned,
    clippy::uninlined_format_args,
    reason = "generated code has its own style"
)]

tonic::include_proto!("externalscaler");
