//! How many connections a user may have, whichever shards they come to and however the lanes run.

use super::*;

fn limited(shards: u16, connections_max: u32) -> Bench {
    Bench::with(shards, |options| options.user_connections_max = connections_max)
}

fn single(shards: u16) -> Bench {
    Bench::with(shards, |options| options.has_single_connection = true)
}

impl Bench {
    /// What the homes count, over all users.
    fn counted(&self) -> u32 {
        self.shards.iter().flat_map(|shard| shard.user_connections.values()).sum()
    }

    fn is_open(&self, client: Client) -> bool {
        let connection = self.shards[client.shard].connections.find(client.id);
        connection.is_some_and(|connection| connection.is_open() && connection.client.is_some())
    }

    /// One message moves in one lane.
    fn move_one(&mut self, random: &mut fastrand::Rng) {
        (0..self.shards.len()).for_each(|shard| self.collect(shard));
        let waiting: Vec<_> = self.lanes.iter().filter(|(_, lane)| !lane.is_empty()).map(|(ends, _)| *ends).collect();
        let Some(&(from, to)) = random.choice(&waiting) else { return };
        let message = self.lanes.get_mut(&(from, to)).and_then(VecDeque::pop_front).expect("it is not empty");
        let now = self.now();
        self.shards[to].lane_message(now, ShardId(from as u16), message);
    }

    /// The peers of closed connections hang up.
    fn hang_up(&mut self, clients: &[Client]) {
        for &client in clients {
            if self.is_known(client) && !self.is_open(client) {
                let now = self.now();
                self.shards[client.shard].lost(now, client.id);
            }
        }
        for shard in 0..self.shards.len() {
            while self.shards[shard].next_finished().is_some() {}
            self.walk(shard);
        }
        self.settle();
    }
}

#[test]
fn connections_over_the_limit_are_closed_until_one_goes() {
    let mut bench = limited(3, 2);
    let first = bench.connect_as(0, "ann");
    let second = bench.connect_as(1, "ann");
    let third = bench.begin_connect_as(2, "ann");
    bench.settle();
    assert_eq!(bench.told(third), ["close 3504"]);
    // Others are not meant, and who has no id is not counted.
    let bob = bench.connect_as(2, "bob");
    let nobodies: Vec<Client> = (0..3).map(|_| bench.connect_as(0, "")).collect();
    assert!(nobodies.iter().chain([&bob, &first, &second]).all(|client| bench.is_open(*client)));
    bench.cut(first);
    bench.settle();
    bench.connect_as(2, "ann");
    let fourth = bench.begin_connect_as(0, "ann");
    bench.settle();
    assert_eq!(bench.told(fourth), ["close 3504"]);
}

#[test]
fn commands_wait_until_the_home_has_answered() {
    let mut bench = limited(2, 1);
    let user = (0..).map(|n| format!("user{n}")).find(|user| {
        let homes = &bench.homes;
        homes.home_of_user(homes.hash_of_user(user)).as_index() == 1
    });
    let user = user.expect("users are many");
    let client = bench.begin_connect_as(0, &user);
    bench.say(client, r#"{"id":2,"rpc":{"method":"x"}}"#);
    assert_eq!(bench.told(client), [""; 0]);
    bench.settle();
    assert_eq!(ids(&bench.told(client)), [1, 2]);
    // One of its own home is let in at once.
    let here = bench.begin_connect_as(1, &user);
    bench.settle();
    assert_eq!(bench.told(here), ["close 3504"]);
}

#[test]
fn one_that_went_while_it_was_asked_about_is_given_back() {
    for user in ["ann", "bob", "eve", "joe"] {
        let mut bench = limited(2, 1);
        let gone = bench.begin_connect_as(0, user);
        bench.cut(gone);
        let tenant = bench.open(0);
        bench.settle();
        assert_eq!((bench.counted(), bench.told(tenant).len()), (0, 0), "its slot is another's");
        bench.connect_as(1, user);
        assert_eq!(bench.counted(), 1);
    }
}

#[test]
fn one_whose_token_expires_meanwhile_is_given_back() {
    for shard in 0..2 {
        let mut bench = limited(2, 1);
        let client = bench.open(shard);
        let expires_at = Some(bench.now().unix_seconds());
        let claims = Claims { user: "ann".into(), expires_at, ..Claims::default() };
        bench.shards[shard].token_verified(client.id, 1, TokenPurpose::Connect(Default::default()), Ok(claims));
        bench.settle();
        assert_eq!(bench.told(client), [r#"{"id":1,"error":{"code":110,"message":"expired"}}"#]);
        assert_eq!(bench.counted(), 0);
    }
}

#[test]
fn a_newer_connection_closes_the_older_ones() {
    let mut bench = single(3);
    let mut last: Option<Client> = None;
    for shard in [0, 1, 1, 2, 0, 0] {
        let client = bench.connect_as(shard, "ann");
        if let Some(last) = last.replace(client) {
            assert_eq!(bench.told(last), ["close 3504"]);
        }
    }
    bench.connect_as(1, "bob");
    assert!(last.is_some_and(|last| bench.is_open(last)));
}

/// Connections come and go while messages move one by one, in any order of lanes.
#[test]
fn however_the_lanes_run_the_limit_holds() {
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        let limit = random.u32(1..4);
        let mut bench = limited(3, limit);
        let mut clients: Vec<(Client, &str)> = Vec::new();
        for _ in 0..150 {
            match random.u32(..10) {
                0..3 => {
                    let user = random.choice(["ann", "bob"]).expect("one of two");
                    let client = bench.begin_connect_as(random.usize(..3), user);
                    clients.push((client, user));
                }
                3 if !clients.is_empty() => {
                    let (client, _) = clients.swap_remove(random.usize(..clients.len()));
                    let now = bench.now();
                    bench.shards[client.shard].lost(now, client.id);
                }
                _ => bench.move_one(&mut random),
            }
            for user in ["ann", "bob"] {
                let open = clients.iter().filter(|(client, of)| of == &user && bench.is_open(*client)).count();
                assert!(open <= limit as usize, "seed {seed}: {open} of {user}");
            }
        }
        bench.settle();
        let clients: Vec<Client> = clients.into_iter().map(|(client, _)| client).collect();
        bench.hang_up(&clients);
        let open = clients.iter().filter(|client| bench.is_open(**client)).count();
        assert_eq!(bench.counted(), open as u32, "seed {seed}");
    }
}

#[test]
fn however_the_lanes_run_one_connection_stays() {
    for seed in 0..60 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut bench = single(3);
        let mut clients: Vec<Client> = Vec::new();
        for _ in 0..100 {
            match random.u32(..4) {
                0 => clients.push(bench.begin_connect_as(random.usize(..3), "ann")),
                _ => bench.move_one(&mut random),
            }
        }
        bench.settle();
        let open: Vec<_> = clients.iter().filter(|client| bench.is_open(**client)).collect();
        assert_eq!(open.len(), 1, "seed {seed}: of {}", clients.len());
        bench.hang_up(&clients);
        assert_eq!(bench.counted(), 1, "seed {seed}");
    }
}

#[test]
fn where_nothing_is_limited_nothing_is_sent() {
    let mut bench = Bench::new(3);
    let clients: Vec<Client> = (0..9).map(|n| bench.begin_connect_as(n % 3, "ann")).collect();
    for client in clients {
        assert_eq!(ids(&bench.told(client)), [1], "let in at once");
        bench.cut(client);
    }
    (0..3).for_each(|shard| bench.collect(shard));
    assert!(bench.lanes.values().all(VecDeque::is_empty));
    assert_eq!(bench.counted(), 0);
}
