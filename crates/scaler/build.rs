//! Makes the server, and the client of the tests, from the protocol. In Rust alone: no `protoc` is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto/externalscaler.proto");
    let protocol = protox::compile(["externalscaler.proto"], ["proto"])?;
    tonic_prost_build::configure().btree_map(".").compile_fds(protocol)?;
    Ok(())
}
