"""compose.yml follows its schema, and what it runs does what it says."""

import json
import re
import unittest

import jsonschema
import yaml

from hub import ROOT, Hub, fanfare, free_port

FOLDER = ROOT / "deploy" / "compose"
SCHEMA = json.loads((ROOT / "tests" / "data" / "compose-spec.json").read_text())


def parse():
    return yaml.safe_load((FOLDER / "compose.yml").read_text())


class Compose(unittest.TestCase):
    def test_it_follows_the_schema(self):
        jsonschema.Draft7Validator.check_schema(SCHEMA)
        jsonschema.Draft7Validator(SCHEMA).validate(parse())

    def test_the_schema_would_find_a_mistake(self):
        wrong = parse()
        wrong["services"]["hub"]["stop_grace_periods"] = "1s"
        with self.assertRaises(jsonschema.ValidationError):
            jsonschema.Draft7Validator(SCHEMA).validate(wrong)

    def test_its_command_runs_and_its_health_check_finds_it(self):
        hub = parse()["services"]["hub"]
        port, internal_port = free_port(), free_port()
        # What the container sees, on this machine: its files, and ports that are free here.
        mounts = dict(volume.split(":")[1::-1] for volume in hub["volumes"])
        here = lambda words: [str(FOLDER / mounts[word]) if word in mounts else word for word in words]
        ports = ["--address", "127.0.0.1", "--port", port, "--internal_port", internal_port]
        kind, binary, *check = hub["healthcheck"]["test"]
        self.assertEqual((kind, binary), ("CMD", "/usr/local/bin/fanfare"))
        with Hub(*here(hub["command"]), *ports, "--strict") as running:
            running.await_health(*here(check[1:]), *ports)
        self.assertEqual(fanfare(*here(check), *ports).returncode, 3)

    def test_its_ports_are_those_of_the_configuration(self):
        config = (FOLDER / "config.toml").read_text()
        inside = {port.split(":")[-1] for port in parse()["services"]["hub"]["ports"]}
        self.assertEqual(inside, set(re.findall(r'(?m)^(?:internal_)?port = "?(\d+)', config)))

    def test_a_drain_is_not_cut_short(self):
        grace = int(parse()["services"]["hub"]["stop_grace_period"].removesuffix("s"))
        self.assertGreater(grace, 30, "the default of shutdown.timeout")

    def test_the_image_checks_its_health_in_the_same_way(self):
        dockerfile = (ROOT / "Dockerfile").read_text()
        found = re.search(r"HEALTHCHECK [^[]*CMD (\[.*\])", dockerfile)
        self.assertEqual(["CMD", *json.loads(found[1])], parse()["services"]["hub"]["healthcheck"]["test"])
        self.assertEqual(json.loads(re.search(r"(?m)^CMD (.*)", dockerfile)[1]), parse()["services"]["hub"]["command"])


if __name__ == "__main__":
    unittest.main()
