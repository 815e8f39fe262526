//! Whether there is one order that all subscribers saw.

/// Each log holds numbers below `count` in the order in which one subscriber was given them. Returns
/// a number that some log has before, and some log after, the same other one, be it by way of
/// third ones; `None` when one order explains all logs.
pub fn find_disagreement<'a>(count: usize, logs: impl Iterator<Item = &'a [u32]>) -> Option<u32> {
    let mut next: Vec<Vec<u32>> = vec![Vec::new(); count];
    let mut before = vec![0_u32; count];
    for log in logs {
        for pair in log.windows(2) {
            next[pair[0] as usize].push(pair[1]);
            before[pair[1] as usize] += 1;
        }
    }
    // Taking away what has nothing before it ends with nothing, or with a circle.
    let mut free: Vec<u32> = (0..count as u32).filter(|number| before[*number as usize] == 0).collect();
    while let Some(number) = free.pop() {
        for after in std::mem::take(&mut next[number as usize]) {
            before[after as usize] -= 1;
            if before[after as usize] == 0 {
                free.push(after);
            }
        }
    }
    (0..count as u32).find(|number| before[*number as usize] > 0)
}

#[test]
fn logs_that_agree_have_an_order() {
    let logs: [&[u32]; 3] = [&[0, 2, 3], &[2, 1, 3], &[]];
    assert_eq!(find_disagreement(4, logs.into_iter()), None);
    let logs: [&[u32]; 3] = [&[0, 1], &[1, 2], &[2, 0]];
    assert_eq!(find_disagreement(4, logs.into_iter()), Some(0));
}
