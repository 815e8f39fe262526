//! What a thread of the pool keeps between jobs.

use crate::protocol::{Compression, FrameBuilder};
use crate::ws::Inflater;

/// A compressor and an expander, for whatever job comes. Nothing of one job is left for the next.
pub struct Tools {
    pub frames: FrameBuilder,
    pub inflater: Inflater,
}

impl Tools {
    pub fn new(compression: Compression) -> Tools {
        Tools { frames: FrameBuilder::new(compression, usize::MAX), inflater: Inflater::default() }
    }
}
