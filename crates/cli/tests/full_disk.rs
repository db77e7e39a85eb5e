//! A disk that is really full: a small one of our own, in a mount namespace of our own.

use std::process::Command;

use crate::support::{Store, comparable};

/// Enough for the containers and some of the network.
const TOO_SMALL: &str = "size=6m";
const LARGE_ENOUGH: &str = "size=1g";
/// Small and always the same.
const DEMO: &str = "demo --users 200 --until 2024-01-01T00:00:00Z --set notifications.retention=none";

/// Runs `script` as root of a namespace where the first argument is a disk of its own.
fn namespace(script: &str, arguments: &[&str]) -> std::process::Output {
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-euc", script, "sh"]).args(arguments);
    command.output().unwrap()
}

fn can_mount() -> bool {
    let probe =
        Command::new("unshare").args(["--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]).output();
    probe.is_ok_and(|output| output.status.success())
}

#[test]
fn a_full_disk_ends_the_run_with_a_way_out_and_loses_nothing() {
    if !can_mount() {
        println!("skipped: a_full_disk_ends_the_run_with_a_way_out_and_loses_nothing: cannot mount a small disk here");
        return;
    }
    let disk = tempfile::tempdir().unwrap();
    let script = format!(
        "mount -t tmpfs -o {TOO_SMALL} none $1
         code=0; $2 {DEMO} --data-dir $1/store 2>$3/said >&2 || code=$?
         echo $code > $3/code
         mount -o remount,{LARGE_ENOUGH} $1
         $2 {DEMO} --data-dir $1/store
         for container in userFeed counters notifications; do $2 export $container --data-dir $1/store > $3/$container; done"
    );
    let results = tempfile::tempdir().unwrap();
    let (disk, results) = (disk.path().to_str().unwrap(), results.path());
    let output = namespace(&script, &[disk, env!("CARGO_BIN_EXE_feedmill"), results.to_str().unwrap()]);
    assert!(output.status.success(), "after making room:\n{}", String::from_utf8_lossy(&output.stderr));

    let read = |name: &str| std::fs::read_to_string(results.join(name)).unwrap();
    let said = read("said");
    assert_eq!(read("code").trim(), "1", "{said}");
    assert!(said.contains("No space left") && said.contains("free space") && said.contains("\nhint: "), "{said}");

    let undisturbed = Store::new();
    let demo: Vec<_> = DEMO.split(' ').collect();
    undisturbed.run(&demo).succeeded();
    for container in ["userFeed", "counters", "notifications"] {
        let found = comparable(&crate::support::lines(&read(container)));
        assert_eq!(found, comparable(&undisturbed.export(container)), "{container}");
    }
}
