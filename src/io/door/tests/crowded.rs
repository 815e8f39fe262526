//! The limits of the node: `client.connection_limit` and `client.connection_rate_limit`.

use super::*;

/// One socket more is over a limit of the node, and `key` sets it.
async fn check_crowded(house: &House, key: &str) {
    let (head, body) = ask(house.address, &upgrade("")).await;
    assert!(head.starts_with("http/1.1 503 ") && head.contains("\r\nretry-after: 1\r\n"), "{head}");
    assert!(body.contains(key), "{body}");
}

#[tokio::test]
async fn over_the_connection_limit_is_503_until_one_has_gone() {
    let limits = AdmissionLimits { connections_max: 1, per_second: 0 };
    in_house_of(Options::default(), limits, |mut house| async move {
        for _ in 0..3 {
            assert!(ask(house.address, &upgrade("")).await.0.starts_with("http/1.1 101 "));
            let first = house.arriving.recv().await;
            check_crowded(&house, "client.connection_limit").await;
            drop(first);
        }
        assert_eq!(house.metrics.counter(Counter::RefusedForConnectionLimit), 3);
        // A head that is refused takes no place.
        let foreign = "Origin: https://their.example\r\n";
        assert!(ask(house.address, &upgrade(foreign)).await.0.starts_with("http/1.1 403 "));
        assert_eq!(house.metrics.counter(Counter::RefusedForOrigin), 1);
        assert!(ask(house.address, &upgrade("")).await.0.starts_with("http/1.1 101 "));
    })
    .await;
}

#[tokio::test]
async fn over_the_connection_rate_limit_is_503_for_a_moment() {
    let limits = AdmissionLimits { connections_max: 0, per_second: 1 };
    in_house_of(Options::default(), limits, |house| async move {
        assert!(ask(house.address, &upgrade("")).await.0.starts_with("http/1.1 101 "));
        check_crowded(&house, "client.connection_rate_limit").await;
        assert_eq!(house.metrics.counter(Counter::RefusedForRate), 1);
    })
    .await;
}
