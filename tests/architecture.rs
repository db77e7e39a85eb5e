//! The arrows between the crates, and what is absent on purpose. The table is that of crates/README.md.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{DependencyKind, MetadataCommand};

/// Layer, crate, and which of ours it may depend on. Crates that are still to come have their place already.
const CRATES: &[(u8, &str, &[&str])] = &[
    (0, "clock", &[]),
    (0, "store-api", &[]),
    (0, "query", &[]),
    (0, "telemetry", &[]),
    (0, "test-servers", &[]),
    (1, "documents", &["store-api"]),
    (1, "engine", &["store-api", "clock"]),
    (1, "cosmos", &["store-api"]),
    (1, "outbox", &["store-api", "clock"]),
    (1, "local-store", &["store-api", "query", "clock"]),
    (2, "index", &["documents", "engine", "store-api"]),
    (2, "user-feed", &["documents", "engine", "store-api"]),
    (2, "counters", &["documents", "engine", "store-api"]),
    (2, "notifications", &["documents", "engine", "store-api"]),
    (2, "erase", &["documents", "engine", "store-api"]),
    (2, "testing", &["documents", "engine", "store-api", "clock", "local-store"]),
    (2, "cache", &["documents", "engine", "store-api", "clock"]),
    (2, "gateway", &["local-store", "query", "store-api", "clock"]),
    (2, "scaler", &["engine", "clock"]),
    (2, "workload", &["documents", "store-api", "clock"]),
    (
        3,
        "simulation",
        &[
            "clock",
            "store-api",
            "documents",
            "engine",
            "local-store",
            "index",
            "user-feed",
            "counters",
            "notifications",
            "erase",
            "workload",
        ],
    ),
    (4, "cli", BELOW_LAYER_3),
    (4, "tests", BELOW_LAYER_4),
    (4, "benches", BELOW_LAYER_3),
];

const BELOW_LAYER_3: &[&str] = match BELOW_LAYER_4 {
    [below @ .., _simulation] => below,
    [] => &[],
};

const BELOW_LAYER_4: &[&str] = &[
    "clock",
    "store-api",
    "query",
    "telemetry",
    "documents",
    "engine",
    "cosmos",
    "local-store",
    "gateway",
    "index",
    "user-feed",
    "counters",
    "notifications",
    "erase",
    "outbox",
    "cache",
    "scaler",
    "workload",
    "simulation",
];

/// Tests may use a whole store wherever they are, and those of processors a world around it.
const FOR_TESTS: &[&str] = &["local-store", "testing"];

/// One of our packages, by the names of the table.
struct Package {
    name: String,
    depends_on: Vec<(String, DependencyKind)>,
}

/// Each arrow that the table does not draw, in words.
fn wrong_arrows(packages: &[Package]) -> Vec<String> {
    let layers: BTreeMap<_, _> = CRATES.iter().map(|(layer, name, _)| (*name, *layer)).collect();
    let mut wrong = Vec::new();
    for package in packages {
        let Some((layer, _, allowed)) = CRATES.iter().find(|(_, name, _)| *name == package.name) else {
            wrong.push(format!("{} is not in the table", package.name));
            continue;
        };
        for (dependency, kind) in &package.depends_on {
            let dependency = dependency.as_str();
            let below = layers.get(dependency).is_some_and(|other| other < layer);
            let fine = match kind {
                DependencyKind::Development => {
                    below || allowed.contains(&dependency) || FOR_TESTS.contains(&dependency)
                }
                _ if ["tests", "benches"].contains(&package.name.as_str()) => {
                    allowed.contains(&dependency) || FOR_TESTS.contains(&dependency)
                }
                _ => allowed.contains(&dependency),
            };
            if !fine {
                wrong.push(format!("{} depends on {dependency} ({kind})", package.name));
            }
        }
    }
    wrong
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The name of the table: packages are called `feedmill-…`, and the binary's is `feedmill`.
fn name_in_table(package: &str) -> Option<String> {
    if package == "feedmill" { Some("cli".to_owned()) } else { package.strip_prefix("feedmill-").map(str::to_owned) }
}

fn metadata() -> cargo_metadata::Metadata {
    MetadataCommand::new().current_dir(root()).no_deps().exec().unwrap()
}

fn our_packages() -> Vec<Package> {
    metadata()
        .packages
        .iter()
        .map(|package| Package {
            name: name_in_table(&package.name).expect("our packages are called feedmill…"),
            depends_on: package
                .dependencies
                .iter()
                .filter_map(|dependency| Some((name_in_table(&dependency.name)?, dependency.kind)))
                .collect(),
        })
        .collect()
}

#[test]
fn crates_depend_only_on_what_the_table_allows() {
    let packages = our_packages();
    assert_eq!(wrong_arrows(&packages), Vec::<String>::new());
    assert!(packages.len() > 10, "only {} packages seen: is the search looking in the right place?", packages.len());
}

#[test]
fn a_wrong_arrow_would_be_seen() {
    let package = |name: &str, dependency: &str, kind| Package {
        name: name.to_owned(),
        depends_on: vec![(dependency.to_owned(), kind)],
    };
    let packages = [
        package("engine", "documents", DependencyKind::Normal),
        package("engine", "documents", DependencyKind::Build),
        package("documents", "engine", DependencyKind::Development),
        package("engine", "local-store", DependencyKind::Normal),
        package("novelty", "clock", DependencyKind::Normal),
        // These two are drawn.
        package("engine", "local-store", DependencyKind::Development),
        package("counters", "clock", DependencyKind::Development),
    ];
    assert_eq!(
        wrong_arrows(&packages),
        [
            "engine depends on documents (normal)",
            "engine depends on documents (build)",
            "documents depends on engine (dev)",
            "engine depends on local-store (normal)",
            "novelty is not in the table",
        ]
    );
}

#[test]
fn documents_does_no_io_and_processors_know_no_clock() {
    let metadata = metadata();
    for (package, absent) in [
        ("feedmill-documents", &["tokio", "fjall", "csv", "axum", "rustix", "feedmill-clock"][..]),
        ("feedmill-index", &["tokio", "feedmill-clock"]),
        ("feedmill-user-feed", &["tokio", "feedmill-clock"]),
        ("feedmill-counters", &["tokio", "feedmill-clock"]),
        ("feedmill-notifications", &["tokio", "feedmill-clock"]),
    ] {
        let package = metadata.packages.iter().find(|candidate| candidate.name.as_str() == package).unwrap();
        for dependency in package.dependencies.iter().filter(|each| each.kind == DependencyKind::Normal) {
            assert!(!absent.contains(&dependency.name.as_str()), "{} depends on {}", package.name, dependency.name);
        }
    }
}

#[test]
fn every_member_takes_the_lints_of_the_workspace() {
    for package in metadata().packages {
        let manifest = fs::read_to_string(&package.manifest_path).unwrap();
        let manifest: toml::Table = manifest.parse().unwrap();
        let lints = manifest.get("lints").and_then(|lints| lints.get("workspace"));
        assert_eq!(lints, Some(&toml::Value::Boolean(true)), "{}", package.name);
    }
}

/// What the code of a file, its tests left out, has of `needles`, as `file: needle`.
fn found(file: &str, text: &str, needles: &[&str]) -> Vec<String> {
    let code: String = text
        .split("#[cfg(test)]")
        .next()
        .unwrap_or_default()
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect();
    needles.iter().filter(|needle| code.contains(*needle)).map(|needle| format!("{file}: {needle}")).collect()
}

/// The same over all sources of all crates but those whose path begins with one of `allowed`.
fn found_in_crates(needles: &[&str], allowed: &[&str]) -> Vec<String> {
    let crates = root().join("crates");
    let (mut folders, mut uses, mut files) = (vec![crates.clone()], Vec::new(), 0);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let shown = path.strip_prefix(&crates).unwrap().display().to_string();
            let is_test = path.ends_with("tests") || path.ends_with("tests.rs");
            if path.is_dir() && !is_test {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test {
                files += 1;
                if !allowed.iter().any(|allowed| shown.starts_with(allowed)) {
                    uses.extend(found(&shown, &fs::read_to_string(&path).unwrap(), needles));
                }
            }
        }
    }
    assert!(files > 50, "only {files} sources seen: is the search looking in the right place?");
    uses.sort();
    uses
}

#[test]
fn a_forbidden_use_would_be_seen_and_tests_and_comments_are_free() {
    let text =
        "// std::env in a comment\nlet home = std::env::var(\"HOME\");\n#[cfg(test)]\nmod tests { use std::fs; }";
    assert_eq!(found("a.rs", text, &["std::env", "std::fs"]), ["a.rs: std::env"]);
    assert!(found_in_crates(&["std::env"], &[]).iter().any(|each| each.starts_with("cli/src/settings/")));
}

#[test]
fn only_cli_reads_the_environment() {
    assert_eq!(found_in_crates(&["std::env", "env::var", "option_env!"], &["cli/src/"]), Vec::<String>::new());
}

#[test]
fn only_cli_touches_files_but_for_the_stores_folder_data_sets_and_the_source_of_chance() {
    let allowed = ["cli/src/", "local-store/src/", "workload/src/ldbc", "clock/src/entropy.rs"];
    let needles = ["std::fs", "fs::File", "File::open", "tokio::fs", "OpenOptions"];
    assert_eq!(found_in_crates(&needles, &allowed), Vec::<String>::new());
}

#[test]
fn only_the_system_clock_reads_real_time() {
    // The lint refuses the calls; here nobody may have switched it off or gone around it.
    let needles = [
        "allow(clippy::disallowed_methods",
        "expect(clippy::disallowed_methods",
        "clock_gettime",
        "SystemTime::now",
        "Instant::now",
        "Timestamp::now",
    ];
    assert_eq!(found_in_crates(&needles, &["clock/src/system.rs"]), Vec::<String>::new());
}

#[test]
fn every_choice_of_the_engine_has_an_order() {
    // Without `biased;` tokio draws the order by chance that nobody seeds, and a simulated run could not be replayed.
    let unordered: Vec<_> = found_in_crates(&["select! {"], &[])
        .into_iter()
        .filter_map(|found| {
            let file = found.split(':').next().expect("a file and what was found").to_owned();
            let text = fs::read_to_string(root().join("crates").join(&file)).unwrap();
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            let ordered = code.split("select! {").skip(1).all(|arms| arms.trim_start().starts_with("biased;"));
            (!ordered && SIMULATED.iter().any(|name| file.starts_with(name))).then_some(file)
        })
        .collect();
    assert_eq!(unordered, Vec::<String>::new());
}

/// Folders of what the simulation runs.
const SIMULATED: &[&str] =
    &["engine/", "local-store/", "index/", "user-feed/", "counters/", "notifications/", "simulation/"];

#[test]
fn only_the_settler_writes_what_is_derived() {
    let processors = ["index", "user-feed", "counters", "notifications", "erase"];
    let writes = found_in_crates(&["Operation::", ".write(", ".batch("], &[]);
    let by_processors =
        writes.iter().filter(|each| processors.iter().any(|name| each.starts_with(&format!("{name}/"))));
    assert_eq!(by_processors.collect::<Vec<_>>(), Vec::<&String>::new());
    assert!(!writes.is_empty(), "somebody writes: is the search looking for the right thing?");
}

/// Names of tests in a text: between backticks, sentences of words joined by `_`.
fn named_tests(text: &str) -> Vec<&str> {
    let is_sentence = |name: &&str| {
        name.matches('_').count() >= 3 && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    text.split('`').skip(1).step_by(2).filter(is_sentence).collect()
}

#[test]
fn every_test_that_crates_readme_names_exists() {
    let page = fs::read_to_string(root().join("crates/README.md")).unwrap();
    let (mut folders, mut sources) = (vec![root().join("crates"), root().join("tests")], String::new());
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources += &fs::read_to_string(&path).unwrap();
            }
        }
    }
    let named = named_tests(&page);
    assert!(named.len() > 10, "only {named:?} seen: is the page still written as it was?");
    for name in named {
        assert!(sources.contains(&format!("fn {name}(")), "crates/README.md names {name}, and there is no such test");
    }
}

/// Features that only tests may switch on, as `cargo tree` prints them.
const TEST_FEATURES: &[&str] = &["feedmill-store-api feature \"conformance\"", "feedmill-engine feature \"mutants\""];

#[test]
fn what_ships_has_no_test_features() {
    let tree = |arguments: &[&str]| {
        let cargo = std::env::var("CARGO").unwrap_or("cargo".to_owned());
        let output = Command::new(cargo).current_dir(root()).arg("tree").args(arguments).output().unwrap();
        assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let shipped = tree(&["--locked", "-p", "feedmill", "-e", "normal,features"]);
    let tested = tree(&["--locked", "-p", "feedmill-tests", "-e", "normal,features"]);
    assert!(!shipped.contains("feedmill-test-servers"), "the shipped binary has the servers of the tests");
    for feature in TEST_FEATURES {
        assert!(!shipped.contains(feature), "the shipped binary has {feature}");
        assert!(tested.contains(feature), "nothing switches {feature} on any more: is the name still right?");
    }
}
