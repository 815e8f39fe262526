#!/bin/sh
# Small load runs against the release build of the hub: fails when anything is lost, duplicated or
# reordered. A minute once built; every run bounds itself, and the time limit is for a hub that hangs.
set -eu
cd "$(dirname "$0")/.."
cargo build --release --package fanfare --package loadtest
exec timeout 240 target/release/loadtest smoke --hub target/release/fanfare
