use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::keeper::{Keeper, directory, free_port, run, skip_without};

/// The oldest release that the outbox is promised to work with.
const OLDEST: u32 = 15;

/// A PostgreSQL server of our own.
pub struct Postgres {
    bin: PathBuf,
    dir: PathBuf,
    port: u16,
    databases: AtomicU32,
    _keeper: Keeper,
}

impl Postgres {
    /// The server that the tests of a process share; `None`, and a line that names the test, where PostgreSQL cannot be had.
    pub fn shared(test: &str) -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Postgres>> = OnceLock::new();
        let shared = SHARED.get_or_init(Self::start).as_ref();
        skip_without(test, "PostgreSQL 15 or newer", shared.is_some());
        shared
    }

    pub fn own(test: &str) -> Option<Self> {
        let own = Self::start();
        skip_without(test, "PostgreSQL 15 or newer", own.is_some());
        own
    }

    fn start() -> Option<Self> {
        let bin = installed()?;
        let dir = directory("postgres");
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(&dir));
        }
        let data = dir.join("data");
        run(as_somebody(&bin.join("initdb")).arg("-D").arg(&data).args(["-A", "trust", "-U", "postgres", "--no-sync"]));
        let port = (0..5).map(|_| free_port()).find(|port| start(&bin, &dir, *port)).expect("a server that starts");
        let mut stop = as_somebody(&bin.join("pg_ctl"));
        stop.args(["stop", "-m", "immediate", "-s", "-D"]).arg(&data);
        let keeper = Keeper::start(&dir, &stop);
        Some(Self { bin, dir, port, databases: AtomicU32::new(0), _keeper: keeper })
    }

    /// Kills the server as a crash would and starts it again.
    pub fn crash_and_start(&self) {
        run(as_somebody(&self.bin.join("pg_ctl")).arg("-D").arg(self.dir.join("data")).args([
            "-m",
            "immediate",
            "stop",
        ]));
        assert!(start(&self.bin, &self.dir, self.port), "the server starts again");
    }

    /// The process that all of the server's others are children of.
    pub fn process(&self) -> u32 {
        let file = std::fs::read_to_string(self.dir.join("data/postmaster.pid")).expect("a running server has it");
        file.lines().next().and_then(|line| line.trim().parse().ok()).expect("its first line is the process")
    }

    /// The address of a new, empty database.
    pub fn database(&self) -> String {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let port = self.port.to_string();
        run(Command::new(self.bin.join("createdb")).args(["-h", "127.0.0.1", "-p", &port, "-U", "postgres", &name]));
        format!("postgres://postgres@127.0.0.1:{port}/{name}")
    }
}

/// The newest of the distribution's packages and of what the path has.
fn installed() -> Option<PathBuf> {
    let packaged = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Of the same version a package's folder counts, because it has all the programs: the last of equals is taken.
    let folders = std::env::split_paths(&path).chain(packaged.map(|version| version.path().join("bin")));
    let versions = folders.filter_map(|bin| Some((major(&bin.join("initdb"))?, bin)));
    let (_, newest) = versions.filter(|(major, _)| *major >= OLDEST).max_by_key(|(major, _)| *major)?;
    Some(newest)
}

/// 15 of `initdb (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)`.
fn major(initdb: &Path) -> Option<u32> {
    let said = Command::new(initdb).arg("--version").output().ok()?;
    let version = String::from_utf8(said.stdout).ok()?;
    version.split_whitespace().nth(2)?.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().expect("id");
    id.stdout.trim_ascii() == b"0"
}

/// PostgreSQL refuses to run as root; its package made a user.
fn as_somebody(program: &Path) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir("/");
    command
}

fn start(bin: &Path, dir: &Path, port: u16) -> bool {
    // Durability is the server's promise, not ours to test, and costs most of the time.
    let options = format!("-p {port} -k {} -c listen_addresses=127.0.0.1 -c fsync=off", dir.display());
    let mut command = as_somebody(&bin.join("pg_ctl"));
    command.arg("-D").arg(dir.join("data")).arg("-l").arg(dir.join("log")).args(["-w", "-o", &options, "start"]);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success())
}
