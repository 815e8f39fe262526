//! Applies Fossil deltas, written from the format's description for tests: it shares nothing with what
//! makes them. As strict as centrifuge-js 5.8.0 (`applyDelta`), and stricter about what follows the end.

/// What `patch` makes of `base`, or what is wrong with it.
pub fn apply(base: &[u8], patch: &[u8]) -> Result<Vec<u8>, String> {
    let mut rest = patch;
    let size = number(&mut rest)?;
    expect(&mut rest, b'\n')?;
    let mut target = Vec::new();
    loop {
        let count = number(&mut rest)?;
        match take(&mut rest, 1)? {
            b"@" => {
                let offset = number(&mut rest)?;
                expect(&mut rest, b',')?;
                let copied = base.get(offset..offset + count);
                target.extend(copied.ok_or_else(|| format!("{count}@{offset} is past the base's {}", base.len()))?);
            }
            b":" => target.extend(take(&mut rest, count)?),
            b";" => {
                let all_is_right = rest.is_empty() && target.len() == size && checksum(&target) == count;
                return all_is_right.then_some(target).ok_or_else(|| "the size, the checksum or the end".into());
            }
            operator => return Err(format!("{operator:?} is no operator")),
        }
        if target.len() > size {
            return Err(format!("more than the {size} bytes that were said"));
        }
    }
}

fn number(rest: &mut &[u8]) -> Result<usize, String> {
    let mut number = 0;
    let mut digits = 0;
    while let Some(digit) = rest.first().and_then(|byte| digit(*byte)) {
        number = number * 64 + digit;
        digits += 1;
        *rest = &rest[1..];
    }
    if (1..=6).contains(&digits) { Ok(number) } else { Err(format!("a number of {digits} digits")) }
}

fn digit(byte: u8) -> Option<usize> {
    match byte {
        b'0'..=b'9' => Some((byte - b'0') as usize),
        b'A'..=b'Z' => Some((byte - b'A') as usize + 10),
        b'_' => Some(36),
        b'a'..=b'z' => Some((byte - b'a') as usize + 37),
        b'~' => Some(63),
        _ => None,
    }
}

fn expect(rest: &mut &[u8], byte: u8) -> Result<(), String> {
    match take(rest, 1)? {
        found if found == [byte] => Ok(()),
        found => Err(format!("{found:?} where {byte} should be")),
    }
}

fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], String> {
    let (taken, after) = rest.split_at_checked(count).ok_or_else(|| format!("{count} bytes of {}", rest.len()))?;
    *rest = after;
    Ok(taken)
}

fn checksum(bytes: &[u8]) -> usize {
    let weighed = bytes.iter().enumerate().map(|(at, byte)| u64::from(*byte) << (8 * (3 - at % 4)));
    (weighed.sum::<u64>() % (1 << 32)) as usize
}
