//! Lanes among shards: one ring for each ordered pair, so that every lane is FIFO and wait-free.

use std::sync::Arc;

use rtrb::{Consumer, Producer, PushError, RingBuffer};

use super::Doorbell;

/// Makes lanes of `slots` messages each between all of `shards`; the ports of shard `n` are the
/// `n`th.
pub fn mesh<T>(shards: usize, slots: usize) -> Vec<Ports<T>> {
    assert!(shards > 0 && slots > 0, "lanes lead somewhere and hold something");
    let doorbells: Arc<[Arc<Doorbell>]> = (0..shards).map(|_| Arc::new(Doorbell::new())).collect();
    let mut ports: Vec<Ports<T>> = (0..shards)
        .map(|id| Ports {
            id,
            outlets: (0..shards).map(|_| None).collect(),
            inlets: (0..shards).map(|_| None).collect(),
            doorbells: Arc::clone(&doorbells),
        })
        .collect();
    for from in 0..shards {
        for to in (0..shards).filter(|to| *to != from) {
            let (outlet, inlet) = RingBuffer::new(slots);
            ports[from].outlets[to] = Some(outlet);
            ports[to].inlets[from] = Some(inlet);
        }
    }
    ports
}

/// One shard's ends of all its lanes, and everybody's doorbells.
pub struct Ports<T> {
    id: usize,
    /// By the shard they lead to; `None` at the own place.
    outlets: Vec<Option<Producer<T>>>,
    /// By the shard they come from; `None` at the own place.
    inlets: Vec<Option<Consumer<T>>>,
    doorbells: Arc<[Arc<Doorbell>]>,
}

impl<T> Ports<T> {
    /// Which shard these ports belong to.
    pub fn id(&self) -> usize {
        self.id
    }

    /// All shards of the node, this one too.
    pub fn shards(&self) -> usize {
        self.doorbells.len()
    }

    /// The shards that lanes lead to and come from.
    pub fn others(&self) -> impl Iterator<Item = usize> + use<T> {
        let own = self.id;
        (0..self.shards()).filter(move |id| *id != own)
    }

    /// The own doorbell: to sleep behind, and for the in-tray.
    pub fn doorbell(&self) -> &Arc<Doorbell> {
        &self.doorbells[self.id]
    }

    /// Whether the lane to `to` takes no more now. Only this shard adds, so a "no" stays true until
    /// its next push.
    pub fn is_full(&self, to: usize) -> bool {
        self.outlets[to].as_ref().is_none_or(Producer::is_full)
    }

    /// Puts `message` at the end of the lane to `to`, or gives it back if the lane is full. The
    /// doorbell is the caller's: one [`Ports::ring`] for all messages of a turn.
    pub fn push(&mut self, to: usize, message: T) -> Result<(), T> {
        match &mut self.outlets[to] {
            Some(outlet) => outlet.push(message).map_err(|PushError::Full(message)| message),
            None => Err(message),
        }
    }

    /// Wakes shard `to` if it sleeps.
    pub fn ring(&self, to: usize) {
        self.doorbells[to].ring_if_sleeping();
    }

    /// The oldest message of the lane from `from`.
    pub fn pop(&mut self, from: usize) -> Option<T> {
        self.inlets[from].as_mut()?.pop().ok()
    }

    /// Whether no lane holds a message for this shard: the second look of going to sleep.
    pub fn is_empty(&self) -> bool {
        self.inlets.iter().flatten().all(Consumer::is_empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_ordered_pair_has_its_own_fifo_lane() {
        let mut ports = mesh::<(usize, usize)>(3, 4);
        for (from, port) in ports.iter_mut().enumerate() {
            for to in port.others() {
                port.push(to, (from, 0)).expect("the lane has room");
                port.push(to, (from, 1)).expect("the lane has room");
            }
        }
        for (to, port) in ports.iter_mut().enumerate() {
            for from in port.others() {
                assert_eq!(port.pop(from), Some((from, 0)), "from {from} to {to}");
                assert_eq!(port.pop(from), Some((from, 1)), "from {from} to {to}");
                assert_eq!(port.pop(from), None);
            }
            assert!(port.is_empty());
        }
    }

    #[test]
    fn a_full_lane_gives_the_message_back() {
        let mut ports = mesh(2, 2);
        assert_eq!(ports[0].push(1, 'a'), Ok(()));
        assert!(!ports[0].is_full(1));
        assert_eq!(ports[0].push(1, 'b'), Ok(()));
        assert!(ports[0].is_full(1));
        assert_eq!(ports[0].push(1, 'c'), Err('c'));
        assert_eq!(ports[0].push(0, 'd'), Err('d'), "no lane leads to oneself");

        assert!(!ports[1].is_empty());
        assert_eq!(ports[1].pop(0), Some('a'));
        assert!(!ports[0].is_full(1), "a pop makes room");
    }

    #[test]
    fn a_lone_shard_has_no_lanes() {
        let mut ports = mesh::<()>(1, 8);
        assert_eq!(ports[0].others().count(), 0);
        assert!(ports[0].is_empty());
        assert_eq!(ports[0].pop(0), None);
    }

    #[test]
    fn only_a_sleeping_shard_is_rung_and_once() {
        use std::sync::atomic::{AtomicUsize, Ordering};

        let ports = mesh::<()>(3, 1);
        let rings = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&rings);
        ports[0].doorbell().hang(move || {
            counter.fetch_add(1, Ordering::Relaxed);
        });
        let rung = |expected| assert_eq!(rings.load(Ordering::Relaxed), expected);

        ports[1].ring(0);
        rung(0);
        ports[0].doorbell().prepare_sleep();
        ports[1].ring(0);
        ports[2].ring(0);
        rung(1);
        ports[0].doorbell().prepare_sleep();
        ports[0].doorbell().awake();
        ports[1].ring(0);
        rung(1);
    }
}
