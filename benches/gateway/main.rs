//! How many requests a second does the server answer, in memory and synced to disk, beside a server that does nothing?
//!
//! Each server runs in a process of its own; the load comes from this one, over HTTP/1.1 with one request at a time on each
//! connection, signed as SDKs sign. What the load itself costs is what the server that does nothing reaches.

mod server;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use feedmill_benches::http::{Asked, Measured, Particular, load};
use hyper::Method;
use serde_json::{Value, json};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Set for the child process that serves, with the folder of its store.
const KIND: &str = "FEEDMILL_BENCH_SERVER";
const FOLDER: &str = "FEEDMILL_BENCH_FOLDER";
const KINDS: [&str; 3] = ["canned", "memory", "disk"];
pub(crate) const KEY: &str = "YmVuY2g=";
/// Documents in the containers whose feeds are read.
pub(crate) const SIZES: [usize; 3] = [1_000, 100_000, 1_000_000];
const TIME: Duration = Duration::from_secs(3);
/// Documents of a kilobyte.
const TEXT_BYTES: usize = 960;
const PAGE: usize = 100;

fn main() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if let Ok(kind) = std::env::var(KIND) {
        let folder = std::env::var_os(FOLDER).ok_or("the child is told its folder")?;
        return runtime.block_on(server::serve(&kind, Path::new(&folder)));
    }
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    std::fs::create_dir_all(&target)?;
    let mut rows: Vec<(String, Vec<Option<Measured>>)> = Vec::new();
    for (column, kind) in KINDS.into_iter().enumerate() {
        eprintln!("measuring the {kind} server …");
        let folder = tempfile::tempdir_in(&target)?;
        let serving = Serving::start(kind, folder.path())?;
        for (row, (name, case)) in cases(kind)?.into_iter().enumerate() {
            let measured = match case {
                Some(Case { connections, asked, particular }) => {
                    let load = load(&serving.address, connections, TIME, Arc::new(asked), particular);
                    Some(runtime.block_on(load)?)
                }
                None => None,
            };
            if column == 0 {
                rows.push((name, Vec::new()));
            }
            rows[row].1.push(measured);
        }
    }
    print(&rows);
    let report: Vec<Value> =
        rows.iter().map(|(name, measured)| json!({"name": name, "servers": shown(measured)})).collect();
    let path = target.join("bench/gateway.json");
    std::fs::create_dir_all(path.parent().ok_or("the report has a folder")?)?;
    std::fs::write(&path, serde_json::to_vec_pretty(&report)?)?;
    println!("\nas JSON: target/bench/gateway.json");
    Ok(())
}

/// A server until it is dropped.
struct Serving {
    child: Child,
    address: String,
}

impl Serving {
    fn start(kind: &str, folder: &Path) -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut child = command.env(KIND, kind).env(FOLDER, folder.join("store")).stdout(Stdio::piped()).spawn()?;
        let mut address = String::new();
        BufReader::new(child.stdout.take().ok_or("it was piped")?).read_line(&mut address)?;
        Ok(Self { child, address: address.trim().to_owned() })
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

struct Case {
    connections: usize,
    asked: Asked,
    particular: Arc<Particular>,
}

/// What is asked; the server that does nothing is asked upserts alone.
fn cases(kind: &str) -> Result<Vec<(String, Option<Case>)>, Failure> {
    let real = kind != "canned";
    let mut cases = Vec::new();
    for connections in [1, 32, 256] {
        cases.push((format!("upserts of 1 KB, {connections} at once"), Some(upserts(connections)?)));
    }
    cases.push(("point reads of 100 B, 32 at once".to_owned(), real.then(point_reads).transpose()?));
    for size in SIZES {
        let name = format!("feed pages of {PAGE}, {size} documents, 32 at once");
        cases.push((name, real.then(|| feed_pages(size)).transpose()?));
    }
    for (name, text) in [
        ("first page of 10,000 in the order of an index", "SELECT * FROM c WHERE c.k = 'p' ORDER BY c.k ASC, c.n DESC"),
        ("first page of 10,000 in an order without one", "SELECT * FROM c WHERE c.k = 'p' ORDER BY c.text"),
    ] {
        cases.push((name.to_owned(), real.then(|| query(text)).transpose()?));
    }
    Ok(cases)
}

fn docs(container: &str) -> (String, String) {
    let link = format!("dbs/bench/colls/{container}");
    (format!("/{link}/docs"), link)
}

/// New documents, a key each.
fn upserts(connections: usize) -> Result<Case, Failure> {
    let (path, link) = docs("items");
    let asked = Asked::signed(Method::POST, &path, ("docs", &link), KEY)?
        .with("x-ms-documentdb-is-upsert", "true")
        .with("content-type", "application/json");
    let text = "x".repeat(TEXT_BYTES);
    // Those of another number of connections are others.
    let particular = move |number: u64| {
        let id = format!("{connections}-{number}");
        let body = Bytes::from(format!(r#"{{"id":"{id}","k":"{id}","text":"{text}"}}"#));
        (Some(("x-ms-documentdb-partitionkey", format!("[\"{id}\"]"))), body)
    };
    Ok(Case { connections, asked, particular: Arc::new(particular) })
}

fn point_reads() -> Result<Case, Failure> {
    let (path, link) = docs("feed1000");
    let asked = Asked::signed(Method::GET, &format!("{path}/0"), ("docs", &format!("{link}/docs/0")), KEY)?
        .with("x-ms-documentdb-partitionkey", "[\"k0\"]");
    Ok(Case { connections: 32, asked, particular: Arc::new(|_| (None, Bytes::new())) })
}

/// From anywhere in the feed.
fn feed_pages(size: usize) -> Result<Case, Failure> {
    let (path, link) = docs(&format!("feed{size}"));
    let asked = Asked::signed(Method::GET, &path, ("docs", &link), KEY)?
        .with("a-im", "Incremental Feed")
        .with("x-ms-max-item-count", PAGE.to_string())
        .with("x-ms-documentdb-partitionkeyrangeid", "0");
    let commits = (size / PAGE) as u64;
    let particular = move |number: u64| {
        // Far from the one before, and in the end everywhere.
        let after = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) % commits;
        (Some(("if-none-match", format!("\"{after}\""))), Bytes::new())
    };
    Ok(Case { connections: 32, asked, particular: Arc::new(particular) })
}

fn query(text: &str) -> Result<Case, Failure> {
    let (path, link) = docs("ordered");
    let asked = Asked::signed(Method::POST, &path, ("docs", &link), KEY)?
        .with("x-ms-documentdb-isquery", "true")
        .with("content-type", "application/query+json")
        .with("x-ms-max-item-count", PAGE.to_string())
        .with("x-ms-documentdb-partitionkey", "[\"p\"]");
    let body = Bytes::from(json!({"query": text, "parameters": []}).to_string());
    Ok(Case { connections: 32, asked, particular: Arc::new(move |_| (None, body.clone())) })
}

fn print(rows: &[(String, Vec<Option<Measured>>)]) {
    println!("{:<56}{:>10}{:>10}{:>10}{:>22}", "requests/s", KINDS[0], KINDS[1], KINDS[2], "disk p50 / p99 ms");
    for (name, measured) in rows {
        print!("{name:<56}");
        for measured in measured {
            print!(
                "{:>10}",
                measured.as_ref().map_or("-".to_owned(), |measured| format!("{:.0}", measured.per_second))
            );
        }
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let disk = measured.last().and_then(Option::as_ref);
        println!("{:>22}", disk.map_or(String::new(), |disk| format!("{:.2} / {:.2}", ms(disk.p50), ms(disk.p99))));
    }
}

fn shown(measured: &[Option<Measured>]) -> Value {
    let one = |(kind, measured): (&str, &Option<Measured>)| {
        let measured = measured.as_ref()?;
        let (p50, p99) = (measured.p50.as_secs_f64(), measured.p99.as_secs_f64());
        Some((kind.to_owned(), json!({"perSecond": measured.per_second, "p50Seconds": p50, "p99Seconds": p99})))
    };
    KINDS.into_iter().zip(measured).filter_map(one).collect::<serde_json::Map<_, _>>().into()
}
