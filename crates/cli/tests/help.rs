use crate::support::feedmill;

/// The help of every command, one after the other.
#[test]
fn the_whole_help() {
    let commands = ["demo", "run", "feed", "notifications", "counters", "export", "import", "config", "completions"];
    let mut whole = feedmill(["--help"]).succeeded();
    for command in commands {
        whole += &format!("\n==== {command}\n\n{}", feedmill([command, "--help"]).succeeded());
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
    let expected =
        ["demo", "run", "feed", "notifications", "counters", "export", "import", "config", "completions", "help"];
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
