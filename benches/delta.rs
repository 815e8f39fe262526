//! What a difference costs: `cargo bench --bench delta` prints microseconds and sizes for payloads of
//! several lengths. CPU time of one thread; nothing is sent.

#[path = "support/clock.rs"]
mod clock;

use std::hint::black_box;

use clock::microseconds;
use fanfare::delta;

/// A table of prices as JSON, of about that many bytes.
fn prices(bytes: usize, random: &mut fastrand::Rng) -> Vec<String> {
    let row = |number: usize, random: &mut fastrand::Rng| {
        let (bid, volume) = (random.u32(10_000..99_999), random.u32(..1_000_000));
        format!(r#"{{"symbol":"SYM{number}","bid":{bid},"ask":{},"volume":{volume}}}"#, bid + 5)
    };
    let mut rows = Vec::new();
    let mut length = 0;
    while length < bytes {
        rows.push(row(rows.len(), random));
        length += rows.last().map_or(0, String::len) + 1;
    }
    rows
}

fn json(rows: &[String]) -> Vec<u8> {
    format!("[{}]", rows.join(",")).into_bytes()
}

/// The pairs that are compared, by what the second changes in the first.
fn pairs(bytes: usize) -> [(&'static str, Vec<u8>, Vec<u8>); 5] {
    let mut random = fastrand::Rng::with_seed(bytes as u64);
    let rows = prices(bytes - bytes / 16, &mut random);
    let others = prices(bytes - bytes / 16, &mut random);
    let replaced = |every: usize| {
        let row = |at: usize| if at % every == every / 2 { &others[at % others.len()] } else { &rows[at] };
        (0..rows.len()).map(row).cloned().collect::<Vec<_>>()
    };
    let noise = |random: &mut fastrand::Rng| std::iter::repeat_with(|| random.u8(..)).take(bytes).collect();
    // Each window of the second has as many candidates in the first as are looked at.
    let repeated = |unit: &str| unit.bytes().cycle().take(bytes).collect();
    [
        ("one row", json(&rows), json(&replaced(rows.len()))),
        ("one row in eight", json(&rows), json(&replaced(8))),
        ("every row", json(&rows), json(&others)),
        ("into repetition", repeated("aaaaaaaaaaaaaaaaaaaaaaab"), repeated("aaaaaaaaaaaaaaaac")),
        ("noise", noise(&mut random), noise(&mut random)),
    ]
}

fn main() {
    println!("{:>7} {:<18} {:>9} {:>7}", "bytes", "changed", "us", "patch");
    for bytes in [256, 1024, 4096, 16_384, 65_536] {
        for (changed, base, target) in pairs(bytes) {
            let base = &base[..base.len().min(bytes)];
            let target = &target[..target.len().min(bytes)];
            let patch = delta::create(base, target).map_or("whole".to_owned(), |patch| patch.len().to_string());
            let cost = microseconds(|_| {
                black_box(delta::create(black_box(base), black_box(target)));
            });
            println!("{bytes:>7} {changed:<18} {cost:>9.1} {patch:>7}");
        }
    }
}
