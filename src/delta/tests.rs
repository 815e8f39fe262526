use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(base: &str, target: &str, expected: Option<&str>) {
    let patch = create(base.as_bytes(), target.as_bytes());
    assert_eq!(patch.as_deref().map(|patch| str::from_utf8(patch).expect("a patch of texts is a text")), expected);
    if let Some(patch) = patch {
        assert_eq!(fossil::apply(base.as_bytes(), &patch).as_deref(), Ok(target.as_bytes()));
    }
}

#[test]
fn a_patch_is_written_as_the_format_says() {
    let base = r#"{"symbol":"EURUSD","bid":1.08342,"ask":1.08347,"volume":120000}"#;
    let target = r#"{"symbol":"EURUSD","bid":1.08351,"ask":1.08356,"volume":120000}"#;
    check(base, target, Some("~\nU@0,G:51,\"ask\":1.08356H@j,2tttcv;"));
    check(base, base, Some("~\n~@0,2su8Zw;"));
}

#[test]
fn what_moved_is_found() {
    let (one, two, three) = ("a line that moves about\n", "and another long line\n", "the third line of them\n");
    let patch = create([one, two, three].concat().as_bytes(), [three, one, two].concat().as_bytes());
    let patch = String::from_utf8(patch.expect("most of it stands in the base")).expect("a text");
    assert_eq!(patch.matches('@').count(), 2, "{patch}");
    assert!(patch.len() < 32, "{patch}");
}

#[test]
fn a_patch_is_never_longer_than_the_target() {
    check("", "", None);
    check("", "something", None);
    check("something", "", None);
    check("something", "something", None);
    check("nothing of this is to be found in the other", "0123456789".repeat(5).as_str(), None);
    check("aaaaaaaaaaaaaaaaaaaa", "aaaaaaaaaaaaaaaaaaaa", Some("K\nK@0,3bujRa;"));
}

#[test]
fn characters_are_not_cut() {
    // "é" is c3 a9 and "è" c3 a8: the first of their bytes is a common one, and so are the last two of
    // "€" (e2 82 ac) and "₂€" in the other direction.
    let text = |character: &str| format!("the same beginning {character} and the same end of it");
    for (one, other) in [("é", "è"), ("€", "₂"), ("🎈", "🎉"), ("🎈é", "🎉é"), ("€", "ì"), ("", "ß")]
    {
        let (base, target) = (text(one), text(other));
        let patch = create(base.as_bytes(), target.as_bytes()).expect("both ends are the same");
        assert!(str::from_utf8(&patch).is_ok(), "{one} {other}");
        assert_eq!(fossil::apply(base.as_bytes(), &patch).as_deref(), Ok(target.as_bytes()), "{one} {other}");
    }
}

#[test]
fn a_base_that_repeats_itself_costs_no_more_than_another() {
    // Every window has as many candidates as there are blocks; what is compared stays bounded.
    let base = vec![b'a'; DELTA_BYTES_MAX];
    let target: Vec<u8> = b"aaaaaaaaaaaaaaaab".iter().copied().cycle().take(DELTA_BYTES_MAX).collect();
    let patch = create(&base, &target).expect("most of it stands in the base");
    assert_eq!(fossil::apply(&base, &patch), Ok(target));
}

#[test]
fn large_payloads_have_no_patch() {
    let largest = vec![b'x'; DELTA_BYTES_MAX];
    assert!(create(&largest, &largest).is_some());
    let larger = vec![b'x'; DELTA_BYTES_MAX + 1];
    assert_eq!((create(&largest, &larger), create(&larger, &largest)), (None, None));
}

/// A text and another one that has pieces of it, in another order and changed.
fn related_texts() -> impl Strategy<Value = (String, String)> {
    let piece = prop_oneof![
        "[a-z]{0,40}",
        "[é€🎈ß中]{0,20}",
        r#"\{"id":[0-9]{1,6},"name":"[a-zé]{1,12}","price":[0-9]\.[0-9]{4}\}"#,
        Just("the same words again and again, ".to_string()),
    ];
    let pieces = prop::collection::vec(piece, 1..12);
    let order = prop::collection::vec((any::<prop::sample::Index>(), "[é0-9€]{0,3}"), 0..16);
    (pieces, order).prop_map(|(pieces, order)| {
        let moved = order.iter().flat_map(|(index, new)| [index.get(&pieces).as_str(), new.as_str()]).collect();
        (pieces.concat(), moved)
    })
}

proptest! {
    #[test]
    fn applied_to_its_base_a_patch_is_the_target((base, target) in related_texts()) {
        for (base, target) in [(&base, &target), (&target, &base)] {
            let Some(patch) = create(base.as_bytes(), target.as_bytes()) else { continue };
            prop_assert!(patch.len() < target.len());
            prop_assert!(str::from_utf8(&patch).is_ok());
            prop_assert_eq!(fossil::apply(base.as_bytes(), &patch), Ok(target.clone().into_bytes()));
        }
    }

    #[test]
    fn bytes_are_patched_too(base in prop::collection::vec(any::<u8>(), 0..300), at in 0..300usize, cut in 0..50usize,
                             new in prop::collection::vec(any::<u8>(), 0..40)) {
        let at = at.min(base.len());
        let target = [&base[..at], &new, &base[(at + cut).min(base.len())..]].concat();
        if let Some(patch) = create(&base, &target) {
            prop_assert!(patch.len() < target.len());
            prop_assert_eq!(fossil::apply(&base, &patch), Ok(target));
        }
    }
}
