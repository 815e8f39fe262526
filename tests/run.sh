#!/usr/bin/env bash
# Every test, part by part. Stops at nothing, so that one run tells all that is broken; the last
# line counts the parts.
set -uo pipefail
cd "$(dirname "$0")/.."

# A part that hangs must not hide what the others found.
PART_SECONDS_MAX=1200

passed=0
failed=()
started=$SECONDS

part() { # name, command ...
  local name=$1 began=$SECONDS
  shift
  printf '\n=== %s\n' "$name"
  if timeout --kill-after=10 "$PART_SECONDS_MAX" "$@" < /dev/null; then
    passed=$((passed + 1))
    printf -- '--- %s: passed in %s s\n' "$name" "$((SECONDS - began))"
  else
    failed+=("$name")
    printf -- '--- %s: FAILED after %s s\n' "$name" "$((SECONDS - began))"
  fi
}

part install tests/install.sh
part lint make --no-print-directory lint
part audit make --no-print-directory audit
part build make --no-print-directory build
part rust make --no-print-directory rust
part simulation make --no-print-directory simulation
part chaos make --no-print-directory chaos CHAOS_LIMIT='timeout 300'
part sdk make --no-print-directory sdk
part python make --no-print-directory python
part clients tests/clients.py --check
part deploy make --no-print-directory deploy
part page make --no-print-directory page
part autobahn make --no-print-directory autobahn
part instructions make --no-print-directory instructions
part bench-smoke make --no-print-directory bench-smoke
part readme make --no-print-directory readme

printf '\n%s s in all' "$((SECONDS - started))"
[ ${#failed[@]} -eq 0 ] || printf '; failed: %s' "${failed[*]}"
printf '\n%s passed, %s failed\n' "$passed" "${#failed[@]}"
[ ${#failed[@]} -eq 0 ]
