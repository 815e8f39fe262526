"""Alert rules and dashboard: right by promtool, and about metrics that a running hub shows."""

import json
import re
import subprocess
import tempfile
import unittest
import urllib.request
from pathlib import Path

import yaml

from hub import ROOT, Hub, certificate, fanfare, free_port

PROMETHEUS = ROOT / "deploy" / "prometheus"
DASHBOARD = ROOT / "deploy" / "grafana" / "dashboard.json"

# Shown once they have occurred, which takes a panic, a full lane or a reader slower than its outbox; checked
# against docs/metrics.md, which is made from the hub's own table.
SELDOM = {"fanfare_slow_consumers_closed_total", "fanfare_publications_dropped_total"}

# Shown by hubs with an engine that they share: test_cluster.py looks for them there.
SHARED = re.compile(r"fanfare_(engine_|nodes)")

METRIC = re.compile(r"\b((?:fanfare|process)_[a-z0-9_]+)\b(\{[^}]*\})?")
MATCHER = re.compile(r'([a-z_]+)\s*(=~|!~|!=|=)\s*"([^"]*)"')


def expressions():
    """Every query of rules and dashboard, with where it stands."""
    for group in yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"]:
        for rule in group["rules"]:
            yield rule.get("alert") or rule["record"], rule["expr"]
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", []):
            yield f"panel {panel['title']}", target["expr"]


def metrics_in(expression):
    """Names of series and their matchers; recorded ones have colons and are no metrics of a hub."""
    plain = re.sub(r"instance:[a-z0-9_:]+", "", expression)
    for name, selector in METRIC.findall(plain):
        yield name, MATCHER.findall(selector)


def grouped_labels(expression):
    return {label.strip() for found in re.findall(r"by \(([^)]*)\)", expression) for label in found.split(",")}


class Rules(unittest.TestCase):
    def promtool(self, *arguments, **more):
        return subprocess.run(["promtool", *arguments], cwd=PROMETHEUS, capture_output=True, text=True, **more)

    def test_promtool_reads_them(self):
        done = self.promtool("check", "rules", "rules.yml")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_they_fire_when_they_should(self):
        done = self.promtool("test", "rules", "rules_test.yml")
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_each_says_how_bad_it_is_and_what_to_do(self):
        for group in yaml.safe_load((PROMETHEUS / "rules.yml").read_text())["groups"]:
            for rule in group["rules"]:
                if "alert" in rule:
                    self.assertIn(rule["labels"]["severity"], ("page", "ticket"), rule["alert"])
                    self.assertEqual(set(rule["annotations"]), {"summary", "action"}, rule["alert"])


class Engines(unittest.TestCase):
    def test_each_metric_of_engines_has_a_panel_or_an_alert(self):
        documented = set(re.findall(r"`(fanfare_engine_[a-z_]+)`", (ROOT / "docs" / "metrics.md").read_text()))
        used = {name for _, expression in expressions() for name, _ in metrics_in(expression)}
        self.assertEqual(documented - used, set())


class Metrics(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        """A hub where some things went well, and some did not."""
        folder = Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="fanfare-deploy-")))
        _, leaf, key = certificate(folder)
        internal_port = free_port()
        tls = {"enabled": True, "cert_pem": str(leaf), "key_pem": str(key)}
        server = {"address": "127.0.0.1", "port": free_port(), "internal_port": str(internal_port), "tls": tls}
        # The scrape need not speak TLS.
        server["tls_external"] = True
        config = folder / "config.json"
        config.write_text(json.dumps({
            "http_server": server,
            "client": {"allow_anonymous_connect_without_token": True},
            "channel": {"without_namespace": {"allow_subscribe_for_client": True}},
            "http_api": {"key": "key"},
            "prometheus": {"enabled": True},
        }))
        hub = cls.enterClassContext(Hub("--config", config))
        hub.await_health("--config", config)
        assert fanfare("pub", "--config", config, "news", "1").returncode == 0
        # An API error, a command that is refused, and a client that is sent away.
        assert fanfare("pub", "--config", config, "nobody:knows", "1").returncode == 1
        assert fanfare("sub", "--config", config, "nobody:knows").returncode == 1
        assert fanfare("sub", "--config", config, "--token", "no token", "news").returncode == 1
        with urllib.request.urlopen(f"http://127.0.0.1:{internal_port}/metrics", timeout=10) as answer:
            cls.text = answer.read().decode()
        cls.series = {}
        for line in cls.text.splitlines():
            if found := re.match(r"([a-z0-9_]+)(?:\{(.*)\})? ", line):
                labels = dict(re.findall(r'([a-z_]+)="([^"]*)"', found[2] or ""))
                cls.series.setdefault(found[1], []).append(labels)

    def test_every_metric_that_is_used_is_shown(self):
        reference = (ROOT / "docs" / "metrics.md").read_text()
        used = {name for _, expression in expressions() for name, _ in metrics_in(expression) if not SHARED.match(name)}
        self.assertGreater(len(used), 30)
        for name in sorted(used):
            if name in SELDOM:
                self.assertIn(f"| `{name}` |", reference)
            else:
                self.assertTrue(name in self.series, f"{name} is not shown by a running hub")

    def test_labels_and_their_values_are_those_of_the_hub(self):
        for where, expression in expressions():
            for name, matchers in metrics_in(expression):
                for label, operator, value in matchers:
                    # Those that Prometheus adds.
                    if label in ("job", "instance") or name in SELDOM or SHARED.match(name):
                        continue
                    known = {labels.get(label) for labels in self.series[name]}
                    self.assertNotIn(None, known, f"{where}: {name} has no label {label}")
                    if operator in ("=", "!="):
                        self.assertIn(value, known, f"{where}: {name}{{{label}}}")

    def test_sums_are_by_labels_that_are_there(self):
        for where, expression in expressions():
            names = [name for name, _ in metrics_in(expression) if name not in SELDOM and not SHARED.match(name)]
            for label in grouped_labels(expression) - {"job", "instance"} if names else ():
                has = any(label in labels for name in names for labels in self.series[name])
                self.assertTrue(has, f"{where}: none of {names} has the label {label}")

    def test_what_is_seldom_is_still_used(self):
        used = {name for _, expression in expressions() for name, _ in metrics_in(expression)}
        self.assertLessEqual(SELDOM, used)
        self.assertFalse(SELDOM & self.series.keys(), "these are shown after all: take them out of SELDOM")

    def test_promtool_reads_the_exposition(self):
        done = subprocess.run(["promtool", "check", "metrics"], input=self.text, capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))


class Dashboard(unittest.TestCase):
    def test_panels_say_what_they_show_and_do_not_overlap(self):
        panels = json.loads(DASHBOARD.read_text())["panels"]
        self.assertEqual(len({panel["id"] for panel in panels}), len(panels))
        taken = set()
        for panel in panels:
            place = panel["gridPos"]
            cells = {(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])}
            self.assertFalse(cells & taken, panel["title"])
            taken |= cells
            if panel["type"] != "row":
                self.assertTrue(panel["description"] and panel["targets"], panel["title"])

    def test_its_queries_are_promql(self):
        rules = [{"record": f"panel:{n}", "expr": re.sub(r"\$__rate_interval", "1m", expression)}
                 for n, (_, expression) in enumerate(expressions())]
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as file:
            yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}, file)
            file.flush()
            done = subprocess.run(["promtool", "check", "rules", file.name], capture_output=True, text=True)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)


if __name__ == "__main__":
    unittest.main()
