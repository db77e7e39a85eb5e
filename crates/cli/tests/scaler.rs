use std::io::{BufRead, BufReader};
use std::net::TcpStream;

use crate::support::{Served, command, feedmill};

/// What it answers is tested with a client of the protocol, beside the service; here is what the command adds.
#[test]
fn the_scaler_listens_once_the_leases_can_be_seen_and_stops_in_order() {
    let served = Served::in_memory();
    served.run(&["provision"]).succeeded();
    let mut child = command(served.arguments(&["scaler", "--port", "0"])).spawn().unwrap();
    let mut address = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut address).unwrap();
    drop(TcpStream::connect(address.trim()).unwrap());
    let taken = served.run(&["scaler", "--port", address.trim().rsplit(':').next().unwrap()]);
    assert!(taken.failed(1).contains("--port"));

    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(feedmill(["scaler", "--port", "0"]).failed(2).contains("--endpoint"));
}
