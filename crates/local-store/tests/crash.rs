//! What was acknowledged is there after the process or the power has gone.
//!
//! The child is this test binary again, told by an environment variable to write and to print what was acknowledged.

#![allow(clippy::unwrap_used, reason = "clippy knows only the test functions of such a file, not its helpers")]

mod trace;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

// Who fuzzes the library builds this file with the same instrumentation, which must be linked.
use bolero as _;
use bytes::Bytes;
use feedmill_clock::SystemClock;
use feedmill_local_store::{LocalStore, OpenError, Options};
use feedmill_store_api::{
    BatchOutcome, Container, ContainerSpec, DocumentId, ErrorKind, FeedRange, FeedStart, Operation, Order, PageRequest,
    PartitionKey, Query, ReadLevel, Scope,
};

const CHILD: &str = "FEEDMILL_CRASH_CHILD";
/// How many acknowledgements the child prints before it ends without any cleaning up; unlimited when it is not set.
const CHILD_LIMIT: &str = "FEEDMILL_CRASH_CHILD_LIMIT";
const WRITERS: u64 = 8;
/// So small that a child's life sees tables written out and journals changed.
const MEMTABLE_BYTES: u64 = 1024 * 1024;

static ACKNOWLEDGED: AtomicUsize = AtomicUsize::new(0);

async fn open(dir: &Path) -> (LocalStore, Arc<dyn Container>) {
    let options = Options { memtable_bytes: MEMTABLE_BYTES, ..Options::default() };
    let store = LocalStore::open(dir, options, Arc::new(SystemClock)).unwrap();
    let spec = ContainerSpec::new("c", "/pk").partitions(2).composite_index(&[("/n", Order::Descending)]);
    let database = store.database("crash").await.unwrap();
    database.provision(&spec).await.unwrap();
    let container = database.container("c").await.unwrap();
    (store, container)
}

/// Writes until it is killed. Each round of a writer is one transaction: a counter that grows, a document that is new, and
/// the removal of one that was new ten rounds ago.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the child of the tests below"]
async fn child() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let (store, container) = open(Path::new(&dir)).await;
    let writer = |writer| tokio::spawn(write_on(store.clone(), Arc::clone(&container), writer));
    let writers: Vec<_> = (0..WRITERS).map(writer).collect();
    for writer in writers {
        writer.await.unwrap();
    }
}

async fn write_on(store: LocalStore, container: Arc<dyn Container>, writer: u64) {
    let (key_text, key) = key(writer);
    let found = container.read(&key, &id("counter"), &ReadLevel::Quorum).await.unwrap().0;
    let mut n = found.map_or(0, |document| document.parse::<serde_json::Value>().unwrap()["n"].as_u64().unwrap());
    loop {
        n += 1;
        let body = |id: &str| {
            let filler = "x".repeat(300);
            Bytes::from(format!(r#"{{"id":"{id}","pk":"{key_text}","n":{n},"filler":"{filler}"}}"#))
        };
        let new = format!("new{n}");
        let mut operations = vec![
            Operation::Upsert { id: id("counter"), body: body("counter") },
            Operation::Create { id: id(&new), body: body(&new) },
        ];
        if n > 10 {
            operations.push(Operation::Delete { id: id(&format!("new{}", n - 10)), if_match: None });
        }
        let outcome = match container.batch(&key, operations).await {
            Ok(outcome) => outcome,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
                eprintln!("refused: {error}");
                // Once refused, always refused.
                let again = Operation::Upsert { id: id("again"), body: body("again") };
                assert_eq!(container.write(&key, again).await.unwrap_err().kind(), ErrorKind::Unavailable);
                return;
            }
        };
        assert!(matches!(outcome, BatchOutcome::Committed { .. }), "{outcome:?}");
        if writer == 0 && n % 8 == 0 {
            split_or_merge(&store, &*container, usize::try_from(n / 8).unwrap()).await;
        }
        // One system call, so that a trace shows the acknowledgement as a whole.
        std::io::stdout().lock().write_all(format!("ack {writer} {n}\n").as_bytes()).unwrap();
        let limit = std::env::var(CHILD_LIMIT).ok().and_then(|limit| limit.parse::<usize>().ok());
        if limit.is_some_and(|limit| ACKNOWLEDGED.fetch_add(1, Ordering::Relaxed) + 1 >= limit) {
            std::process::abort();
        }
    }
}

/// Up to six partitions and back to one, each time at another place, while the others write.
async fn split_or_merge(store: &LocalStore, container: &dyn Container, turn: usize) {
    let ranges = container.feed_ranges().await.unwrap();
    let outcome = if turn % 16 < 8 && ranges.len() < 6 {
        store.split("crash", "c", &ranges[turn % ranges.len()]).await.map(drop)
    } else if ranges.len() > 1 {
        let at = turn % (ranges.len() - 1);
        store.merge("crash", "c", &ranges[at], &ranges[at + 1]).await.map(drop)
    } else {
        return;
    };
    if let Err(error) = outcome {
        assert!(matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Unavailable), "{error}");
    }
}

fn key(writer: u64) -> (String, PartitionKey) {
    let text = format!("writer{writer}");
    (text.clone(), PartitionKey::from(text))
}

fn id(id: &str) -> DocumentId {
    DocumentId::new(id).unwrap()
}

/// Everything is as the acknowledged rounds left it, or as the round that was under way would.
async fn check(dir: &Path, acknowledged: &BTreeMap<u64, u64>) -> BTreeMap<u64, u64> {
    let there = check_whole(dir).await;
    for writer in 0..WRITERS {
        let (acked, n) = (acknowledged.get(&writer).copied().unwrap_or(0), there[&writer]);
        assert!(n == acked || n == acked + 1, "writer {writer} was acknowledged {acked} rounds, {n} are there");
    }
    there
}

/// Documents, index and feed tell the same, of whole transactions. Gives how many rounds of each writer there are.
async fn check_whole(dir: &Path) -> BTreeMap<u64, u64> {
    let (store, container) = open(dir).await;
    assert_eq!(store.check().unwrap(), []);
    let (mut expected, mut there) = (BTreeMap::new(), BTreeMap::new());
    for writer in 0..WRITERS {
        let (key_text, key) = key(writer);
        there.insert(writer, 0);
        let Some(counter) = container.read(&key, &id("counter"), &ReadLevel::Quorum).await.unwrap().0 else {
            continue;
        };
        let n = counter.parse::<serde_json::Value>().unwrap()["n"].as_u64().unwrap();
        there.insert(writer, n);
        let ids: Vec<_> = (n.saturating_sub(9).max(1)..=n).rev().map(|n| format!("new{n}")).collect();
        let query = Query::new("SELECT VALUE c.id FROM c WHERE c.id != 'counter' ORDER BY c.n DESC");
        let scope = Scope::Partition(key);
        let page = container.query(&scope, &query, &PageRequest::first(100), &ReadLevel::Quorum).await.unwrap();
        let found: Vec<String> = page.items.iter().map(|item| serde_json::from_slice(item).unwrap()).collect();
        assert_eq!(found, ids, "writer {writer}: a transaction is there as a whole, in the index too");
        for id in ids.into_iter().chain(["counter".to_owned()]) {
            expected.insert((key_text.clone(), id), ());
        }
    }
    let mut fed = BTreeMap::new();
    let ranges = container.feed_ranges().await.unwrap();
    let whole = (FeedRange::min(&ranges[0]), FeedRange::max(ranges.last().unwrap()));
    assert_eq!(whole, ("", "FF"));
    assert!(ranges.windows(2).all(|pair| FeedRange::max(&pair[0]) == FeedRange::min(&pair[1])), "{ranges:?}");
    for range in ranges {
        let mut start = FeedStart::Beginning;
        loop {
            let page = container.read_page(&range, &start, 50).await.unwrap();
            if page.changes.is_empty() {
                break;
            }
            for change in &page.changes {
                let body: serde_json::Value = serde_json::from_slice(&change.body).unwrap();
                let text = |name: &str| body[name].as_str().unwrap().to_owned();
                assert!(fed.insert((text("pk"), text("id")), ()).is_none(), "one change a document");
            }
            start = FeedStart::Position(page.position);
        }
    }
    assert_eq!(fed, expected, "the feed has what reads have");
    there
}

fn as_child<'c>(command: &'c mut Command, dir: &Path) -> &'c mut Command {
    command.args(["child", "--exact", "--ignored", "--nocapture", "--test-threads", "1"]);
    command.env(CHILD, dir).stdout(Stdio::piped())
}

fn start(dir: &Path) -> Child {
    as_child(&mut Command::new(std::env::current_exe().unwrap()), dir).spawn().unwrap()
}

/// Takes in acknowledgements until there are `count` more, then kills the child and takes in what it had still printed.
fn read_and_kill(child: &mut Child, count: usize, acknowledged: &mut BTreeMap<u64, u64>) {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = 0;
    while seen < count {
        let line = lines.next().expect("the child writes until it is killed").unwrap();
        seen += usize::from(note(&line, acknowledged));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    for line in lines {
        note(&line.unwrap(), acknowledged);
    }
}

/// Whether the line was an acknowledgement.
fn note(line: &str, acknowledged: &mut BTreeMap<u64, u64>) -> bool {
    // The test harness begins the first line itself.
    let words: Vec<_> = line.rsplit("ack ").next().unwrap().split(' ').collect();
    let [writer, n] = words.as_slice() else { return false };
    let (Ok(writer), Ok(n)) = (writer.parse(), n.parse()) else { return false };
    acknowledged.insert(writer, n);
    true
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeMap::new();
    for count in [1, 40, 700, 3, 2_500, 150] {
        // The process id is chance enough for where in a round the kill falls.
        let count = count + std::process::id() as usize % 37;
        read_and_kill(&mut start(dir.path()), count, &mut acknowledged);
        // The next child begins where this one ended, acknowledged or not.
        acknowledged = check(dir.path(), &acknowledged).await;
    }
}

#[tokio::test]
async fn a_second_opener_is_told_which_directory_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = start(dir.path());
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    while !line.contains("ack") {
        line.clear();
        output.read_line(&mut line).unwrap();
    }
    let error = LocalStore::open(dir.path(), Options::default(), Arc::new(SystemClock)).err().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(matches!(error, OpenError::InUse { .. }), "{error:?}");
    assert!(error.to_string().contains(&dir.path().display().to_string()), "{error}");
}

/// A power cut leaves of each file what was last synced, so the trace tells what a machine would find.
#[tokio::test]
async fn what_was_acknowledged_survives_a_power_cut() {
    if Command::new("strace").arg("-V").output().is_err() {
        eprintln!("skipped: what_was_acknowledged_survives_a_power_cut needs strace, which is not installed");
        return;
    }
    let (dir, trace_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let trace_file = trace_dir.path().join("trace");
    let mut command = Command::new("strace");
    command.args(["-f", "-y", "-s", "65536", "-o"]).arg(&trace_file);
    command.args(["-e", "trace=write,writev,pwrite64,fsync,fdatasync,rename,renameat,renameat2"]);
    command.arg(std::env::current_exe().unwrap()).env(CHILD_LIMIT, "600");
    let output = as_child(&mut command, dir.path()).stderr(Stdio::null()).output().unwrap();
    assert!(!output.status.success(), "the child aborts");

    let traced = trace::Traced::read(&std::fs::read_to_string(&trace_file).unwrap(), dir.path());
    assert!(traced.acknowledged.values().sum::<u64>() >= 600, "{:?}", traced.acknowledged);
    assert_eq!(traced.too_early, Vec::<String>::new(), "acknowledged before the journal was synced");

    let copy = tempfile::tempdir().unwrap();
    let cut_bytes = traced.copy_what_is_synced(dir.path(), copy.path());
    println!("cut off {cut_bytes} bytes that were not synced");
    check(copy.path(), &traced.acknowledged).await;
}

/// A directory on a disk of its own that is soon full; the test below makes one and runs itself again on it.
const SMALL_DISK: &str = "FEEDMILL_SMALL_DISK";

#[tokio::test]
async fn what_was_acknowledged_survives_a_full_disk() {
    if let Some(disk) = std::env::var_os(SMALL_DISK) {
        return fill(Path::new(&disk)).await;
    }
    let disk = tempfile::tempdir().unwrap();
    // A mount that only this command and its children see, which needs no rights where user namespaces are allowed.
    let mut command = Command::new("unshare");
    command.args(["--map-root-user", "--mount", "sh", "-c"]);
    command.arg(r#"mount -t tmpfs -o size=100m tmpfs "$0" || exit 77; exec "$@""#).arg(disk.path());
    command.arg(std::env::current_exe().unwrap());
    command.args(["what_was_acknowledged_survives_a_full_disk", "--exact", "--nocapture"]);
    let output = command.env(SMALL_DISK, disk.path()).output();
    match output {
        Ok(output) if output.status.success() => {}
        Ok(output) if output.status.code() == Some(101) => {
            panic!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
        }
        _ => eprintln!(
            "skipped: what_was_acknowledged_survives_a_full_disk needs unshare and the right to mount a tmpfs"
        ),
    }
}

async fn fill(disk: &Path) {
    let (store, ballast) = (disk.join("store"), disk.join("ballast"));
    let mut acknowledged = BTreeMap::new();
    let mut command = Command::new(std::env::current_exe().unwrap());
    let mut child = as_child(&mut command, &store).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut seen = 0;
    while seen < 1_000 {
        seen += usize::from(note(&lines.next().expect("nothing is in the way yet").unwrap(), &mut acknowledged));
    }
    // The store gives back what it no longer needs, so that how fast the machine is decides whether it ever fills a disk.
    let ended = AtomicBool::new(false);
    let output = std::thread::scope(|scope| {
        scope.spawn(|| take_what_is_free(&ballast, &ended));
        let rest: Vec<_> = lines.collect();
        let output = child.wait_with_output();
        ended.store(true, Ordering::Relaxed);
        for line in rest {
            note(&line.unwrap(), &mut acknowledged);
        }
        output.unwrap()
    });
    let refusals = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{refusals}");
    assert!(refusals.contains(&store.display().to_string()) && refusals.contains("free space"), "{refusals}");
    // Still full: to open is refused with a remedy, or works; nothing panics.
    if let Err(error) = LocalStore::open(&store, Options::default(), Arc::new(SystemClock)) {
        assert!(matches!(error, OpenError::Full { .. }), "{error:?}");
    }
    std::fs::remove_file(&ballast).unwrap();
    check(&store, &acknowledged).await;
}

fn take_what_is_free(ballast: &Path, ended: &AtomicBool) {
    let mut ballast = std::fs::File::create(ballast).unwrap();
    let piece = vec![1; 1 << 20];
    while !ended.load(Ordering::Relaxed) {
        if ballast.write(&piece).is_err() {
            std::thread::yield_now();
        }
    }
}
