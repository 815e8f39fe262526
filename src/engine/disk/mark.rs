//! What the log can't say of itself: how the process that wrote it ended.
//!
//! A killed process loses nothing of what it wrote: the kernel has it. A loss of power does, and with
//! `ack = "memory"` that may have been confirmed. So the mark names the boot of the machine that the log was
//! written in: another boot without a clean end is a loss of power.

use std::io;

use crc32c::crc32c;

use super::Ack;
use super::files::Files;

const MAGIC: [u8; 8] = *b"FANFMRK\x01";
const BOOT_BYTES: usize = 36;
const MARK_BYTES: usize = 8 + BOOT_BYTES + 4 + 4;

/// Bits of the mark.
const CLEAN: u8 = 1;
const WAITS_FOR_SYNC: u8 = 2;
const INCOMPLETE: u8 = 4;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Names this boot of the machine; zeros if the system does not say.
    boot: [u8; BOOT_BYTES],
    /// The process ended by itself, with everything safe on the disk.
    pub is_clean: bool,
    pub ack: Ack,
    /// Something that was confirmed, or told, is not in the log.
    pub is_incomplete: bool,
}

impl Mark {
    /// Of a process that runs.
    pub fn of_this_boot(ack: Ack) -> Mark {
        Mark::of_boot(&std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default(), ack)
    }

    pub fn of_boot(text: &str, ack: Ack) -> Mark {
        let mut boot = [0; BOOT_BYTES];
        boot.iter_mut().zip(text.trim().bytes()).for_each(|(place, byte)| *place = byte);
        Mark { boot, is_clean: false, ack, is_incomplete: false }
    }

    /// The same of a log that lacks something, or lacks it no more.
    pub fn with_gap(&self, is_incomplete: bool) -> Mark {
        Mark { is_incomplete, ..self.clone() }
    }

    /// The mark that is there; `None` if there is none, or it is damaged.
    pub fn read(files: &dyn Files) -> io::Result<Option<Mark>> {
        Ok(Mark::decode(&files.read_mark()?))
    }

    pub fn write(&self, files: &dyn Files) -> io::Result<()> {
        files.write_mark(&self.encode())
    }

    /// Whether the log that was left with `self` holds all that was confirmed, seen by a process of `now`'s boot.
    pub fn vouches_for_log(&self, now: &Mark) -> bool {
        let is_same_boot = self.boot == now.boot && self.boot != [0; BOOT_BYTES];
        !self.is_incomplete && (self.is_clean || self.ack == Ack::Fsync || is_same_boot)
    }

    fn encode(&self) -> [u8; MARK_BYTES] {
        let mut bytes = [0; MARK_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..8 + BOOT_BYTES].copy_from_slice(&self.boot);
        let bits = [(self.is_clean, CLEAN), (self.ack == Ack::Fsync, WAITS_FOR_SYNC), (self.is_incomplete, INCOMPLETE)];
        bytes[8 + BOOT_BYTES] = bits.iter().filter(|(is_set, _)| *is_set).map(|(_, bit)| bit).sum();
        let sum = crc32c(&bytes[..MARK_BYTES - 4]);
        bytes[MARK_BYTES - 4..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Mark> {
        let (said, sum) = bytes.get(..MARK_BYTES)?.split_at(MARK_BYTES - 4);
        if said[..8] != MAGIC || crc32c(said).to_le_bytes() != *sum {
            return None;
        }
        let bits = said[8 + BOOT_BYTES];
        let ack = if bits & WAITS_FOR_SYNC == 0 { Ack::Memory } else { Ack::Fsync };
        let boot = said[8..8 + BOOT_BYTES].try_into().ok()?;
        Some(Mark { boot, is_clean: bits & CLEAN != 0, ack, is_incomplete: bits & INCOMPLETE != 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(boot: u8, ack: Ack) -> Mark {
        Mark { boot: [boot; BOOT_BYTES], is_clean: false, ack, is_incomplete: false }
    }

    #[test]
    fn a_mark_comes_back_or_is_none() {
        for is_clean in [false, true] {
            let mark = Mark { is_clean, is_incomplete: !is_clean, ..mark(1, Ack::Fsync) };
            let bytes = mark.encode();
            assert_eq!(Mark::decode(&bytes), Some(mark));
            for at in 0..bytes.len() {
                let mut flipped = bytes;
                flipped[at] ^= 4;
                assert_eq!(Mark::decode(&flipped), None, "flipped at {at}");
            }
        }
        assert_eq!(Mark::decode(b""), None);
    }

    #[test]
    fn only_a_loss_of_power_or_an_open_end_costs_trust() {
        let now = mark(1, Ack::Memory);
        assert!(mark(1, Ack::Memory).vouches_for_log(&now), "it was killed");
        assert!(!mark(2, Ack::Memory).vouches_for_log(&now), "the machine was");
        assert!(mark(2, Ack::Fsync).vouches_for_log(&now), "nothing confirmed was unsafe");
        assert!(Mark { is_clean: true, ..mark(2, Ack::Memory) }.vouches_for_log(&now));
        assert!(!Mark { is_incomplete: true, ..mark(1, Ack::Fsync) }.vouches_for_log(&now));
        assert!(!mark(0, Ack::Memory).vouches_for_log(&mark(0, Ack::Memory)), "nobody knows which boot this is");
    }
}
