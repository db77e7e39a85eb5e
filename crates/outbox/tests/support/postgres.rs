use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use feedmill_outbox::PgPool;

/// A server started for these tests, on a free port and in a temporary directory; never the machine's own.
pub(crate) struct Server {
    bin: PathBuf,
    dir: PathBuf,
    port: u16,
    databases: AtomicU32,
    /// Stops the server and removes its directory once our end of its standard input closes, however we end.
    _keeper: Child,
}

impl Server {
    /// The server that tests share; `None`, and a line that names the test, where PostgreSQL cannot be had.
    pub(crate) fn shared(test: &str) -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Server>> = OnceLock::new();
        let shared = SHARED.get_or_init(Self::start).as_ref();
        skip_without(test, shared.is_some());
        shared
    }

    pub(crate) fn own(test: &str) -> Option<Self> {
        let own = Self::start();
        skip_without(test, own.is_some());
        own
    }

    fn start() -> Option<Self> {
        let bin = installed()?;
        let dir = std::env::temp_dir().join(format!("feedmill-postgres-{}-{}", std::process::id(), free_port()));
        std::fs::create_dir(&dir).expect("a temporary directory");
        if is_root() {
            run(Command::new("chown").arg("postgres").arg(&dir));
        }
        let data = dir.join("data");
        run(as_somebody(&bin.join("initdb")).arg("-D").arg(&data).args(["-A", "trust", "-U", "postgres", "--no-sync"]));
        // Somebody else may take a port between our look and the start.
        let port = (0..5).map(|_| free_port()).find(|port| start(&bin, &dir, *port)).expect("a server that starts");
        let keeper = "cat > /dev/null; \"$@\" stop -m immediate -s; rm -rf \"$DIR\"";
        let stop = as_somebody(&bin.join("pg_ctl"));
        let keeper = Command::new("sh")
            .env("DIR", &dir)
            .args(["-c", keeper, "sh"])
            .arg(stop.get_program())
            .args(stop.get_args())
            .arg("-D")
            .arg(&data)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh");
        Some(Self { bin, dir, port, databases: AtomicU32::new(0), _keeper: keeper })
    }

    /// Kills the server as a crash would and starts it again.
    pub(crate) fn crash_and_start(&self) {
        run(as_somebody(&self.bin.join("pg_ctl")).arg("-D").arg(self.dir.join("data")).args([
            "-m",
            "immediate",
            "stop",
        ]));
        assert!(start(&self.bin, &self.dir, self.port), "the server starts again");
    }

    /// The address of a new, empty database.
    pub(crate) async fn database(&self) -> String {
        let name = format!("test{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let pool: PgPool = feedmill_outbox::connect(&self.url("postgres"), 1).await.expect("the server answers");
        sqlx::query(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .execute(&pool)
            .await
            .expect("a new database");
        pool.close().await;
        self.url(&name)
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://postgres@127.0.0.1:{}/{database}", self.port)
    }
}

fn skip_without(test: &str, there: bool) {
    if !there {
        // Not through the print macros, which a passing test swallows.
        let _told = writeln!(std::io::stderr(), "skipped: {test}: PostgreSQL is not installed here");
    }
}

/// The newest of the distribution's packages, or what the path has.
fn installed() -> Option<PathBuf> {
    let packaged = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = packaged.map(|version| version.path().join("bin")).collect();
    found.sort();
    found.reverse();
    found.extend(std::env::var_os("PATH").iter().flat_map(std::env::split_paths));
    found.into_iter().find(|bin| bin.join("initdb").exists() && bin.join("postgres").exists())
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

fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().expect("a program that starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}
