//! The end of a certificate's validity, read from its DER. Source: RFC 5280, section 4.1.

/// Seconds since 1970; `None` if the certificate is not what RFC 5280 says.
pub fn of(certificate: &[u8]) -> Option<i64> {
    let (certificate, _) = element(certificate, SEQUENCE)?;
    let (mut body, _) = element(certificate, SEQUENCE)?;
    if let Some((_, rest)) = element(body, VERSION) {
        body = rest;
    }
    for tag in [INTEGER, SEQUENCE, SEQUENCE] {
        // Serial number, algorithm, issuer.
        (_, body) = element(body, tag)?;
    }
    let (validity, _) = element(body, SEQUENCE)?;
    let (_, rest) = element(validity, UTC_TIME).or(element(validity, GENERALIZED_TIME))?;
    if let Some((text, _)) = element(rest, UTC_TIME) {
        let (year, rest) = number(text, 2)?;
        return seconds(if year < 50 { 2000 + year } else { 1900 + year }, rest);
    }
    let (text, _) = element(rest, GENERALIZED_TIME)?;
    let (year, rest) = number(text, 4)?;
    seconds(year, rest)
}

/// The content of the element that `bytes` begin with, if it has this tag, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let [found, length, rest @ ..] = bytes else { return None };
    if *found != tag {
        return None;
    }
    let (length, rest) = match length {
        0..=0x7f => (usize::from(*length), rest),
        0x81..=0x84 => {
            let (digits, rest) = rest.split_at_checked(usize::from(length & 0x0f))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// `text` is the rest of a time after its year: MMDDHHMMSSZ.
fn seconds(year: i64, text: &[u8]) -> Option<i64> {
    let (month, text) = number(text, 2)?;
    let (day, text) = number(text, 2)?;
    let (hour, text) = number(text, 2)?;
    let (minute, text) = number(text, 2)?;
    let (second, text) = number(text, 2)?;
    let is_date = (1..=12).contains(&month) && (1..=31).contains(&day);
    (is_date && text == b"Z").then(|| ((days(year, month, day) * 24 + hour) * 60 + minute) * 60 + second)
}

fn number(text: &[u8], digits: usize) -> Option<(i64, &[u8])> {
    let (digits, rest) = text.split_at_checked(digits)?;
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((number, rest))
}

/// Days from 1970-01-01 to a date of the Gregorian calendar. The year begins in March, so that the
/// day that comes and goes is its last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let months_since_march = (month + 9) % 12;
    let day_of_year = (153 * months_since_march + 2) / 5 + day - 1;
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - DAYS_TO_1970
}

/// From March 1 of year 0.
const DAYS_TO_1970: i64 = 719_468;

const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;
const VERSION: u8 = 0xa0;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_counted_from_1970() {
        for (year, month, day, expected) in
            [(1970, 1, 1, 0), (1970, 3, 1, 59), (2000, 2, 29, 11_016), (2000, 3, 1, 11_017), (2026, 11, 24, 20_781)]
        {
            assert_eq!(days(year, month, day), expected, "{year}-{month}-{day}");
        }
    }

    #[test]
    fn what_is_cut_or_broken_has_no_expiry() {
        let pem = crate::io::tls::fixtures::CERTIFICATE;
        let der =
            <rustls::pki_types::CertificateDer as rustls::pki_types::pem::PemObject>::from_pem_slice(pem).unwrap();
        assert_eq!(of(&der), Some(crate::io::tls::fixtures::CERTIFICATE_EXPIRES));
        for length in 0..64 {
            assert_eq!(of(&der[..length]), None);
        }
        assert_eq!(of(&[SEQUENCE, 0x84, 0xff, 0xff, 0xff, 0xff, 0]), None);
    }
}
