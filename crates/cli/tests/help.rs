use crate::support::feedmill;

/// The help of every command, one after the other.
#[test]
fn the_whole_help() {
    insta::assert_snapshot!(help_of(&[]));
}

/// Of the command and of all below it.
fn help_of(command: &[&str]) -> String {
    let mut whole = feedmill(command.iter().copied().chain(["--help"])).succeeded();
    let listed = whole.split("Commands:").nth(1).map_or("", |rest| rest.split("\n\n").next().unwrap()).to_owned();
    // A description that is wrapped goes on further to the right.
    let entries = listed.lines().filter_map(|line| line.strip_prefix("  ").filter(|line| !line.starts_with(' ')));
    for name in entries.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help") {
        let below = [command, &[name]].concat();
        whole += &format!("\n==== {}\n\n{}", below.join(" "), help_of(&below));
    }
    whole
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
