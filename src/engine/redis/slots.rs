//! Which server of a cluster has which slot.

use super::names::SLOTS;
use super::options::Address;
use super::resp::Reply;

/// As one of the servers told it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotMap {
    /// For each slot a place in `servers`; `NOBODY` where no server has it.
    slots: Box<[u16]>,
    servers: Vec<Address>,
}

impl Default for SlotMap {
    /// Of a cluster that nobody has heard of yet.
    fn default() -> SlotMap {
        SlotMap { slots: vec![NOBODY; usize::from(SLOTS)].into(), servers: Vec::new() }
    }
}

impl SlotMap {
    /// Reads the answer to `CLUSTER SLOTS` of the server at `asked`. `None`: that is no such answer.
    pub fn parse(reply: &Reply, asked: &Address) -> Option<SlotMap> {
        let mut map = SlotMap::default();
        for range in reply.as_array()? {
            let [first, last, master, ..] = range.as_array()? else { return None };
            let (first, last) = (slot_in(first)?, slot_in(last)?);
            let server = map.place_of(address_of(master.as_array()?, asked)?);
            map.slots.get_mut(first..=last)?.fill(server);
        }
        Some(map)
    }

    pub fn server_of(&self, slot: u16) -> Option<&Address> {
        self.servers.get(usize::from(*self.slots.get(usize::from(slot))?))
    }

    /// The masters.
    pub fn servers(&self) -> &[Address] {
        &self.servers
    }

    fn place_of(&mut self, address: Address) -> u16 {
        let place = self.servers.iter().position(|known| *known == address).unwrap_or_else(|| {
            self.servers.push(address);
            self.servers.len() - 1
        });
        u16::try_from(place).expect("a cluster has no more servers than slots")
    }
}

fn slot_in(reply: &Reply) -> Option<usize> {
    reply.as_number().filter(|slot| *slot < u64::from(SLOTS)).map(|slot| slot as usize)
}

/// A server that does not know its own name leaves it out: it is where it was asked.
fn address_of(server: &[Reply], asked: &Address) -> Option<Address> {
    let port = u16::try_from(server.get(1)?.as_number()?).ok()?;
    let host = server.first()?.as_str().filter(|host| !host.is_empty() && *host != "?");
    match (host, asked) {
        (Some(host), _) => Some(Address::tcp(host, port)),
        (None, Address::Tcp { host, .. }) => Some(Address::tcp(host.clone(), port)),
        (None, Address::Unix(_)) => None,
    }
}

/// Where a server sends a request that it does not serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirection {
    pub address: Address,
    /// For this request only: the slot is on its way there.
    pub is_ask: bool,
}

impl Redirection {
    /// Reads `MOVED 3999 10.0.0.1:6381`, and the same with `ASK`.
    pub fn parse(words: &str) -> Option<Redirection> {
        let mut words = words.split(' ');
        let is_ask = match words.next()? {
            "MOVED" => false,
            "ASK" => true,
            _ => return None,
        };
        let address = words.nth(1)?;
        // IPv6 addresses stand without brackets.
        let (host, port) = address.rsplit_once(':')?;
        let port = port.parse().ok()?;
        (!host.is_empty()).then(|| Redirection { address: Address::tcp(host.trim_matches(['[', ']']), port), is_ask })
    }
}

const NOBODY: u16 = u16::MAX;

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::super::resp::next_reply;
    use super::*;

    fn map(wire: &str) -> Option<SlotMap> {
        let reply = next_reply(&mut BytesMut::from(wire)).expect("RESP").expect("a whole one");
        SlotMap::parse(&reply, &Address::tcp("asked", 1))
    }

    #[test]
    fn a_map_is_read_from_the_servers_answer() {
        let wire = "*2\r\n*3\r\n:0\r\n:99\r\n*2\r\n$1\r\na\r\n:7000\r\n\
                    *3\r\n:101\r\n:16383\r\n*2\r\n$0\r\n\r\n:7001\r\n";
        let map = map(wire).expect("a map");
        let server = |slot| map.server_of(slot).map(ToString::to_string);
        assert_eq!([server(0), server(99)], [Some("a:7000".to_owned()), Some("a:7000".to_owned())]);
        assert_eq!([server(100), server(101)], [None, Some("asked:7001".to_owned())]);
        assert_eq!(map.servers().len(), 2);
    }

    #[test]
    fn what_is_no_map_is_refused() {
        for wire in ["+OK\r\n", "*1\r\n*2\r\n:0\r\n:1\r\n", "*1\r\n*3\r\n:0\r\n:16384\r\n*2\r\n$1\r\na\r\n:1\r\n"] {
            assert_eq!(map(wire), None, "{wire}");
        }
    }

    #[test]
    fn redirections_are_read() {
        let to = |words| Redirection::parse(words).map(|to| (to.address.to_string(), to.is_ask));
        assert_eq!(to("MOVED 3999 127.0.0.1:6381"), Some(("127.0.0.1:6381".to_owned(), false)));
        assert_eq!(to("ASK 3999 ::1:6381"), Some(("[::1]:6381".to_owned(), true)));
        assert_eq!([to("ERR no"), to("MOVED 1"), to("MOVED 1 :6381")], [None, None, None]);
    }
}
