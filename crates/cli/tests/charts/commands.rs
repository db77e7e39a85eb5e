use std::collections::BTreeSet;

use super::read;
use crate::support::{feedmill, lines};

/// Commands in a text: everything that begins with `feedmill ` within backticks, or at the beginning of an indented line.
fn commands(text: &str) -> BTreeSet<String> {
    let quoted = text.split('`').skip(1).step_by(2);
    let indented = text.lines().filter_map(|line| line.strip_prefix("    ")).map(str::trim);
    let all = quoted.chain(indented).filter(|text| text.starts_with("feedmill ")).map(|text| text.replace('\n', " "));
    all.map(|text| text.split(" #").next().unwrap().trim().to_owned()).collect()
}

#[test]
fn every_command_of_the_runbooks_is_there_with_its_flags() {
    let commands = commands(&read("README.md"));
    assert!(commands.len() > 20, "the check itself must see the commands: {commands:?}");
    for command in commands {
        let words: Vec<&str> = command.split_whitespace().skip(1).collect();
        // Names of commands are the words before the first flag, value or placeholder; the longest that is one counts.
        let is_name = |word: &&&str| word.chars().all(|c| c.is_ascii_lowercase() || c == '-') && !word.starts_with('-');
        let mut path: Vec<&str> = words.iter().take_while(is_name).copied().collect();
        let help = loop {
            let ran = feedmill(path.iter().copied().chain(["--help"]));
            if ran.code == Some(0) {
                break ran.stdout;
            }
            assert!(path.pop().is_some(), "{command}: there is no such command");
        };
        assert!(!path.is_empty() || words[0].starts_with('-'), "{command}: there is no such command");
        let next = words.get(path.len()).filter(is_name);
        assert!(next.is_none() || !help.contains("\nCommands:"), "{command}: {path:?} has no {next:?}");
        for flag in words.iter().filter(|word| word.starts_with("--")) {
            let flag = flag.split('=').next().unwrap();
            assert!(
                help.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').any(|word| word == flag),
                "{command}: no {flag}"
            );
        }
    }
}

#[test]
fn every_setting_of_the_runbooks_is_one() {
    let shown = lines(&feedmill(["config", "show", "--json"]).succeeded()).remove(0);
    let readme = read("README.md");
    let quoted = readme.split('`').skip(1).step_by(2).map(|text| text.split([' ', '=']).next().unwrap());
    let sections: BTreeSet<&str> = shown.as_object().unwrap().keys().map(String::as_str).collect();
    let is_key = |text: &&str| {
        text.split_once('.').is_some_and(|(section, rest)| {
            sections.contains(section) && rest.chars().all(|c| c.is_ascii_lowercase() || matches!(c, '_' | '.'))
        })
    };
    let keys: BTreeSet<&str> = quoted.filter(is_key).collect();
    assert!(keys.len() > 10, "the check itself must see the settings: {keys:?}");
    for key in keys {
        let pointer = format!("/{}", key.replace('.', "/"));
        assert!(shown.pointer(&pointer).is_some(), "charts/README.md names {key}, which is no setting");
    }
}
