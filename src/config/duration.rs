//! Durations as Go writes them: "25s", "1m30s", "720h", "300ms", "1.5h".

use std::time::Duration;

/// Reads a duration that is not negative: numbers, each with a unit (ns, us, ms, s, m, h), or "0".
///
/// Source: Go's `time.ParseDuration`, which Centrifugo's configuration is read with; as there, the
/// longest is that of 2^63 nanoseconds (292 years).
pub fn parse(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut nanoseconds: u64 = 0;
    let mut terms = 0;
    while !rest.is_empty() {
        let (number, after) = split_at_first(rest, |c| c != '.' && !c.is_ascii_digit());
        let (unit, after) = split_at_first(after, |c| c == '.' || c.is_ascii_digit());
        nanoseconds = nanoseconds.checked_add(scale(number, unit)?)?;
        rest = after;
        terms += 1;
    }
    (terms > 0 && nanoseconds <= i64::MAX as u64).then(|| Duration::from_nanos(nanoseconds))
}

/// Nanoseconds of `number` of `unit`.
fn scale(number: &str, unit: &str) -> Option<u64> {
    let unit: u64 = match unit {
        "ns" => 1,
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60 * 1_000_000_000,
        "h" => 3_600 * 1_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    // A float is exact enough for less than one unit; a second point makes it no number.
    let fraction: f64 = format!("0.{fraction}0").parse().ok()?;
    whole.checked_mul(unit)?.checked_add((fraction * unit as f64).round() as u64)
}

fn split_at_first(text: &str, stop: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(stop).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<u128>) {
        assert_eq!(parse(text).map(|duration| duration.as_millis()), expected, "{text:?}");
    }

    #[test]
    fn durations_of_go_are_read() {
        check("0", Some(0));
        check("0s", Some(0));
        check("25s", Some(25_000));
        check("1m30s", Some(90_000));
        check("720h", Some(720 * 3_600_000));
        check("300ms", Some(300));
        check("1.5h", Some(90 * 60_000));
        check(".5s", Some(500));
        check("5.s", Some(5_000));
        check("+1s", Some(1_000));
        assert_eq!(parse("1us2ns"), Some(Duration::from_nanos(1_002)));
        assert_eq!(parse("1µs"), parse("1us"));
        check("2562047h47m16s", Some(9_223_372_036_000));
    }

    #[test]
    fn others_are_not() {
        for text in ["", "+", "25", "s", "25 s", "-1s", "1d", "1.2.3s", ".s", "1s2", "1e3s", "2562048h"] {
            check(text, None);
        }
        check("99999999999999999999s", None);
    }
}
