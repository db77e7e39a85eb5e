//! Who a process is to the others, and how it leaves them.

use std::process::Child;
use std::time::Duration;

use feedmill_clock::{Clock, SystemClock};
use serde_json::Value;

use crate::support::{Served, command, lines};

const REPLICA: &str = "feedmill--r1-7d9f-abcde";

/// More than a minute, far more than anything here takes.
const LOOKS: u32 = 600;

fn replica(served: &Served) -> Child {
    // Dead after six seconds, so that its next life need not wait long.
    let quick = ["--set", "engine.heartbeat_interval=1s", "--set", "engine.heartbeat_expiry=6s"];
    let arguments = served.arguments(&[&["run"][..], &quick].concat());
    command(arguments).env("CONTAINER_APP_REPLICA_NAME", REPLICA).env("HOSTNAME", "not-this").spawn().unwrap()
}

/// The leases once they are as wanted.
fn leases_when(served: &Served, wanted: impl Fn(&[Value]) -> bool) -> Vec<Value> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    for _ in 0..LOOKS {
        let ran = served.run(&["leases", "list", "--json"]);
        let leases = if ran.code == Some(0) { lines(&ran.stdout) } else { Vec::new() };
        if !leases.is_empty() && wanted(&leases) {
            return leases;
        }
        runtime.block_on(async { SystemClock.sleep(Duration::from_millis(100)).await });
    }
    panic!("the leases never were as wanted: {}", served.run(&["leases", "list"]).stdout);
}

fn is_owned(lease: &Value) -> bool {
    lease["owner"] == REPLICA
}

#[test]
fn a_replica_that_was_killed_takes_its_leases_back_under_its_name_and_gives_them_up_when_told_to_stop() {
    let served = Served::in_memory();
    served.run(&["provision"]).succeeded();
    let mut first = replica(&served);
    let before = leases_when(&served, |leases| leases.iter().all(is_owned));
    first.kill().unwrap();
    first.wait().unwrap();

    let epoch = |lease: &Value| lease["epoch"].as_u64().unwrap();
    let oldest = before.iter().map(epoch).max().unwrap();
    let mut second = replica(&served);
    leases_when(&served, |leases| leases.iter().all(|lease| is_owned(lease) && epoch(lease) > oldest));

    let id = rustix::process::Pid::from_child(&second);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    assert_eq!(second.wait().unwrap().code(), Some(0));
    let after = leases_when(&served, |_| true);
    assert!(after.iter().all(|lease| lease["owner"].is_null()), "{after:?}");
}
