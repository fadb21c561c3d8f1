#!/usr/bin/env bash
# Installs what the tests need and runs them: as root the sandbox is tested as root and as an unprivileged user.
set -euo pipefail
cd "$(dirname "$0")"
missing=()
for pair in setpriv:util-linux pgrep:procps cc:gcc curl:curl hostname:hostname; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
[ -x /usr/bin/python3 ] || missing+=(python3-minimal)
if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}"
    else
        echo "install these packages first: ${missing[*]}" >&2
        exit 1
    fi
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
cargo test --workspace --no-fail-fast -- --show-output 2>&1 | tee "$log" || status=$?
skipped=$(grep -c '^skipped: ' "$log" || true)
echo "checks skipped inside tests: $skipped"
grep '^skipped: ' "$log" | sort | uniq -c || true
exit "$status"
