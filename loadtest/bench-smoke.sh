#!/bin/sh
# Small load runs against the release build of the hub: fails when anything is lost, duplicated or
# reordered. Under a minute once built.
set -eu
cd "$(dirname "$0")/.."
cargo build --release --package fanfare --package loadtest
exec timeout 60 target/release/loadtest smoke --hub target/release/fanfare
