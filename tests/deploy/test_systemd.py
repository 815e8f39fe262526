"""The unit is one that systemd takes, and how much of the system it is shut off from."""

import re
import subprocess
import tempfile
import unittest
from pathlib import Path

from hub import BINARY, ROOT

UNIT = ROOT / "deploy" / "systemd" / "fanfare.service"

# Of 10: 9.6 is a service without any of it, and what needs the network can't go below 1. It is 1.2 now.
EXPOSURE_MAX = 1.5


class Systemd(unittest.TestCase):
    def setUp(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        # The program is looked for, and it is not installed here.
        self.unit = Path(folder) / UNIT.name
        self.unit.write_text(UNIT.read_text().replace("/usr/bin/fanfare", str(BINARY)))

    def analyze(self, *arguments):
        return subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True)

    def test_systemd_understands_it(self):
        done = self.analyze("verify", "--man=no", str(self.unit))
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))

    def test_a_mistake_would_be_found(self):
        self.unit.write_text(self.unit.read_text().replace("Restart=on-failure", "Restart=somehow"))
        self.assertIn("restart", self.analyze("verify", "--man=no", str(self.unit)).stderr)

    def test_it_is_shut_off(self):
        done = self.analyze("security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE_MAX * 10:.0f}", str(self.unit))
        exposure = re.search(r"Overall exposure level.*?: ([\d.]+)", done.stdout)
        self.assertIsNotNone(exposure, done.stdout + done.stderr)
        self.assertEqual(done.returncode, 0, exposure[0])
        self.assertLessEqual(float(exposure[1]), EXPOSURE_MAX)

    def test_a_drain_is_not_cut_short(self):
        self.assertGreater(int(re.search(r"TimeoutStopSec=(\d+)s", UNIT.read_text())[1]), 30, "shutdown.timeout's default")


if __name__ == "__main__":
    unittest.main()
