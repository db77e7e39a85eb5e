use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Ends a server and removes its directory once our end of its standard input closes: dropped, panicked or killed, it is the
/// same to it.
pub(crate) struct Keeper {
    _waiting: Child,
}

impl Keeper {
    /// `stop` is run with `sh`, in `/`, with `DIR` in its environment.
    pub(crate) fn start(dir: &Path, stop: &Command) -> Self {
        let waiting = Command::new("sh")
            .env("DIR", dir)
            .args(["-c", "cat > /dev/null; \"$@\"; rm -rf \"$DIR\"", "sh"])
            .arg(stop.get_program())
            .args(stop.get_args())
            .current_dir("/")
            // What is sent to all of a terminal's processes, or by `timeout` to its own, is not for the one that tidies up.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("sh");
        Self { _waiting: waiting }
    }
}

/// A directory of this process that nobody else has.
pub(crate) fn directory(server: &str) -> PathBuf {
    let dir = std::env::temp_dir().join(format!("feedmill-{server}-{}-{}", std::process::id(), free_port()));
    std::fs::create_dir(&dir).expect("a temporary directory");
    dir
}

/// Somebody else may take it between this look and its use.
pub(crate) fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("an address").port()
}

pub(crate) fn skip_without(test: &str, package: &str, there: bool) {
    if !there {
        // Not through the print macros, which a passing test swallows.
        let _told = writeln!(std::io::stderr(), "skipped: {test}: {package} is not installed here");
    }
}

/// The program, where the path has it.
pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|program| program.exists())
}

pub(crate) fn run(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().expect("a program that starts");
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
