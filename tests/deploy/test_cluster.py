"""compose.cluster.yml follows its schema, and its programs work together.

There is no container engine here. The command lines of hubs, Valkey, HAProxy and Prometheus are run as they stand, each at
an address of its own as in a container, with files, names, ports and folders of this machine; Valkey, HAProxy and
Prometheus in the versions that are installed here, not those of the images. Grafana is not run: its files are compared
with what they name, and the queries of its dashboard are asked of the Prometheus that runs.
"""

import asyncio
import contextlib
import json
import re
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import jsonschema
import yaml

from crowd import Crowd, Door, until
from fleet import free_addresses, free_port_at
from hub import PATIENCE, ROOT, Hub, hs256
from programs import VALKEY, Program
from test_monitoring import SHARED, expressions, metrics_in

FOLDER = ROOT / "deploy" / "compose"
SCHEMA = json.loads((ROOT / "tests" / "data" / "compose-spec.json").read_text())
COMPOSE = yaml.safe_load((FOLDER / "compose.cluster.yml").read_text())
SERVICES = COMPOSE["services"]
HUBS = ("hub-1", "hub-2")
ORIGIN = "https://app.example.com"

# Programs by the words that images know them by.
PROGRAMS = {"valkey-server": VALKEY, "haproxy": "/usr/sbin/haproxy", "valkey-cli": "redis-cli"}
NOT_RUN = {"grafana"}


class Files(unittest.TestCase):
    def test_it_follows_the_schema(self):
        jsonschema.Draft7Validator(SCHEMA).validate(COMPOSE)

    def test_the_schema_would_find_a_mistake(self):
        wrong = json.loads(json.dumps(COMPOSE))
        wrong["services"]["valkey"]["health_check"] = {}
        with self.assertRaises(jsonschema.ValidationError):
            jsonschema.Draft7Validator(SCHEMA).validate(wrong)

    def test_only_clients_are_let_in_from_outside(self):
        published = {port for service in SERVICES.values() for port in service.get("ports", ())}
        self.assertEqual({port for port in published if not port.startswith("127.0.0.1:")}, {"8000:8000"})
        self.assertFalse([name for name in HUBS if "ports" in SERVICES[name]])
        # Only hubs reach the engine, which asks for no password.
        self.assertTrue(COMPOSE["networks"]["engine"]["internal"])
        self.assertEqual({name for name, service in SERVICES.items() if "engine" in service["networks"]}, {*HUBS, "valkey"})

    def test_what_it_names_is_there(self):
        for name, service in SERVICES.items():
            for volume in service.get("volumes", ()):
                source = volume.split(":")[0]
                if source.startswith("."):
                    self.assertTrue((FOLDER / source).is_file(), f"{name}: {source}")
                    self.assertTrue(volume.endswith(":ro"), volume)
                else:
                    self.assertIn(source, COMPOSE["volumes"])
            self.assertLessEqual(set(service.get("secrets", ())), COMPOSE["secrets"].keys())
            for variable, value in service.get("environment", {}).items():
                if variable.endswith("_FILE"):
                    self.assertIn(value.removeprefix("/run/secrets/"), service["secrets"])
            self.assertRegex(service["image"], r":v?\d+\.\d+", f"{name} takes whatever is newest")

    def test_drains_are_not_cut_short(self):
        seconds = lambda name: int(SERVICES[name]["stop_grace_period"].removesuffix("s"))
        for hub in HUBS:
            self.assertGreater(seconds(hub), 30, "the default of shutdown.timeout, which has the grace in it")
        proxy = (FOLDER / "cluster" / "haproxy.cfg").read_text()
        self.assertGreater(seconds("haproxy"), int(re.search(r"hard-stop-after (\d+)s", proxy)[1]))

    def test_no_service_may_do_more_than_it_needs(self):
        for name, service in SERVICES.items():
            self.assertEqual((service["cap_drop"], service["security_opt"]), (["ALL"], ["no-new-privileges:true"]), name)
        for name in HUBS:
            self.assertTrue(SERVICES[name]["read_only"])
            self.assertNotIn("cap_add", SERVICES[name])

    def test_grafana_s_files_agree(self):
        mounts = dict(volume.split(":")[1::-1] for volume in SERVICES["grafana"]["volumes"])
        read = lambda name: yaml.safe_load((FOLDER / "cluster" / name).read_text())
        (source,) = read("grafana-datasources.yml")["datasources"]
        url = urllib.parse.urlsplit(source["url"])
        self.assertIn(url.hostname, SERVICES)
        self.assertTrue(any(port.endswith(f":{url.port}") for port in SERVICES[url.hostname]["ports"]))
        # What the dashboard's variable takes when nobody has chosen.
        self.assertTrue(source["isDefault"])
        scrape = read("prometheus.yml")["global"]["scrape_interval"]
        self.assertEqual(source["jsonData"]["timeInterval"], scrape)
        (provider,) = read("grafana-dashboards.yml")["providers"]
        home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
        self.assertEqual(provider["options"]["path"], str(Path(home).parent))
        self.assertEqual(mounts[home], "../grafana/dashboard.json")

    def test_every_command_is_run_below(self):
        commanded = {name for name, service in SERVICES.items() if "command" in service}
        self.assertEqual(commanded, {*HUBS, "valkey", "haproxy", "prometheus"})
        self.assertEqual(SERVICES.keys() - commanded, NOT_RUN)


class Container:
    """A service as it is on this machine: an address, and its files in a folder."""

    def __init__(self, cluster, name):
        self.cluster, self.name, self.service = cluster, name, SERVICES[name]
        self.address = cluster.addresses[name]
        self.folder = cluster.folder / name
        self.mounts = {}
        for volume in self.service.get("volumes", ()):
            source, target = volume.split(":")[:2]
            self.mount(target, (FOLDER / source).read_text() if source.startswith(".") else None)
        for secret in self.service.get("secrets", ()):
            self.mount(f"/run/secrets/{secret}", f"secret of {secret}\n")
        # Configurations name files too.
        for target, here in self.mounts.items():
            if here.is_file():
                here.write_text(self.localize(here.read_text()))

    def mount(self, target, text):
        here = self.folder / target.lstrip("/")
        here.parent.mkdir(parents=True, exist_ok=True)
        here.mkdir() if text is None else here.write_text(text)
        self.mounts[target] = here

    def localize(self, text):
        targets = "|".join(map(re.escape, sorted(self.mounts, key=len, reverse=True))) or "(?!)"
        text = re.sub(rf"(?<![\w.-])({targets})", lambda found: str(self.mounts[found[0]]), text)
        return self.cluster.localize(text, self.address)

    def words(self, line):
        program, *arguments = line if line[0] in PROGRAMS else ("prometheus", *line)
        return [PROGRAMS.get(program, program), *map(self.localize, arguments)]

    def run(self, *more):
        return Program(*self.words(self.service["command"]), *more, cwd=self.folder)


class HubContainer(Container):
    """A hub, which can be replaced by a new one."""

    def start(self):
        where = ["--address", self.address, "--port", self.cluster.ports["8000"], "--internal_port", self.cluster.ports["9000"]]
        self.environment = {name: self.localize(value) for name, value in self.service["environment"].items()}
        self.hub = Hub(*map(self.localize, self.service["command"]), *where, env=self.environment)
        kind, program, *check = self.service["healthcheck"]["test"]
        assert (kind, program, check.pop(0)) == ("CMD", "/usr/local/bin/fanfare", "healthcheck")
        self.hub.await_health(*map(self.localize, check), *where)

    def shown(self):
        """What it shows to Prometheus."""
        url = f"http://{self.address}:{self.cluster.ports['9000']}/metrics"
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            return answer.read().decode()

    def sum_of(self, metric):
        return sum(float(value) for value in re.findall(rf"(?m)^{metric}(?:{{.*}})? (\S+)$", self.shown()))

    def drain(self):
        self.hub.process.terminate()

    def has_ended(self):
        return self.hub.process.poll() is not None

    def end(self):
        self.hub.__exit__()


class Cluster:
    """Every service but Grafana."""

    def __init__(self, folder, stack):
        self.folder = Path(folder)
        names = SERVICES.keys() - NOT_RUN
        self.addresses = dict(zip(sorted(names), free_addresses(len(names))))
        self.ports = {port: free_port_at(self.addresses.values()) for port in ("8000", "9000", "9090", "6379")}
        self.valkey = stack.enter_context(Container(self, "valkey").run("--port", self.ports["6379"]))
        self.valkey.await_port(int(self.ports["6379"]), self.addresses["valkey"])
        self.hubs = [HubContainer(self, name) for name in HUBS]
        for hub in self.hubs:
            hub.start()
            stack.callback(hub.end)
        self.haproxy = stack.enter_context(Container(self, "haproxy").run())
        self.haproxy.await_port(int(self.ports["8000"]), self.addresses["haproxy"])
        listen = f"--web.listen-address={self.addresses['prometheus']}:{self.ports['9090']}"
        self.prometheus = stack.enter_context(Container(self, "prometheus").run(listen))
        self.prometheus.await_port(int(self.ports["9090"]), self.addresses["prometheus"])

    def localize(self, text, own_address):
        """Names and ports of containers as those of this machine."""
        text = re.sub(r"(?<![\w.-])([a-z][a-z0-9-]*):(\d{4})\b", self.place, text)
        text = re.sub(r"(bind) :(\d{4})\b", lambda found: f"{found[1]} {own_address}:{self.ports[found[2]]}", text)
        text = re.sub(r"\bcheck port (\d{4})\b", lambda found: f"check port {self.ports[found[1]]}", text)
        text = re.sub(r"^0\.0\.0\.0$", own_address, text)
        # Descriptors of this machine, and a pace for tests.
        text = re.sub(r"\bmaxconn \d+", "maxconn 1000", text)
        return re.sub(r"(scrape|evaluation)_interval: 10s", r"\1_interval: 1s", text)

    def place(self, found):
        name, port = found.groups()
        return f"{self.addresses[name]}:{self.ports[port]}" if name in self.addresses else found[0]

    def url(self, scheme, name, port):
        return f"{scheme}://{self.addresses[name]}:{self.ports[port]}"


class Running(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = cls.enterClassContext(tempfile.TemporaryDirectory(prefix="fanfare-deploy-"))
        cls.cluster = Cluster(folder, cls.enterClassContext(contextlib.ExitStack()))
        token = hs256("secret of token_hmac_secret_key", {"sub": "42"})
        cls.door = Door(cls.cluster.url("ws", "haproxy", "8000") + "/connection/websocket", token, headers={"Origin": ORIGIN})

    def publish(self, channel, data):
        """As a backend of this machine does."""
        request = urllib.request.Request(
            self.cluster.url("http", "haproxy", "9000") + "/api/publish",
            data=json.dumps({"channel": channel, "data": data}).encode(),
            headers={"X-API-Key": "secret of api_key", "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            self.assertIn("result", json.load(answer))

    def test_hubs_are_replaced_one_after_the_other_without_a_gap(self):
        async def run():
            async with Crowd(self.door, "chat:room", 12) as crowd:
                for hub in self.cluster.hubs:
                    hub.drain()
                    await until(hub.has_ended, "it drains")
                    await crowd.all_in()
                    await asyncio.to_thread(hub.end)
                    await asyncio.to_thread(hub.start)
                    # As an operator does, and an orchestrator: the next one goes when this one is back in its place.
                    while not await asyncio.to_thread(hub.sum_of, "fanfare_connections_opened_total"):
                        await self.door.visit()
                self.assertEqual((set(crowd.closes()), crowd.refusals()), ({3001}, []))
        asyncio.run(run())

    def await_hubs(self, count):
        """Until Prometheus knows that so many are there."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            found = self.ask_prometheus("query", query='sum(up{job="fanfare"})')["result"]
            if found and float(found[0]["value"][1]) == count:
                return
            time.sleep(0.1)
        raise AssertionError(f"{count} hubs: {self.ask_prometheus('targets')}")

    def test_what_one_hub_is_told_all_clients_hear(self):
        async def run():
            async with Crowd(self.door, "chat:room", 12) as crowd:
                for number in range(4):
                    # One hub after the other.
                    await asyncio.to_thread(self.publish, "chat:room", f"message {number}")
                    await crowd.all_heard([f"message {number}"])
        asyncio.run(run())

    def test_metrics_of_engines_that_are_used_are_shown(self):
        used = {name for _, expression in expressions() for name, _ in metrics_in(expression) if SHARED.match(name)}
        self.assertGreaterEqual(len(used), 5)
        shown = self.cluster.hubs[0].shown()
        for name in sorted(used):
            self.assertRegex(shown, rf"(?m)^{name}(\{{.*\}})? ", name)

    def test_the_api_is_at_its_own_port(self):
        self.publish("chat:nobody", 1)
        for port, path in (("8000", "/api/info"), ("8000", "/metrics"), ("9000", "/metrics"), ("9000", "/connection/websocket")):
            with self.assertRaises(urllib.error.HTTPError) as found:
                urllib.request.urlopen(self.cluster.url("http", "haproxy", port) + path, timeout=PATIENCE)
            self.assertEqual(found.exception.code, 404, path)

    def test_valkey_answers_and_keeps_what_it_is_told_to(self):
        cluster = self.cluster
        kind, *check = SERVICES["valkey"]["healthcheck"]["test"]
        program, *words = check
        ask = lambda *words: subprocess.run(
            [PROGRAMS[program], "-h", cluster.addresses["valkey"], "-p", str(cluster.ports["6379"]), *words],
            capture_output=True, text=True, timeout=PATIENCE,
        ).stdout.split()
        self.assertEqual((kind, ask(*words)), ("CMD", ["PONG"]))
        self.assertEqual(ask("config", "get", "maxmemory-policy"), ["maxmemory-policy", "noeviction"])
        self.assertEqual(ask("config", "get", "appendonly"), ["appendonly", "yes"])

    def ask_prometheus(self, what, **parameters):
        url = f"{self.cluster.url('http', 'prometheus', '9090')}/api/v1/{what}?{urllib.parse.urlencode(parameters)}"
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            found = json.load(answer)
        self.assertEqual(found["status"], "success", found)
        return found["data"]

    def test_prometheus_sees_the_hubs_and_evaluates_the_rules(self):
        self.await_hubs(2)
        deadline = time.monotonic() + PATIENCE
        while True:
            rules = [rule for group in self.ask_prometheus("rules")["groups"] for rule in group["rules"]]
            if all(rule["health"] != "unknown" for rule in rules) or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        self.assertGreater(len(rules), 15)
        for rule in rules:
            self.assertEqual(rule["health"], "ok", rule)

    def test_the_dashboard_s_queries_are_answered(self):
        self.await_hubs(2)
        for where, expression in expressions():
            query = expression.replace("$__rate_interval", "1m").replace("$instance", ".+")
            with self.subTest(where):
                self.ask_prometheus("query", query=query)

    def test_what_autoscaling_asks_is_answered(self):
        """The adapter's query, as it asks it for a pod; labels that its operator adds are not there."""
        (rule,) = yaml.safe_load((ROOT / "deploy" / "kubernetes" / "prometheus-adapter.yaml").read_text())["rules"]["custom"]
        words = {"Series": "fanfare_connections", "LabelMatchers": 'job="fanfare"', "GroupBy": "instance"}
        query = re.sub(r"<<\.(\w+)>>", lambda found: words[found[1]], rule["metricsQuery"])
        self.await_hubs(2)
        self.assertEqual(len(self.ask_prometheus("query", query=query)["result"]), 2)


if __name__ == "__main__":
    unittest.main()
