#!/usr/bin/env python3
"""Makes docs/clients.md from what the tests of the SDKs showed (target/clients/*.jsonl).

`tests/clients.py` writes it; `tests/clients.py --check` fails when it says something else than the last runs of the
parts `sdk` and `python`.
"""

import json
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "docs/clients.md"
RESULTS = [ROOT / "target/clients/js.jsonl", ROOT / "target/clients/python.jsonl"]

CLIENTS = [
    ("centrifuge-js", "json"),
    ("centrifuge-js", "protobuf"),
    ("centrifuge-python", "json"),
    ("centrifuge-python", "protobuf"),
]
BACKENDS = [("cent, sync", "json"), ("cent, async", "json")]

# What SDKs of clients can do here, in the order of the document.
CLIENT_FEATURES = [
    "connect and disconnect",
    "connect with a token",
    "connect without a token",
    "connect with data, name and version",
    "connect data from a callback",
    "headers of the upgrade",
    "emulated headers",
    "list of transports",
    "token from a callback",
    "token is set by the application",
    "token is refreshed on the way",
    "expired token is fetched again",
    "unauthorized by the callback",
    "refused token",
    "ready waits, and gives up in time",
    "calls time out",
    "calls on a closed client fail",
    "pings",
    "a silent hub is left",
    "reconnect after a cut",
    "reconnect after a hub's shutdown",
    "disconnected by the hub",
    "connection expired by the hub",
    "events of network and page",
    "too large a message",
    "error events",
    "debug",
    "batching",
    "rpc without a backend",
    "send without a backend",
    "subscribe and unsubscribe",
    "subscribe before the connection is there",
    "subscribe with data",
    "unsubscribed by the hub",
    "registry of subscriptions",
    "refused subscriptions and calls",
    "user-limited channels",
    "names of channels are checked",
    "formats of publications are checked",
    "publish and receive",
    "publish without a subscription",
    "publications of a backend, with tags",
    "bytes as they are",
    "delta compression",
    "presence",
    "presence stats",
    "join and leave",
    "history",
    "history backwards",
    "history refused",
    "positioned subscription",
    "recovery after a cut",
    "recovery that is not possible",
    "a room without recovery goes on",
    "cache recovery",
    "subscribe from a position of the application",
    "subscribe from a position that is gone",
    "subscription token",
    "subscription token from a callback",
    "subscription token is refreshed on the way",
    "expired subscription token is fetched again",
    "unauthorized by the callback of a subscription",
    "refused subscription token",
    "server-side subscriptions of a token",
    "server-side subscriptions recover",
    "server-side subscriptions by the API",
    "server-side join and leave",
    "personal channel",
]

# What backends can do here.
BACKEND_FEATURES = [
    "publish",
    "publish once with a key",
    "broadcast",
    "subscribe",
    "unsubscribe",
    "disconnect",
    "refresh",
    "presence",
    "presence_stats",
    "history",
    "history_remove",
    "channels",
    "batch",
    "info",
    "errors of the API",
    "errors of the transport",
    "methods that are not offered",
]

# What an SDK does not have, so that no test can show it.
NOT_IN_SDK = {
    "bytes as they are": [("centrifuge-js", "json"), ("centrifuge-python", "json")],
    "headers of the upgrade": CLIENTS[:2],
    **dict.fromkeys(
        [
            "connect data from a callback",
            "emulated headers",
            "list of transports",
            "events of network and page",
            "debug",
            "batching",
            "send without a backend",
        ],
        CLIENTS[2:],
    ),
}

HEAD = """# SDKs

What the official SDKs do against the hub, as the tests of this repository show it (`make sdk python`): *yes* is at least
one test, with one and with four shards, in that encoding; *–* is what the SDK does not have. `make clients` makes this
page from the last run, and the tests fail when it says something else.
"""


def main():
    document = render(read_results())
    if "--check" not in sys.argv[1:]:
        DOCUMENT.write_text(document)
    elif DOCUMENT.read_text() != document:
        sys.exit("docs/clients.md does not say what the tests showed: run `make clients`")


def read_results():
    """For each feature and column whether all of its tests passed."""
    results = defaultdict(list)
    for path in RESULTS:
        if not path.exists():
            sys.exit(f"{path} is not there: run `make sdk python` first")
        for line in path.read_text().splitlines():
            result = json.loads(line)
            results[result["feature"], result["sdk"], result["encoding"]].append(result["passed"])
    known = {*CLIENT_FEATURES, *BACKEND_FEATURES}
    if unknown := {feature for feature, _, _ in results} - known:
        sys.exit(f"features that are not in {Path(__file__).name}: {', '.join(sorted(unknown))}")
    return {key: all(passed) for key, passed in results.items()}


def render(results):
    versions = package_versions()
    parts = [HEAD]
    for title, columns, features in [
        ("Clients", CLIENTS, CLIENT_FEATURES),
        ("Backends", BACKENDS, BACKEND_FEATURES),
    ]:
        names = [f"{sdk}, {'JSON' if encoding == 'json' else 'Protobuf'}" for sdk, encoding in columns]
        parts.append(f"\n## {title}\n\n| | {' | '.join(names)} |\n|---|{'---|' * len(columns)}\n")
        for feature in features:
            cells = [cell(results, feature, column) for column in columns]
            parts.append(f"| {feature} | {' | '.join(cells)} |\n")
    parts.append(f"\nVersions: {', '.join(versions)}.\n")
    return "".join(parts)


def cell(results, feature, column):
    is_offered = column not in NOT_IN_SDK.get(feature, [])
    passed = results.get((feature, *column))
    if is_offered == (passed is None):
        sys.exit(f"{feature}, {', '.join(column)}: " + ("no test shows it" if is_offered else "a test shows it"))
    return "–" if passed is None else "yes" if passed else "**fails**"


def package_versions():
    sdk = json.loads((ROOT / "tests/sdk/package.json").read_text())["devDependencies"]["centrifuge"]
    python = (ROOT / "tests/python/requirements.in").read_text().splitlines()
    pins = [line.replace("==", " ") for line in python if line.startswith(("centrifuge-python=", "cent="))]
    return [f"centrifuge (npm) {sdk}", *pins]


if __name__ == "__main__":
    main()
