use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::keeper::{Keeper, directory, free_port, on_path, skip_without};

/// A Redis server of our own that keeps nothing on disk.
pub struct Redis {
    program: PathBuf,
    dir: PathBuf,
    port: u16,
    running: Child,
    _keeper: Keeper,
}

impl Redis {
    /// `None`, and a line that names the test, where Redis cannot be had.
    pub fn own(test: &str) -> Option<Self> {
        let program = on_path("redis-server");
        skip_without(test, "Redis", program.is_some());
        let program = program?;
        let dir = directory("redis");
        for _ in 0..5 {
            let port = free_port();
            if let Some(running) = start(&program, &dir, port) {
                // By its address and not by its process: that may be another's by then.
                let mut stop = Command::new("redis-cli");
                stop.args(["-p", &port.to_string(), "shutdown", "nosave"]);
                let keeper = Keeper::start(&dir, &stop);
                return Some(Self { program, dir, port, running, _keeper: keeper });
            }
        }
        panic!("{} does not start", program.display());
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// What `redis-cli` prints.
    pub fn cli(&self, arguments: &[&str]) -> String {
        let output = Command::new("redis-cli").args(["-u", &self.url()]).args(arguments).output();
        String::from_utf8_lossy(&output.expect("redis-cli comes with the server").stdout).trim().to_owned()
    }

    /// Ends it as a crash would, with all it had; nobody listens at its address any more.
    pub fn kill(&mut self) {
        self.running.kill().expect("our own process");
        self.running.wait().expect("our own process");
    }

    /// Starts it again, empty, at the same address.
    pub fn start_again(&mut self) {
        self.running = start(&self.program, &self.dir, self.port).expect("the server starts again");
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // The keeper does the same for a process that gets no further than this.
        let _gone_already = self.running.kill();
        let _reaped = self.running.wait();
    }
}

fn start(program: &Path, dir: &Path, port: u16) -> Option<Child> {
    let mut running = Command::new(program)
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", &port.to_string(), "--dir"])
        .arg(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("an installed program starts");
    while running.try_wait().expect("our own process").is_none() {
        if answers(port) {
            return Some(running);
        }
        std::thread::yield_now();
    }
    None
}

fn answers(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { return false };
    let mut reply = [0; 5];
    stream.write_all(b"PING\r\n").is_ok() && stream.read_exact(&mut reply).is_ok() && &reply == b"+PONG"
}
