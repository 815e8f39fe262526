//! docs/security.md names a test for each vulnerability, and the tests are there.

use std::fs;

use super::{Source, Violation, expect_none, read, root, violation};

const PAGE: &str = "docs/security.md";

#[test]
fn each_vulnerability_has_a_test_that_exists() {
    expect_none(check_page(&read(&root().join(PAGE)), |path| fs::read_to_string(root().join(path)).ok()));
}

#[test]
fn a_test_that_is_gone_is_noticed() {
    let file = |path: &str| match path {
        "tests/a.rs" => Some("fn there() {}".to_owned()),
        "tests/b.test.mjs" => Some("test('head: there', …)\n'there too': [],\ntest(`head: ${what}`".to_owned()),
        _ => None,
    };
    let count = |row: &str| check_page(&format!("## Vulnerabilities\n\n|a|b|\n|---|---|\n{row}\n"), file).len();
    assert_eq!(count("| x | `tests/a.rs: there` |"), 0);
    assert_eq!(count("| x | `tests/b.test.mjs: head: there`, `tests/b.test.mjs: there too` |"), 0);
    assert_eq!(count("| x | does not apply: no client |"), 0);
    assert_eq!(count("| x | `tests/a.rs: gone` |"), 1);
    assert_eq!(count("| x | `tests/b.test.mjs: gone` |"), 1);
    assert_eq!(count("| x | `tests/none.rs: there` |"), 1);
    assert_eq!(count("| x | to do |"), 1);
}

/// How a compared secret must look, and must not: the time of `==` tells how many bytes were right.
#[test]
fn secrets_are_compared_in_constant_time() {
    let auth = Source::new("src/api/auth.rs", &read(&root().join("src/api/auth.rs")));
    let code: Vec<&str> =
        auth.code_lines().filter(|(line, _)| !auth.is_test_line(*line)).map(|(_, code)| code).collect();
    assert!(code.iter().any(|code| code.contains(".ct_eq(")), "src/api/auth.rs compares keys with `ct_eq`");
    let compared =
        code.iter().find(|code| ["==", "!=", ".eq(", ".ne(", "starts_with"].iter().any(|by| code.contains(by)));
    assert_eq!(compared, None, "src/api/auth.rs compares something in a time that tells of it");
}

/// Rows of the tables below the headline "Vulnerabilities"; their last column names tests as
/// `path: name` in backticks, or says why there is none.
fn check_page(text: &str, file: impl Fn(&str) -> Option<String>) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut is_inside = false;
    for (index, line) in text.lines().enumerate() {
        if let Some(headline) = line.strip_prefix("## ") {
            is_inside = headline.starts_with("Vulnerabilities");
        }
        let is_row = line.starts_with('|')
            && !line.starts_with("|---")
            && text.lines().nth(index + 1).is_none_or(|next| !next.starts_with("|---"));
        if !is_inside || !is_row {
            continue;
        }
        let last = line.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
        let named: Vec<(&str, &str)> =
            last.split('`').filter_map(|piece| piece.split_once(": ")).filter(|(path, _)| path.contains('/')).collect();
        if named.is_empty() && !last.contains("does not apply: ") {
            found.push(violation(PAGE, index + 1, "the row names no test".into()));
        }
        for (path, name) in named {
            let marks = match path.ends_with(".rs") {
                true => [format!("fn {name}("), String::new()],
                false => [format!("'{name}'"), format!("'{name}:")],
            };
            let is_there = file(path)
                .is_some_and(|text| marks.iter().any(|mark| !mark.is_empty() && text.contains(mark.as_str())));
            if !is_there {
                found.push(violation(PAGE, index + 1, format!("there is no test {name:?} in {path}")));
            }
        }
    }
    found
}
