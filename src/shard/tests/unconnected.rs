//! Who opens a socket and says nothing.

use super::*;

fn bench_for(unconnected_max: usize) -> Bench {
    Bench::with(1, |options| options.unconnected_max = unconnected_max)
}

#[test]
fn who_owes_its_connect_command_for_longest_makes_room() {
    let mut bench = bench_for(2);
    let [first, second, third] = std::array::from_fn(|_| bench.open(0));
    assert_eq!(bench.told(first), ["close 3013"]);
    let fourth = bench.open(0);
    assert_eq!(bench.told(second), ["close 3013"]);
    for client in [third, fourth] {
        bench.say(client, r#"{"id":1,"connect":{}}"#);
        assert_eq!(ids(&bench.told(client)), [1]);
    }
}

#[test]
fn who_has_connected_or_gone_takes_no_room() {
    let mut bench = bench_for(2);
    let silent = bench.open(0);
    for _ in 0..1_000 {
        let client = bench.connect(0);
        bench.cut(client);
        let gone = bench.open(0);
        bench.cut(gone);
        let wrong = bench.open(0);
        bench.say(wrong, "no command");
        assert_eq!(bench.told(wrong), ["close 3501"]);
        bench.cut(wrong);
    }
    assert!(bench.told(silent).is_empty(), "it is the only one that owes anything");
    assert!(bench.shards[0].unconnected.entries() < 100, "the list does not grow with those that left it");
}
