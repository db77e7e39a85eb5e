//! The address of the database has a password in it, and nobody is ever shown it.

use std::io::{BufRead, BufReader, Read};

use crate::support::{Database, Ran, Store, command};

const PASSWORD: &str = "s3cret-Pa55word";

fn assert_untold(ran: &Ran, what: &str) {
    for said in [&ran.stdout, &ran.stderr] {
        assert!(!said.contains(PASSWORD), "{what} shows the password:\n{said}");
    }
}

#[test]
fn no_error_shows_the_address_of_the_database() {
    for url in [
        format!("postgres://me:{PASSWORD}@127.0.0.1:1/nothing"),
        format!("postgres://me:{PASSWORD}@127.0.0.1:port/nothing"),
        format!("postgres://me:{PASSWORD}@[::1/nothing"),
        format!("postgres://me:{PASSWORD}@127.0.0.1:1/x?sslmode=wrong"),
        format!("mysql://me:{PASSWORD}@127.0.0.1/nothing"),
        format!("host=127.0.0.1 password={PASSWORD}"),
    ] {
        let ran = Ran::from(command(["outbox", "status"]).env("FEEDMILL_POSTGRES_URL", &url).output().unwrap());
        assert_untold(&ran, &url);
        assert!(ran.code != Some(0) && ran.stderr.contains("\nhint: "), "{url}: {}", ran.stderr);
    }
    let store = Store::new();
    store.import("posts_v2", &[]);
    for url in [format!("redis://:{PASSWORD}@127.0.0.1:port/"), format!("http://:{PASSWORD}@127.0.0.1/")] {
        let arguments = store.arguments(&["run", "--until-caught-up", "--set", "cache.enabled=true"]);
        let ran = Ran::from(command(arguments).env("FEEDMILL_REDIS_URL", &url).output().unwrap());
        assert_untold(&ran, &url);
        assert!(ran.stderr.contains("FEEDMILL_REDIS_URL"), "{url}: {}", ran.stderr);
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
    }
    let url = format!("postgres://me:{PASSWORD}@127.0.0.1/x");
    for key in ["outbox.url", "postgres.url", "postgres.url_fiel"] {
        let ran = Ran::from(command(["config", "show", "--set", &format!("{key}={url}")]).output().unwrap());
        assert_untold(&ran, key);
        assert!(ran.stderr.contains(key), "{}", ran.stderr);
        assert_eq!(ran.code, Some(2));
    }
}

#[test]
fn neither_settings_nor_logs_nor_the_process_list_show_it() {
    let Some(database) = Database::migrated("neither_settings_nor_logs_nor_the_process_list_show_it") else { return };
    // The server trusts everybody, so the password does no harm.
    let url = database.url.replace("postgres@", &format!("postgres:{PASSWORD}@"));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), format!("{url}\n")).unwrap();
    let given = ["--set".to_owned(), format!("postgres.url_file={}", file.path().display())];
    for arguments in [&["config", "show"][..], &["config", "show", "--json"], &["outbox", "status"]] {
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).chain(given.clone());
        let ran = Ran::from(command(arguments).env("FEEDMILL_POSTGRES_URL", &url).output().unwrap());
        assert_untold(&ran, "a command");
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    }

    let store = Store::new();
    let arguments = ["outbox", "run", "--admin-port", "0", "--set", "telemetry.log_filter=debug"];
    let arguments = store.arguments(&arguments).into_iter().chain(given);
    let mut child = command(arguments).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut text = String::new();
    // The log is of the library that has the address, too.
    while !text.lines().last().is_some_and(|line| line.contains("SKIP LOCKED")) {
        assert!(said.read_line(&mut text).unwrap() > 0, "{text}");
    }
    for list in ["cmdline", "environ"] {
        let listed = std::fs::read(format!("/proc/{}/{list}", child.id())).unwrap();
        assert!(!String::from_utf8_lossy(&listed).contains(PASSWORD), "/proc shows it in {list}");
    }
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    said.read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{text}");
    assert!(!text.contains(PASSWORD), "the log shows it");
}

#[test]
fn without_an_address_it_is_said_where_one_belongs() {
    let said = Ran::from(command(["outbox", "status"]).output().unwrap()).failed(2);
    assert!(said.contains("FEEDMILL_POSTGRES_URL") && said.contains("postgres.url_file"), "{said}");
    let said = Ran::from(command(["outbox", "status", "--set", "postgres.url_file=/nowhere/url"]).output().unwrap());
    assert!(said.failed(2).contains("/nowhere/url"));
}
