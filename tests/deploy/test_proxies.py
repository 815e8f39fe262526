"""Each proxy of deploy/proxies in front of two hubs: the real program with the file that is shipped.

What differs from the file: names of hubs, ports and paths are those of this machine, and idle times are a few seconds
instead of a minute, with pings that are as much more frequent.
"""

import asyncio
import contextlib
import json
import os
import re
import resource
import ssl
import tempfile
import time
import unittest
import urllib.request
from pathlib import Path

from websockets.exceptions import ConnectionClosed, InvalidStatus

from crowd import Crowd, Door, until
from fleet import ORIGIN, PING_SECONDS, SECRET, Echo, Fleet, Rude, free_addresses, free_port_at, status
from hub import PATIENCE, ROOT, certificate, free_port, hs256
from programs import FOLDER as PROGRAMS
from programs import Program

FOLDER = ROOT / "deploy" / "proxies"

# What 60 s of the files are here, above the time between two pings of these hubs.
IDLE_SECONDS = 5
CROWD = 16
MANY = 1040

# One descriptor for each of them here, two in the proxy.
resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)


class Proxy(unittest.TestCase):
    """What each proxy has to do; the classes below say how it is started."""

    # Files in deploy/proxies, the first is the one it is started with; and other words to change in them.
    files = ()
    here = {}
    # Whether it asks for /readyz, and whether it ends connections that say nothing.
    asks_for_health = True
    ends_idle = True

    @classmethod
    def line(cls, file):
        raise NotImplementedError

    @classmethod
    def setUpClass(cls):
        if cls is Proxy:
            raise unittest.SkipTest("each proxy has its own class")
        cls.folder = Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="fanfare-deploy-")))
        root, leaf, key = certificate(cls.folder)
        (cls.folder / "tls.crt").write_text(leaf.read_text())
        for name in ("tls.key", "tls.crt.key"):
            (cls.folder / name).write_text(key.read_text())
        cls.trust = ssl.create_default_context(cafile=root)
        cls.fleet = Fleet(cls.folder)
        cls.addClassCleanup(cls.fleet.close)
        addresses = [member.address for member in cls.fleet.members]
        cls.proxy, authority = cls.enterClassContext(cls.start(addresses, cls.fleet.port, cls.fleet.health_port))
        cls.web = f"https://{authority}"
        cls.url = f"wss://{authority}/connection/websocket"
        cls.door = Door(cls.url, hs256(SECRET, {"sub": "42"}), cls.trust, {"Origin": ORIGIN})
        asyncio.run(cls.wait_for_it())

    @classmethod
    @contextlib.contextmanager
    def start(cls, addresses, port, health_port):
        """The proxy in front of hubs at `addresses`: its program, and where it is."""
        own_port = free_port()
        with tempfile.TemporaryDirectory(dir=cls.folder) as folder:
            folder = Path(folder)
            changes = {r"\b8000\b": str(port), r"\b9000\b": str(health_port), r"\b60s\b": f"{IDLE_SECONDS}s"}
            changes |= {r"/etc/fanfare/tls/": f"{cls.folder}/", r"/etc/traefik/": f"{folder}/"}
            changes |= {pattern: text.format(port=own_port) for pattern, text in cls.here.items()}
            # As hosts, not as names of servers.
            changes |= {rf"(?<![\w.-])hub-{number}(?=[:,])": address for number, address in enumerate(addresses, 1)}
            for name in cls.files:
                text = (FOLDER / name).read_text()
                for pattern, replacement in changes.items():
                    text = re.sub(pattern, replacement, text)
                (folder / name).write_text(text)
            environment = {**os.environ, "HOME": str(folder)}
            with Program(*cls.line(folder / cls.files[0]), cwd=folder, env=environment) as program:
                yield program, f"127.0.0.1:{own_port}"

    @classmethod
    async def wait_for_it(cls):
        """Until both hubs are known to be well: a crowd finds both."""
        async def try_once():
            if cls.proxy.process.poll() is not None:
                raise AssertionError(cls.proxy.said())
            try:
                await cls.door.visit()
            except Exception:
                return False
            return True
        async with asyncio.timeout(PATIENCE):
            while not await try_once():
                await asyncio.sleep(0.05)
        if cls.asks_for_health:
            await until(lambda: all(member.gate.asked for member in cls.fleet.members), "both hubs' health is asked for")

    async def ask_where(self, crowd, word):
        """Publishes at each hub: how many members of the crowd are at which."""
        words = [f"{word} from {member.name}" for member in self.fleet.members]
        for member, text in zip(self.fleet.members, words):
            if not member.has_ended():
                await asyncio.to_thread(member.publish, "room", text)
        await crowd.all_heard(words)
        return [len(crowd.who_heard(text)) for text in words]

    def test_clients_are_spread_and_hear_at_once(self):
        async def run():
            async with Crowd(self.door, "room", CROWD) as crowd:
                # Heard at all: what is buffered would be kept until there is more.
                here, there = await self.ask_where(crowd, "hello")
                self.assertEqual(here + there, CROWD)
                self.assertGreaterEqual(min(here, there), 2, "one hub has nearly all")
                self.assertEqual(crowd.refusals(), [])
        asyncio.run(run())

    def test_who_is_pinged_outlives_the_idle_time(self):
        async def wait_for_the_end(mute):
            async with asyncio.timeout(PATIENCE):
                await mute.wait_closed()

        async def run():
            # It never says anything, and is told nothing: the time-out is there, and as short as this test takes it for.
            mute = await self.door.open()
            async with Crowd(self.door, "room", 4) as crowd:
                # Twice the idle time at least.
                pings = 2 * IDLE_SECONDS // PING_SECONDS + 1
                await until(lambda: all(member.pings >= pings for member in crowd.members), "pings come through")
                self.assertEqual((crowd.closes(), crowd.refusals()), ([], []))
                if self.ends_idle:
                    await wait_for_the_end(mute)
                await mute.close()
        asyncio.run(run())

    def test_a_drain_refuses_nobody(self):
        async def run():
            leaving, staying = self.fleet.members
            async with Crowd(self.door, "room", CROWD) as crowd:
                before, _ = await self.ask_where(crowd, "before")
                self.assertGreater(before, 0)
                leaving.drain()
                refused = await self.visit_until(leaving.has_ended)
                await crowd.all_in()
                self.assertEqual(await self.ask_where(crowd, "after"), [0, CROWD])
                self.assertEqual((refused, crowd.refusals()), ([], []))
                # Those who were there were told to come back, and some twice who came back too soon; nobody else noticed.
                self.assertEqual({code for code in crowd.closes()}, {3001})
                self.assertEqual(sum(1 for member in crowd.members if member.closes), before)

        try:
            asyncio.run(run())
        finally:
            leaving = self.fleet.members[0]
            leaving.end()
            leaving.start()
            # It is found again.
            asyncio.run(self.wait_for_both())

    async def visit_until(self, condition):
        """Some come and go all the while, and once after it: who was not let in."""
        refused = []

        async def visit():
            is_last = False
            while not is_last and len(refused) < 10:
                is_last = condition()
                try:
                    await self.door.visit()
                except ConnectionClosed as closed:
                    # Let in just before the end, and told to come back.
                    if closed.rcvd is None or closed.rcvd.code != 3001:
                        refused.append(repr(closed))
                except Exception as error:
                    refused.append(repr(error))
        await asyncio.gather(*(visit() for _ in range(4)))
        return refused

    async def wait_for_both(self):
        async with asyncio.timeout(PATIENCE):
            while True:
                async with Crowd(self.door, "room", 8) as crowd:
                    if min(await self.ask_where(crowd, "again")) > 0:
                        return

    def test_a_hub_that_is_not_ready_gets_nobody_new(self):
        if not self.asks_for_health:
            self.skipTest("it asks nobody for health")

        async def run():
            held, other = self.fleet.members
            async with Crowd(self.door, "room", CROWD) as crowd:
                at_held, _ = await self.ask_where(crowd, "first")
                held.gate.held = True
                try:
                    # It is asked, and asked again: by then the first answer has taken effect.
                    asked = held.gate.asked
                    await until(lambda: held.gate.asked >= asked + 2, "its health is asked for")
                    async with Crowd(self.door, "room", 8) as newcomers:
                        self.assertEqual(await self.ask_where(newcomers, "newcomers"), [0, 8])
                    # Those who are there stay.
                    self.assertEqual((await self.ask_where(crowd, "still"))[0], at_held)
                    self.assertEqual((crowd.closes(), crowd.refusals()), ([], []))
                finally:
                    held.gate.held = False
            await self.wait_for_both()
        asyncio.run(run())

    def test_more_than_a_thousand_find_room(self):
        """Beyond limits that proxies have by themselves, such as 512 connections of a worker of nginx."""
        async def run():
            async with Crowd(self.door, "room", MANY) as crowd:
                self.assertEqual(crowd.refusals(), [])
                # 3012: so many of them on one busy core may be late with a pong, which is no proxy's doing.
                self.assertLessEqual(set(crowd.closes()), {3012})
        asyncio.run(run())

    def test_nobody_says_who_they_are_by_a_header(self):
        async def claim(url, trust):
            door = Door(url, None, trust, {"Origin": ORIGIN, "X-User-Id": "admin"})
            return await door.visit()

        async def run():
            hub = self.fleet.members[0]
            # The hub itself believes it: it is for proxies that know the user.
            reply = await claim(f"ws://{hub.address}:{self.fleet.port}/connection/websocket", None)
            self.assertIn("connect", reply)
            with self.assertRaises(ConnectionClosed) as found:
                await claim(self.url, self.trust)
            # It has no token either.
            self.assertEqual(found.exception.rcvd.code, 3501)
        asyncio.run(run())

    def test_origins_reach_the_hub(self):
        async def run():
            with self.assertRaises(InvalidStatus) as found:
                await Door(self.url, None, self.trust, {"Origin": "https://evil.example.com"}).visit()
            self.assertEqual(found.exception.response.status_code, 403)
        asyncio.run(run())

    def test_only_clients_are_let_through(self):
        for path in ("/metrics", "/readyz", "/livez", "/api/info", "/", "/connection/../metrics"):
            self.assertIn(status(self.web + path, self.trust), (400, 404), path)

    def test_hubs_are_told_who_asks_and_not_what_they_claim(self):
        addresses, claimed = free_addresses(2), "203.0.113.7"
        ports = free_port_at(addresses), free_port_at(addresses)
        hubs = [Echo(address, ports) for address in addresses]
        with hubs[0], hubs[1], self.start(addresses, *ports) as (program, authority):
            request = urllib.request.Request(f"https://{authority}/connection/echo", headers={
                "X-Forwarded-For": claimed, "X-User-Id": "admin", "Origin": ORIGIN,
            })
            headers = self.ask_until_answered(request, program)
        self.assertEqual((headers["x-forwarded-for"], headers["x-forwarded-proto"]), (["127.0.0.1"], ["https"]))
        self.assertEqual(headers["origin"], [ORIGIN])
        self.assertIn(headers.get("x-user-id"), (None, [""]))

    def test_a_hub_that_hangs_up_is_not_the_last_word(self):
        addresses = free_addresses(2)
        ports = free_port_at(addresses), free_port_at(addresses)
        with Rude(addresses[0], ports) as rude, Echo(addresses[1], ports), self.start(addresses, *ports) as (program, authority):
            request = urllib.request.Request(f"https://{authority}/connection/echo")
            self.ask_until_answered(request, program)
            deadline = time.monotonic() + PATIENCE
            answers = 0
            # Until it was asked after the start; those who left it out for some seconds come back to it.
            before = rude.asked
            while answers < 8 or rude.asked == before:
                self.assertEqual(status(request, self.trust), 200)
                answers += 1
                self.assertLess(time.monotonic(), deadline, f"only {before} requests went to the hub that hangs up")

    def ask_until_answered(self, request, program):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            self.assertIsNone(program.process.poll(), program.said())
            try:
                with urllib.request.urlopen(request, timeout=PATIENCE, context=self.trust) as answer:
                    return json.load(answer)
            except OSError:
                time.sleep(0.05)
        raise AssertionError(program.said())


class Nginx(Proxy):
    files = ("nginx.conf",)
    here = {r"listen 443": "listen 127.0.0.1:{port}"}
    asks_for_health = False

    @classmethod
    def line(cls, file):
        return "/usr/sbin/nginx", "-e", "stderr", "-p", cls.folder, "-c", file, "-g", f"daemon off; pid {cls.folder}/pid;"


class Haproxy(Proxy):
    files = ("haproxy.cfg",)
    # It does not start with fewer descriptors than it might need.
    here = {r"bind :443": "bind 127.0.0.1:{port}", r"maxconn 100000": "maxconn 2000"}

    @classmethod
    def line(cls, file):
        return "/usr/sbin/haproxy", "-db", "-f", file


class Envoy(Proxy):
    files = ("envoy.yaml",)
    here = {r"address: 0.0.0.0, port_value: 443": "address: 127.0.0.1, port_value: {port}"}

    @classmethod
    def line(cls, file):
        return PROGRAMS / "envoy", "--use-dynamic-base-id", "--concurrency", "2", "--log-level", "warning", "-c", file


class Traefik(Proxy):
    files = ("traefik.yml", "traefik-routes.yml")
    here = {r'":443"': '"127.0.0.1:{port}"'}
    # A WebSocket has no idle time-out there.
    ends_idle = False

    @classmethod
    def line(cls, file):
        return PROGRAMS / "traefik", f"--configFile={file}"


class Caddy(Proxy):
    files = ("Caddyfile",)
    here = {r"https://rt.example.com": "https://127.0.0.1:{port}"}
    # A WebSocket has no idle time-out there.
    ends_idle = False

    @classmethod
    def line(cls, file):
        return PROGRAMS / "caddy", "run", "--config", file, "--adapter", "caddyfile"


class Files(unittest.TestCase):
    def test_each_file_is_run_by_a_test(self):
        run = {name for proxy in Proxy.__subclasses__() for name in proxy.files}
        self.assertEqual(run, {path.name for path in FOLDER.iterdir()})


if __name__ == "__main__":
    unittest.main()
