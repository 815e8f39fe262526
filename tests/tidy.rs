//! Holds the house together: who may import whom, what is pure, how long a file may be.
//!
//! The tables stand in `tidy/tables.rs`, the reader of Rust text in `tidy/scan.rs`. A rule that
//! fails names the file, the line and the reason. Each rule is shown to fail in `planted`.

#[path = "tidy/planted.rs"]
mod planted;
#[path = "tidy/scan.rs"]
mod scan;
#[path = "tidy/security.rs"]
mod security;
#[path = "tidy/tables.rs"]
mod tables;

use std::fs;
use std::path::{Path, PathBuf};

use scan::{Source, has_word};
use tables::{
    BANNED_CRATES, BANNED_NAMES, CLOSED_PATHS, IMPURE, LINES_MAX, LONG_FILES, ONE_VERSION, OPEN_TO_ALL, PURE_FILES,
    Purity, ROWS, Row, TEST_CRATES,
};

#[test]
fn imports_follow_the_layer_table() {
    expect_none(each_source(&["src"], check_imports));
}

#[test]
fn folders_use_only_their_outside_crates() {
    let names = dependency_names(&manifest());
    assert!(names.len() > 10, "the manifest was not read");
    expect_none(each_source(&["src"], |source| check_crates(source, &names)));
}

#[test]
fn pure_folders_have_no_effects() {
    expect_none(each_source(&["src"], check_purity));
}

#[test]
fn files_are_short_or_say_why_not() {
    expect_none(each_source(EVERYWHERE, check_length));
}

#[test]
fn names_and_words_follow_the_guide() {
    expect_none(each_source(EVERYWHERE, check_words));
}

#[test]
fn each_folder_says_what_it_is_for() {
    let mut found = Vec::new();
    for row in ROWS {
        let module = root().join("src").join(row.folder).join("mod.rs");
        if module.is_file() {
            found.extend(check_module_head(&relative(&module), &read(&module)));
        }
    }
    expect_none(found);
}

#[test]
fn each_dependency_has_its_reason() {
    for path in ["Cargo.toml", "loadtest/Cargo.toml", "fuzz/Cargo.toml"] {
        expect_none(check_dependencies(path, &read(&root().join(path))));
    }
}

#[test]
fn the_tree_has_one_runtime_one_codec_one_crypto_library() {
    expect_none(check_lock(&read(&root().join("Cargo.lock"))));
}

#[test]
fn tables_name_what_exists() {
    for (path, _, _) in LONG_FILES {
        assert!(root().join(path).is_file(), "LONG_FILES names {path}, which is gone: take the row out");
    }
}

// --- rules ---------------------------------------------------------------------------------------

/// One broken rule: where, and what to do.
pub struct Violation(String);

fn violation(path: &str, line: usize, what: String) -> Violation {
    Violation(format!("{path}:{line}: {what}"))
}

/// The row of the folder that `path` lies in.
fn row_of(path: &str) -> Option<&'static Row> {
    let inside = path.strip_prefix("src/")?;
    let folder = inside.split('/').next()?;
    let folder = folder.strip_suffix(".rs").unwrap_or(folder);
    ROWS.iter().find(|row| row.folder == folder)
}

pub fn check_imports(source: &Source) -> Vec<Violation> {
    let path = &source.path;
    let Some(row) = row_of(path) else {
        let what = "its folder has no row in tests/tidy/tables.rs: give it a layer".to_owned();
        return vec![violation(path, 1, what)];
    };
    let mut found = Vec::new();
    let mut paths = source.paths_from("crate");
    paths.extend(climbing_paths(source));
    // The binary names the library by its package name.
    paths.extend(source.paths_from("fanfare"));
    for (line, named) in paths {
        let target = named.split("::").next().unwrap_or_default();
        let known = ROWS.iter().any(|row| row.folder == target);
        let allowed = target == row.folder
            || OPEN_TO_ALL.contains(&target)
            || row.may_use.contains(&target)
            || row.may_use == tables::EVERYTHING;
        if known && !allowed {
            let may = row.may_use.join(", ");
            let what = format!("`{}` may not use `{named}`: it may use [{may}] (layer table)", row.folder);
            found.push(violation(path, line, what));
        }
        for (user, closed, why) in CLOSED_PATHS {
            if *user == row.folder && (named == *closed || named.starts_with(&format!("{closed}::"))) {
                found.push(violation(path, line, format!("`{user}` may not use `{named}`: {why}")));
            }
        }
    }
    found
}

/// Paths by `super::` that climb out of their folder, as paths from the crate's root.
fn climbing_paths(source: &Source) -> Vec<(usize, String)> {
    let inside = source.path.trim_start_matches("src/").trim_end_matches(".rs").trim_end_matches("/mod");
    let depth = inside.split('/').count();
    let climbs = source.paths_from("super").into_iter();
    let out = climbs.filter_map(|(line, path)| {
        let more = path.split("::").take_while(|segment| *segment == "super").count();
        let named: Vec<&str> = path.split("::").skip(more).collect();
        // Code in an inline module climbs one less; taking it for a leak would be wrong.
        (1 + more == depth && !source.is_test_line(line)).then(|| (line, named.join("::")))
    });
    out.filter(|(_, named)| !named.is_empty()).collect()
}

pub fn check_crates(source: &Source, dependencies: &[String]) -> Vec<Violation> {
    let Some(row) = row_of(&source.path) else { return Vec::new() };
    if row.crates == tables::ANY_CRATE {
        return Vec::new();
    }
    let mut found = Vec::new();
    for name in dependencies.iter().filter(|name| !row.crates.contains(&name.as_str())) {
        for line in source.uses_of_crate(name) {
            if source.is_test_line(line) && TEST_CRATES.contains(&name.as_str()) {
                continue;
            }
            let may = row.crates.join(", ");
            let what = format!("`{}` may not use the crate `{name}`: it may use [{may}]", row.folder);
            found.push(violation(&source.path, line, what));
        }
    }
    found
}

pub fn check_purity(source: &Source) -> Vec<Violation> {
    let in_pure_file =
        PURE_FILES.iter().any(|pure| source.path == *pure || pure.ends_with('/') && source.path.starts_with(pure));
    let pure = in_pure_file || row_of(&source.path).is_some_and(|row| row.purity == Purity::Pure);
    if !pure {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (line, code) in source.code_lines() {
        for (impure, why) in IMPURE {
            if has_word(code, impure) {
                found.push(violation(&source.path, line, format!("`{impure}` in a pure folder: {why}")));
            }
        }
    }
    for (line, named) in source.paths_from("std") {
        let names_it = |(impure, _): &&(&str, &str)| impure.strip_prefix("std::").is_some_and(|p| named.starts_with(p));
        if let Some((impure, why)) = IMPURE.iter().find(names_it) {
            found.push(violation(&source.path, line, format!("`{impure}` in a pure folder: {why}")));
        }
    }
    found
}

pub fn check_length(source: &Source) -> Vec<Violation> {
    let lines = source.text.lines().count();
    let own = LONG_FILES.iter().find(|(path, _, _)| *path == source.path);
    let most = own.map_or(LINES_MAX, |(_, most, _)| *most);
    if lines <= most {
        return Vec::new();
    }
    let what = format!("{lines} lines, {most} are the most: split it by noun, or write the reason in LONG_FILES");
    vec![violation(&source.path, lines, what)]
}

pub fn check_words(source: &Source) -> Vec<Violation> {
    let mut found = Vec::new();
    // Spelt in two halves, so that this file passes its own rule.
    let unfinished = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
    for (index, text) in source.text.lines().enumerate() {
        for word in unfinished.iter().filter(|word| has_word(text, word)) {
            let what = format!("`{word}`: finish it, or open an issue");
            found.push(violation(&source.path, index + 1, what));
        }
    }
    for (line, code) in source.code_lines() {
        if has_word(code, "unsafe") {
            let what = "`unsafe`: nothing here needs it; a measured need starts with a decision record".to_owned();
            found.push(violation(&source.path, line, what));
        }
        for (name, instead) in BANNED_NAMES.iter().filter(|(name, _)| code.contains(name)) {
            found.push(violation(&source.path, line, format!("`{name}`: {instead}")));
        }
    }
    found
}

/// A folder's `mod.rs` starts with what it is for, its invariants, what it must never touch and
/// the first file to read.
pub fn check_module_head(path: &str, text: &str) -> Vec<Violation> {
    let head: String = text.lines().take_while(|line| line.starts_with("//!")).collect::<Vec<_>>().join("\n");
    let asked = [
        ("nvariant", "its invariants"),
        ("never touch", "what it must never touch"),
        ("Read `", "the first file to read (Read `file.rs` first)"),
    ];
    let missing = asked.into_iter().filter(|(word, _)| !head.contains(word));
    missing.map(|(_, what)| violation(path, 1, format!("the `//!` at the top does not say {what}"))).collect()
}

/// Each dependency has a comment on the line above that says why it is there.
pub fn check_dependencies(path: &str, manifest: &str) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut above = "";
    let mut in_dependencies = false;
    for (index, line) in manifest.lines().enumerate() {
        if line.starts_with('[') {
            in_dependencies = line.contains("dependencies");
        } else if in_dependencies && line.starts_with(|c: char| c.is_ascii_alphabetic()) {
            let name = line.split('=').next().unwrap_or_default().trim();
            if !above.starts_with('#') || above.starts_with("# ---") {
                let what = format!("`{name}` has no reason: one comment on the line above");
                found.push(violation(path, index + 1, what));
            }
        }
        above = line;
    }
    found
}

pub fn check_lock(lock: &str) -> Vec<Violation> {
    let names: Vec<&str> = lock.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"')).collect();
    let mut found = Vec::new();
    for (name, why) in ONE_VERSION {
        let versions = names.iter().filter(|other| *other == name).count();
        if versions > 1 {
            found.push(violation("Cargo.lock", 1, format!("{versions} versions of `{name}`: {why}")));
        }
    }
    for (name, why) in BANNED_CRATES.iter().filter(|(name, _)| names.contains(name)) {
        found.push(violation("Cargo.lock", 1, format!("`{name}` came in: {why}")));
    }
    found
}

// --- the tree ------------------------------------------------------------------------------------

const EVERYWHERE: &[&str] = &["src", "tests", "loadtest/src", "benches", "fuzz"];

fn root() -> PathBuf {
    PathBuf::from(std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it for tests"))
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).expect("below the root").to_string_lossy().replace('\\', "/")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn manifest() -> String {
    read(&root().join("Cargo.toml"))
}

/// Crates that the manifest names, as code writes them.
fn dependency_names(manifest: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut in_dependencies = false;
    for line in manifest.lines() {
        if line.starts_with('[') {
            in_dependencies = line.contains("dependencies");
        } else if in_dependencies && line.starts_with(|c: char| c.is_ascii_alphabetic()) {
            names.extend(line.split('=').next().map(|name| name.trim().replace('-', "_")));
        }
    }
    names.sort();
    names.dedup();
    names
}

/// Checks every Rust file below `folders`; those that do not exist yet are passed over.
fn each_source(folders: &[&str], check: impl Fn(&Source) -> Vec<Violation>) -> Vec<Violation> {
    let mut files = Vec::new();
    for folder in folders {
        collect_rust_files(&root().join(folder), &mut files);
    }
    assert!(files.len() > 20, "only {} files were found: the walk is broken", files.len());
    files.sort();
    files.iter().flat_map(|path| check(&Source::new(&relative(path), &read(path)))).collect()
}

fn collect_rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.expect("a readable folder").path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if path.is_dir() && !["node_modules", "target", ".cache"].contains(&name.as_str()) {
            collect_rust_files(&path, files);
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
}

fn expect_none(found: Vec<Violation>) {
    let lines: Vec<&str> = found.iter().map(|violation| violation.0.as_str()).collect();
    assert!(lines.is_empty(), "\n\n{} broken:\n  {}\n", lines.len(), lines.join("\n  "));
}
