#!/usr/bin/env bash
# Fuzzes each target for a while (60 s; FUZZ_SECONDS says otherwise), one after the other, below the priority of
# everything else. New inputs gather in fuzz/target/corpus; those worth keeping are moved to fuzz/corpus by
# hand. What breaks a target is left in fuzz/artifacts and fails the run.
#
# cargo-fuzz wants the compiler's sanitizer, which stable has behind RUSTC_BOOTSTRAP.
set -uo pipefail
cd "$(dirname "$0")"

VERSION=0.13.2
SECONDS_EACH=${FUZZ_SECONDS:-60}
tools=../tests/.cache/fuzz
if [ "$("$tools/bin/cargo-fuzz" --version 2> /dev/null)" != "cargo-fuzz $VERSION" ]; then
  cargo install --quiet --locked --force cargo-fuzz --version "$VERSION" --root "$tools" || exit 1
fi
export RUSTC_BOOTSTRAP=1
fuzz() { nice -n 10 "$tools/bin/cargo-fuzz" fuzz "$@"; }

fuzz build || exit 1
failed=()
for target in fuzz_targets/*.rs; do
  name=$(basename "$target" .rs)
  mkdir -p "target/corpus/$name"
  printf '\n=== %s, %s s\n' "$name" "$SECONDS_EACH"
  # A slow input is a finding as well: none of these needs a second.
  fuzz run "$name" "target/corpus/$name" "corpus/$name" -- \
    -max_total_time="$SECONDS_EACH" -timeout=5 -rss_limit_mb=1024 -max_len=4096 -print_final_stats=1 2>&1 |
    grep -vE '^#[0-9]+|NEW_FUNC' | tail -n 25
  [ "${PIPESTATUS[0]}" -eq 0 ] || failed+=("$name")
done
[ ${#failed[@]} -eq 0 ] || { printf '\nfindings in: %s (see fuzz/artifacts)\n' "${failed[*]}"; exit 1; }
printf '\nno findings\n'
