//! When the deliveries of a namespace are handed to its subscribers.

use std::time::Duration;

use crate::limits;

/// How long deliveries are kept back so that several share one send. Ours, not Centrifugo's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flush {
    pub window: FlushWindow,
    /// Deliveries that end a window early, and their bytes.
    pub batch_max: usize,
    pub batch_bytes_max: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlushWindow {
    /// Everything is handed over in the turn in which it comes.
    #[default]
    Off,
    /// That long after the first delivery that waits.
    Fixed(Duration),
    /// Up to `budget`, where joining is measured to pay; nothing elsewhere.
    Adaptive { budget: Duration },
}

impl Default for Flush {
    fn default() -> Flush {
        Flush {
            window: FlushWindow::Off,
            batch_max: limits::BATCH_DELIVERIES_MAX,
            batch_bytes_max: limits::BATCH_BYTES_MAX,
        }
    }
}
