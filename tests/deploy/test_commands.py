"""The commands that ask a running hub, and what their exit codes say."""

import json
import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

from hub import BINARY, ROOT, Hub, Subscriber, certificate, fanfare, free_port, hs256

OK, FAILED, USAGE, UNREACHABLE = 0, 1, 2, 3
SECRET, KEY = "a secret that only tests know", "the key of the tests"


class Commands(unittest.TestCase):
    """One hub with an internal port; TLS in the class below."""

    @classmethod
    def sections(cls):
        return {}

    @classmethod
    def setUpClass(cls):
        cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory(prefix="fanfare-deploy-"))
        cls.port, cls.internal_port = free_port(), free_port()
        server = {"address": "127.0.0.1", "port": cls.port, "internal_port": str(cls.internal_port), **cls.sections()}
        options = {"allow_subscribe_for_client": True, "history_size": 10, "history_ttl": "60s"}
        cls.config = Path(cls.folder) / "config.json"
        cls.config.write_text(json.dumps({
            "http_server": server,
            "client": {"token": {"hmac_secret_key": SECRET}, "allowed_origins": ["https://app.example.com"]},
            "http_api": {"key": KEY},
            "channel": {"namespaces": [{"name": "chat", **options}]},
            "pid_file": str(Path(cls.folder) / "pid"),
        }))
        cls.hub = cls.enterClassContext(Hub("--config", cls.config))
        cls.hub.await_health("--config", cls.config)

    def ask(self, *arguments, expected=OK, **more):
        done = fanfare(arguments[0], "--config", self.config, *arguments[1:], **more)
        self.assertEqual(done.returncode, expected, done.stdout + done.stderr)
        return done

    def test_health_is_told_to_people_and_programs(self):
        self.assertIn("is well", self.ask("healthcheck").stdout)
        found = json.loads(self.ask("healthcheck", "--live", "--output", "json").stdout)
        self.assertEqual(found["status"], "ok")
        self.assertTrue(found["url"].endswith(f":{self.internal_port}/livez"), found)

    def test_a_hub_that_is_not_there_is_another_exit_code(self):
        done = fanfare("healthcheck", "--url", f"http://127.0.0.1:{free_port()}", "--output", "json")
        self.assertEqual(done.returncode, UNREACHABLE)
        self.assertEqual(json.loads(done.stdout)["status"], "unreachable")
        self.assertEqual(fanfare("healthcheck", "--config", "no.toml").returncode, USAGE)
        self.assertEqual(fanfare("healthcheck", "--no-such-flag").returncode, USAGE)

    def test_what_is_published_is_printed_by_subscribers(self):
        for encoding in ("text", "json"):
            subscriber = Subscriber(
                "chat:room", "--config", self.config, "--token", hs256(SECRET, {"sub": "42"}), "--count", "2",
                "--output", encoding,
            )
            subscriber.await_subscribed()
            self.ask("pub", "chat:room", '{"text": "hello"}')
            self.ask("pub", "chat:room", "-", text='"from a pipe"')
            lines = subscriber.lines()
            if encoding == "text":
                self.assertEqual(lines, ['chat:room {"text":"hello"}', 'chat:room "from a pipe"'])
            else:
                pushes = [json.loads(line) for line in lines]
                self.assertEqual([push["pub"]["data"] for push in pushes], [{"text": "hello"}, "from a pipe"])
                self.assertEqual({push["channel"] for push in pushes}, {"chat:room"})

    def test_publishing_says_where_it_stands(self):
        self.assertIn("offset 1", self.ask("pub", "chat:offsets", "1").stdout)
        result = json.loads(self.ask("pub", "chat:offsets", "2", "--output", "json").stdout)
        self.assertEqual(result["offset"], 2)

    def test_refusals_name_their_reason(self):
        self.assertIn("'\"text\"'", self.ask("pub", "chat:a", "no json", expected=USAGE).stderr)
        self.assertIn("http_api.key", self.ask("pub", "chat:a", "1", "--api-key", "wrong", expected=FAILED).stderr)
        wrong = {"FANFARE_HTTP_API_KEY": "wrong"}
        fanfare_key = fanfare("pub", "--url", self.internal_url(), *self.trust(), "chat:a", "1", env=wrong)
        self.assertEqual(fanfare_key.returncode, FAILED, fanfare_key.stderr)
        self.assertIn("102", self.ask("pub", "nobody:knows", "1", expected=FAILED).stderr)
        token = hs256(SECRET, {"sub": "42"})
        self.assertIn("102", self.ask("sub", "nobody:knows", "--token", token, expected=FAILED).stderr)
        self.assertIn("3500", self.ask("sub", "chat:a", "--token", hs256("wrong", {"sub": "42"}), expected=FAILED).stderr)

    def test_a_hub_elsewhere_is_asked_by_its_url(self):
        done = fanfare("pub", "--url", self.internal_url(), *self.trust(), "chat:a", "1", env={"FANFARE_HTTP_API_KEY": KEY})
        self.assertEqual(done.returncode, OK, done.stderr)

    def test_the_doctor_looks_at_everything(self):
        done = self.ask("doctor", "--connections", "100", "--output", "json")
        found = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
        for name in ("configuration", "descriptors", "somaxconn", "cpu", "memory", "origins", "API key", "server",
                     "API", "WebSocket"):
            self.assertIn(name, found)
            self.assertNotEqual(found[name]["state"], "fail", found[name])
            if found[name]["state"] == "warn":
                self.assertTrue(found[name]["fix"], found[name])
        done = self.ask("doctor", "--connections", "1000000000", expected=FAILED)
        self.assertRegex(done.stdout, r"(?m)^FAIL +descriptors")
        self.assertIn("LimitNOFILE=1000000200", done.stdout)

    def test_the_doctor_says_that_nobody_is_there(self):
        done = self.ask("doctor", "--internal_port", free_port(), expected=FAILED)
        self.assertRegex(done.stdout, r"(?m)^FAIL +server")
        self.ask("doctor", "--internal_port", free_port(), "--offline", "--connections", "100")

    def internal_url(self):
        return f"http://127.0.0.1:{self.internal_port}"

    def trust(self):
        return ()


class CommandsOverTls(Commands):
    @classmethod
    def sections(cls):
        cls.root, leaf, key = certificate(cls.folder)
        return {"tls": {"enabled": True, "cert_pem": str(leaf), "key_pem": str(key)}}

    def internal_url(self):
        return f"https://127.0.0.1:{self.internal_port}"

    def trust(self):
        return ("--ca", self.root)

    def test_the_certificate_is_checked_before_a_key_is_sent(self):
        # Signed by nobody whom the system trusts.
        done = fanfare("pub", "--url", self.internal_url(), "chat:a", "1", env={"FANFARE_HTTP_API_KEY": KEY})
        self.assertIn(done.returncode, (USAGE, UNREACHABLE), done.stderr)
        # Another one than the configuration names.
        with tempfile.TemporaryDirectory() as folder:
            _, leaf, key = certificate(folder)
            config = json.loads(self.config.read_text())
            config["http_server"]["tls"].update(cert_pem=str(leaf), key_pem=str(key))
            other = Path(folder) / "config.json"
            other.write_text(json.dumps(config))
            done = fanfare("pub", "--config", other, "chat:a", "1")
            self.assertEqual(done.returncode, UNREACHABLE, done.stderr)
            self.assertIn("another certificate", done.stderr)
            # A health check sends no secret: a certificate renewed a moment ago is no reason to restart.
            self.assertEqual(fanfare("healthcheck", "--config", other).returncode, OK)

    def test_the_doctor_says_how_long_certificates_last(self):
        self.assertRegex(self.ask("doctor", "--connections", "100").stdout, r"(?m)^ok +TLS +valid for (89|90) more days")


class Drain(unittest.TestCase):
    def test_a_drain_is_waited_for_and_ends_well(self):
        with tempfile.TemporaryDirectory() as folder:
            pid_file, port = Path(folder) / "pid", free_port()
            config = Path(folder) / "config.json"
            server = {"address": "127.0.0.1", "port": port}
            config.write_text(json.dumps({"http_server": server, "pid_file": str(pid_file)}))
            with Hub("--config", config) as hub:
                hub.await_health("--config", config)
                self.assertEqual(pid_file.read_text(), f"{hub.process.pid}\n")
                done = subprocess.Popen([BINARY, "drain", "-c", config, "--output", "json"], stdout=subprocess.PIPE)
                # A process of ours is there until it was waited for.
                self.assertEqual(hub.process.wait(), 0)
                out, _ = done.communicate()
                self.assertEqual((done.returncode, json.loads(out)["pid"]), (OK, hub.process.pid))
                self.assertFalse(pid_file.exists())
            self.assertEqual(fanfare("drain", "-c", config).returncode, UNREACHABLE)
            # A number that another program was given since.
            pid_file.write_text(f"{os.getpid()}\n")
            done = fanfare("drain", "-c", config)
            self.assertEqual(done.returncode, UNREACHABLE, done.stderr)
        self.assertEqual(fanfare("drain").returncode, USAGE)


class Words(unittest.TestCase):
    def test_versions_are_the_package_s(self):
        version = json.loads(fanfare("version", "--output", "json").stdout)["version"]
        self.assertIn(f'\nversion = "{version}"\n', (ROOT / "Cargo.toml").read_text())

    def test_completions_are_scripts(self):
        for shell in ("bash", "zsh", "fish"):
            script = fanfare("completions", shell).stdout
            self.assertIn("healthcheck", script)
        checked = subprocess.run(["bash", "-n"], input=fanfare("completions", "bash").stdout, text=True)
        self.assertEqual(checked.returncode, 0)

    def test_every_code_is_explained_in_the_manual(self):
        manual = (ROOT / "docs" / "operations.md").read_text()
        codes = re.findall(r"= (\d{3,4}), \"", (ROOT / "src" / "model" / "codes.rs").read_text())
        self.assertGreater(len(codes), 30)
        for code in codes:
            self.assertRegex(manual, rf"\b{code}\b")

    def test_exit_codes_are_in_the_help_and_in_the_manual(self):
        manual = (ROOT / "docs" / "operations.md").read_text()
        text = fanfare("--help").stdout
        for code in range(4):
            self.assertRegex(text, rf"(?m)^  {code}  ")
            self.assertRegex(manual, rf"(?m)^\| {code} \|")


if __name__ == "__main__":
    unittest.main()
