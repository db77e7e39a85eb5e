use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use super::{Ran, command, feedmill};

/// `feedmill store serve` in a process of its own, killed with this.
pub(crate) struct Served {
    child: Child,
    pub(crate) endpoint: String,
}

impl Served {
    /// With these arguments, which name a store and a port.
    pub(crate) fn new<A: AsRef<OsStr>>(arguments: &[A]) -> Self {
        let mut command = command(["store", "serve"]);
        let mut child = command.args(arguments).stderr(Stdio::null()).spawn().unwrap();
        let mut endpoint = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut endpoint).unwrap();
        Self { child, endpoint: endpoint.trim().to_owned() }
    }

    /// Of a store in memory.
    pub(crate) fn in_memory() -> Self {
        Self::new(&["--memory", "--port", "0"])
    }

    /// The arguments with `--endpoint` of this server.
    pub(crate) fn arguments(&self, arguments: &[&str]) -> Vec<String> {
        let endpoint = ["--endpoint", &self.endpoint];
        arguments.iter().chain(&endpoint).map(|&argument| argument.to_owned()).collect()
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        feedmill(self.arguments(arguments))
    }

    /// Without a word, as a machine that loses its power.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _waited = self.child.wait();
    }
}
