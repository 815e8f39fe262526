//! The inputs that fuzzing kept, through the same functions: a corpus that nobody runs would rot.

#[path = "../fuzz/src/targets.rs"]
mod targets;

use std::fs;
use std::path::Path;

/// Mutants of each input. `FUZZ_MUTANTS` asks for more, which needs no compiler of sanitizers.
const MUTANTS: usize = 5;

#[test]
fn every_kept_input_holds() {
    for (name, target) in targets::TARGETS {
        let inputs = kept_inputs(name);
        assert!(inputs.len() >= 5, "{name}: {} inputs", inputs.len());
        inputs.iter().for_each(|input| run(name, *target, input));
    }
}

#[test]
fn mutants_of_kept_inputs_hold() {
    let asked = std::env::var("FUZZ_MUTANTS").ok().map(|count| count.parse().expect("FUZZ_MUTANTS is a number"));
    for (name, target) in targets::TARGETS {
        let inputs = kept_inputs(name);
        // The seed is fixed: a run that fails fails again.
        let mut random = fastrand::Rng::with_seed(1);
        for input in &inputs {
            for _ in 0..asked.unwrap_or(MUTANTS) {
                let other = &inputs[random.usize(..inputs.len())];
                run(name, *target, &mutate(input, other, &mut random));
            }
        }
    }
}

fn kept_inputs(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a readable file")).collect()
}

/// Shows the input of a target that panics.
fn run(name: &str, target: fn(&[u8]), input: &[u8]) {
    struct Shown<'a>(&'a str, &'a [u8]);
    impl Drop for Shown<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("{}: \"{}\"", self.0, self.1.escape_ascii());
            }
        }
    }
    let _shown = Shown(name, input);
    target(input);
}

/// Some changes of the kinds that fuzzers make.
fn mutate(input: &[u8], other: &[u8], random: &mut fastrand::Rng) -> Vec<u8> {
    const TELLING: &[u8] = b"\0\x01\x7f\x80\xff\"\\{}[],:.\n\r \t=;-0e";
    let mut bytes = input.to_vec();
    for _ in 0..random.usize(1..=4) {
        let at = random.usize(..=bytes.len());
        let length = random.usize(..=(bytes.len() - at).min(16));
        match random.u8(..6) {
            0 => bytes.insert(at, random.choice(TELLING.iter().copied()).expect("there are some")),
            1 => drop(bytes.drain(at..at + length)),
            2 => bytes[at..at + length].iter_mut().for_each(|byte| *byte = random.u8(..)),
            3 => drop(bytes.splice(at..at, bytes[at..at + length].to_vec())),
            4 if at < bytes.len() => bytes[at] ^= 1 << random.u8(..8),
            _ => {
                let from = random.usize(..=other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
    }
    bytes
}
