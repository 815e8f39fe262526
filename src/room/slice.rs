//! A share of fan-out.

/// What is left of a turn's share of fan-out, in sends, bytes and members looked at.
#[derive(Clone, Copy, Debug)]
pub struct Slice {
    pub sends: usize,
    pub bytes: usize,
    pub visits: usize,
}

impl Slice {
    pub fn is_used_up(&self) -> bool {
        self.sends == 0 || self.bytes == 0 || self.visits == 0
    }

    pub(super) fn spend(&mut self, bytes: usize) {
        self.sends -= 1;
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}
