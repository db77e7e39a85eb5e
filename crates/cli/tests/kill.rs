//! Killed at random moments, again and again, the demo ends in the same documents as when nobody disturbs it.

use std::time::Duration;

use feedmill_clock::{Clock, Entropy, SystemClock};

use crate::support::{Store, command, comparable, data};

const KILLS: u32 = 20;

const CONTAINERS: [&str; 10] = [
    "posts_v2",
    "reactions",
    "follows",
    "publicProfiles",
    "authorPosts",
    "postReplies",
    "following",
    "userFeed",
    "counters",
    "notifications",
];

#[test]
fn twenty_kills_in_a_row_leave_the_documents_of_an_undisturbed_run() {
    let mut demo = vec!["demo"];
    let folder =
        data("twenty_kills (on a generated network instead)", "snb-stream").map(|folder| folder.display().to_string());
    match &folder {
        Some(folder) => demo.extend(["--data", folder, "--set", "notifications.retention=none"]),
        None => demo.extend(["--users", "300"]),
    }

    let undisturbed = Store::new();
    let began = SystemClock.monotonic();
    undisturbed.run(&demo).succeeded();
    let whole = SystemClock.monotonic().since(began);

    let entropy = Entropy::from_os().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let killed = Store::new();
    // Most of what it puts into feeds is cut into chunks, of which a kill leaves some half done.
    demo.extend(["--set", "user_feed.fan_out_inline_max=4"]);
    let mut hit = 0;
    for _ in 0..KILLS {
        let mut child = command(killed.arguments(&demo))
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // Early enough that twenty of them do not outlive the work.
        let after = whole.mul_f64(0.5 * entropy.unit()).max(Duration::from_millis(5));
        runtime.block_on(async { SystemClock.sleep(after).await });
        child.kill().unwrap();
        hit += u32::from(child.wait().unwrap().code().is_none());
    }
    assert!(hit > 0, "every run ended before it was killed: this test proved nothing");
    killed.run(&demo).succeeded();
    for container in CONTAINERS {
        let (found, expected) = (comparable(&killed.export(container)), comparable(&undisturbed.export(container)));
        for (id, document) in &expected {
            assert_eq!(found.get(id), Some(document), "{container}: {id}, after {hit} kills");
        }
        assert_eq!(found.len(), expected.len(), "{container} has more documents than it should");
    }
}
