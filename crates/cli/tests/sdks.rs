//! Clients that nobody here wrote, against `feedmill store serve`. Each is skipped by name where it is not installed:
//! `pip install azure-cosmos` into the Python of `FEEDMILL_PYTHON` (or `python3`), `npm install @azure/cosmos` into `NODE_PATH`.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::Served;

fn is_there(program: &str, arguments: &[&str]) -> bool {
    let tried = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    tried.is_ok_and(|status| status.success())
}

fn check(program: &str, probe: &[&str], script: &str) {
    if !is_there(program, probe) {
        // Past the capture of the test harness, so that nobody takes it for a test that passed.
        let _said = writeln!(std::io::stderr().lock(), "skipped: {script}: {program} has no SDK of Azure Cosmos DB");
        return;
    }
    let served = Served::new(&["--memory", "--port", "0"]);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdks").join(script);
    let ran = Command::new(program).arg(path).arg(&served.endpoint).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success() && stdout.trim() == "passed", "{script}:\n{stdout}\n{stderr}");
}

#[test]
fn the_python_sdk_finds_what_it_expects() {
    let python = std::env::var("FEEDMILL_PYTHON").unwrap_or("python3".to_owned());
    check(&python, &["-c", "import azure.cosmos"], "python.py");
}

#[test]
fn the_javascript_sdk_finds_what_it_expects() {
    check("node", &["-e", "require('@azure/cosmos')"], "javascript.cjs");
}
