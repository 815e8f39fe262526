#!/usr/bin/env python3
"""Runs the Autobahn test suite against the hub's echo endpoint.

    run.py install          prepare the suite in tests/.cache/autobahn (once)
    run.py                  start target/release/fanfare --echo, run, judge the report
    run.py --all            all cases: with the 216 of permessage-deflate, of which there are 13 otherwise
    run.py --url ws://…     the same against a server that runs already

The original suite needs Python 2.7; where there is none, `kosoku` runs the same cases.

The last line is `N passed, M failed`. Any case that is missing, failed or unimplemented fails.
"""

import argparse
import collections
import glob
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
CACHE = ROOT / "tests" / ".cache" / "autobahn"
REPORT = ROOT / "target" / "autobahn"
BINARY = Path(os.environ.get("FANFARE_BIN", ROOT / "target" / "release" / "fanfare"))

SUITE = "autobahntestsuite==25.10.1"
# The last releases that still serve Python 2.7.
VIRTUALENV = "virtualenv<20.22"
FALLBACK = "kosoku==0.1.0"

# What the suite holds in these sections; fewer would mean that some were passed over.
PLAIN = (["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "9.*", "10.*"], 301)
# Section 12 has kinds of data, 13 has offers: no context, windows of 9 and 15 bits, several at once.
DEFLATE = (["12.*", "13.*"], 216)
# Of each kind of data and each offer at least one, with short messages; of 12.1 those that grow.
DEFLATE_FEW = (
    ["12.1.1", "12.1.2", "12.1.3", "12.1.4", "12.1.5", "12.2.3"]
    + ["13.1.1", "13.2.1", "13.3.2", "13.4.1", "13.5.2", "13.6.1", "13.7.1"],
    13,
)

GOOD = {"OK", "NON-STRICT", "INFORMATIONAL"}
# UNCLEAN: the suite asks for a failed connection, and TCP ended before its close frame was seen.
GOOD_CLOSE = GOOD | {"UNCLEAN"}

RUN_SECONDS_MAX = 900
# Of all cases: each of permessage-deflate's is a thousand messages.
RUN_ALL_SECONDS_MAX = 3600


def find_python2():
    """A Python 2.7 that starts, or None."""
    candidates = [shutil.which("python2.7")]
    candidates += sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/2.7*/bin/python2.7")))
    for candidate in filter(None, candidates):
        probe = subprocess.run([candidate, "-c", "import ssl"], capture_output=True, check=False)
        if probe.returncode == 0:
            return candidate
    return None


def install():
    """Prepares the suite; returns the command that runs it, `wstest` or `kosoku`."""
    python2 = find_python2()
    wanted = SUITE if python2 else FALLBACK
    command = CACHE / "suite" / "bin" / ("wstest" if python2 else "kosoku")
    marker = CACHE / "installed"
    if marker.exists() and marker.read_text() == wanted and command.exists():
        return command
    shutil.rmtree(CACHE, ignore_errors=True)
    CACHE.mkdir(parents=True)
    if python2:
        tool = CACHE / "tool"
        subprocess.run([sys.executable, "-m", "venv", tool], check=True)
        subprocess.run([tool / "bin" / "pip", "-q", "install", VIRTUALENV], check=True)
        subprocess.run([tool / "bin" / "virtualenv", "-q", "-p", python2, CACHE / "suite"], check=True)
    else:
        subprocess.run([sys.executable, "-m", "venv", CACHE / "suite"], check=True)
    # Builds some wheels from source: under a minute, once.
    quiet = {**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONWARNINGS": "ignore"}
    subprocess.run([CACHE / "suite" / "bin" / "pip", "-q", "install", wanted], check=True, env=quiet)
    marker.write_text(wanted)
    return command


def run_suite(command, url, patterns, seconds_max):
    """Runs the cases against `url` and returns the report: case id to what was seen."""
    shutil.rmtree(REPORT, ignore_errors=True)
    REPORT.mkdir(parents=True)
    if command.name == "wstest":
        spec = REPORT / "spec.json"
        servers = [{"agent": "fanfare", "url": url}]
        spec.write_text(json.dumps({"outdir": str(REPORT), "servers": servers, "cases": patterns, "exclude-cases": []}))
        arguments = [command, "-m", "fuzzingclient", "-s", spec]
    else:
        arguments = [command, "-o", REPORT, url]
        arguments[1:1] = [part for case in patterns for part in ("-i", case)]
    # Python 2.7's cryptography says at each start that it is old.
    quiet = {**os.environ, "PYTHONWARNINGS": "ignore"}
    # The exit code of `kosoku` tells of failed cases; the report tells which.
    with open(REPORT / "suite.log", "wb") as log:
        subprocess.run(
            arguments, env=quiet, stdout=log, stderr=log, timeout=seconds_max, check=False, cwd=REPORT
        )
    index = REPORT / "index.json"
    if not index.exists():
        sys.exit(f"the suite wrote no report:\n{(REPORT / 'suite.log').read_text()[-4000:]}")
    (cases,) = json.loads(index.read_text()).values()
    return cases


def judge(cases, expected):
    """Prints the counts and what failed; returns how many passed and failed."""
    counts = collections.Counter(case["behavior"] for case in cases.values())
    print("  ".join(f"{behavior}: {count}" for behavior, count in sorted(counts.items())))
    failed = []
    for name, case in sorted(cases.items(), key=lambda item: [int(part) for part in item[0].split(".")]):
        if case["behavior"] not in GOOD or case["behaviorClose"] not in GOOD_CLOSE:
            failed.append(name)
            print(f"case {name}: {case['behavior']}, close {case['behaviorClose']}: {REPORT / case['reportfile']}")
    missing = expected - len(cases)
    if missing:
        print(f"{len(cases)} cases ran, not {expected}")
    return len(cases) - len(failed), len(failed) + abs(missing)


def start_hub():
    """Starts the hub with its echo endpoint; returns the process and its port once it is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = CACHE / "hub.log"
    with open(log, "wb") as output:
        hub = subprocess.Popen([BINARY, "--echo", "--port", str(port)], stdout=output, stderr=output)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and hub.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=1):
                return hub, port
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)
    hub.kill()
    sys.exit(f"the hub did not get ready:\n{log.read_text()}")


def main():
    parser = argparse.ArgumentParser(description="Autobahn against the echo endpoint")
    parser.add_argument("step", nargs="?", choices=["install"])
    parser.add_argument("--all", action="store_true", help="all cases of permessage-deflate too (some minutes)")
    parser.add_argument("--url", help="a server that runs already")
    arguments = parser.parse_args()
    command = install()
    if arguments.step == "install":
        return
    deflate = DEFLATE if arguments.all else DEFLATE_FEW
    patterns, expected = PLAIN[0] + deflate[0], PLAIN[1] + deflate[1]
    seconds_max = RUN_ALL_SECONDS_MAX if arguments.all else RUN_SECONDS_MAX
    if arguments.url:
        passed, failed = judge(run_suite(command, arguments.url, patterns, seconds_max), expected)
    else:
        hub, port = start_hub()
        try:
            url = f"ws://127.0.0.1:{port}/echo"
            passed, failed = judge(run_suite(command, url, patterns, seconds_max), expected)
        finally:
            hub.send_signal(signal.SIGTERM)
            code = hub.wait(60)
        if code != 0:
            failed += 1
            print(f"the hub ended with {code}")
    print(f"{passed} passed, {failed} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
