//! This program runs itself under callgrind, once for each subject.

use std::fs::{read_to_string, remove_file};
use std::hint::black_box;
use std::path::Path;
use std::process::{Command, Stdio};

/// Tells the process that it is the one being counted; the subject's name follows.
const COUNTED: &str = "--counted";

/// The subject to work on, if this is the process being counted.
pub fn counted_subject() -> Option<String> {
    std::env::args().skip_while(|argument| argument != COUNTED).nth(1)
}

/// What callgrind counts: `work`, and nothing before or after it.
///
/// To be called once by each subject. Callgrind knows the section by this function's name, so no
/// other may have it in its own.
#[inline(never)]
pub fn counted_section(work: &mut dyn FnMut()) {
    work();
    // The call above is no jump then: callgrind sees this function end.
    black_box(());
}

/// Instructions for each unit of the subject, to a tenth.
pub fn count(subject: &str) -> f64 {
    let own = std::env::current_exe().expect("this program has a path");
    let counts = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{subject}.callgrind"));
    let output = Command::new("valgrind")
        .args(["--quiet", "--tool=callgrind", "--toggle-collect=*counted_section*"])
        .arg(format!("--callgrind-out-file={}", counts.display()))
        .arg(own)
        .args([COUNTED, subject])
        // Settings of allocator and C library are not part of what is counted.
        .env_clear()
        // `rep movsb` counts once for each byte, and only processors that do it fast are given it.
        .env("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-ERMS,-FSRM")
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stderr(Stdio::inherit())
        .output()
        .expect("valgrind starts: install Debian's package `valgrind`");
    assert!(output.status.success(), "the counted run of {subject} failed: {}", output.status);
    let units: f64 = String::from_utf8_lossy(&output.stdout).trim().parse().expect("the counted run prints its units");
    let text = read_to_string(&counts).expect("callgrind wrote its counts");
    remove_file(&counts).expect("the counts are ours to remove");
    let totals = text.lines().find_map(|line| line.strip_prefix("totals: ")).expect("callgrind wrote its totals");
    let instructions: f64 = totals.trim().parse().expect("the total is a number");
    assert!(instructions > 0.0, "callgrind did not find the counted section of {subject}");
    (instructions / units * 10.0).round() / 10.0
}
