"""The example configurations start, strictly, and their channels work."""

import tomllib
import unittest

import yaml

from hub import ROOT, Hub, fanfare, free_port

EXAMPLES = sorted(path for path in (ROOT / "deploy" / "examples").iterdir() if path.suffix in (".toml", ".yaml", ".json"))


def parse(path):
    """YAML's reader takes JSON as well."""
    read = tomllib.loads if path.suffix == ".toml" else yaml.safe_load
    return read(path.read_text())


class Examples(unittest.TestCase):
    def test_there_are_some(self):
        self.assertGreaterEqual({path.stem for path in EXAMPLES}, {"chat", "dashboard", "notifications"})

    def test_each_starts_and_its_channels_take_publications(self):
        for path in EXAMPLES:
            with self.subTest(path.name):
                self.start(path)

    def start(self, path):
        where = ["--config", path, "--address", "127.0.0.1", "--port", free_port(), "--internal_port", free_port()]
        with Hub(*where, "--strict") as hub:
            hub.await_health(*where)
            namespaces = parse(path)["channel"]["namespaces"]
            for name in (namespace["name"] for namespace in namespaces):
                done = fanfare("pub", *where, f"{name}:1", '{"n": 1}')
                self.assertEqual(done.returncode, 0, done.stderr)
            self.assertNotIn("WARN", hub.said())

    def test_secrets_are_there_to_be_replaced(self):
        for path in EXAMPLES:
            self.assertIn("change-me", path.read_text(), f"{path.name} holds a secret that looks like a real one")
            done = fanfare("doctor", "--config", path, "--offline", "--connections", "1")
            self.assertEqual(done.returncode, 1)
            self.assertRegex(done.stdout, "(?m)^FAIL +API key +change-me")


if __name__ == "__main__":
    unittest.main()
