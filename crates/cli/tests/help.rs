use crate::support::feedmill;

/// The help of every command, one after the other.
#[test]
fn the_whole_help() {
    let commands =
        ["demo", "run", "feed", "notifications", "counters", "export", "import", "store", "config", "completions"];
    let outbox = ["migrate", "schema", "run", "status", "show", "retry", "skip", "sweep", "snapshot"];
    let outbox = std::iter::once("outbox".to_owned()).chain(outbox.map(|command| format!("outbox {command}")));
    let verify = ["verify", "verify sources"].map(str::to_owned);
    let mut whole = feedmill(["--help"]).succeeded();
    for command in commands.map(str::to_owned).into_iter().chain(outbox).chain(verify) {
        let arguments = command.split(' ').chain(["--help"]);
        whole += &format!("\n==== {command}\n\n{}", feedmill(arguments).succeeded());
    }
    insta::assert_snapshot!(whole);
}

#[test]
fn help_lists_every_command() {
    let help = feedmill(["--help"]).succeeded();
    let listed = help.split("Commands:").nth(1).unwrap().split("\n\n").next().unwrap();
    // A description that is wrapped goes on further to the right.
    let entries = listed.lines().filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')));
    let named: Vec<_> = entries.filter_map(|line| line.split_whitespace().next()).collect();
    let expected = [
        "demo",
        "run",
        "feed",
        "notifications",
        "counters",
        "export",
        "import",
        "outbox",
        "verify",
        "store",
        "config",
        "completions",
        "help",
    ];
    assert_eq!(named, expected);
}

#[test]
fn completions_are_for_the_real_command() {
    let script = feedmill(["completions", "bash"]).succeeded();
    assert!(script.contains("_feedmill()") && script.contains("--data-dir"));
}

#[test]
fn misuse_ends_with_two_and_talks_on_stderr() {
    for arguments in
        [&["no-such-command"][..], &["feed"], &["feed", "1", "--limit", "0"], &["feed", "1", "--before", "x"]]
    {
        let ran = feedmill(arguments);
        assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(ran.stderr.starts_with("error: "), "{arguments:?}: {}", ran.stderr);
    }
}
