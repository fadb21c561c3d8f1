#!/usr/bin/env bash
# Installs what the tests need and runs them: as root the sandbox is tested as root and as an unprivileged user.
set -euo pipefail
cd "$(dirname "$0")"
missing=() optional=()
for pair in setpriv:util-linux script:bsdutils pgrep:procps cc:gcc curl:curl hostname:hostname openssl:openssl gzip:gzip ip:iproute2; do
    command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
done
for pair in strace:strace node:nodejs npm:npm docker-registry:docker-registry buildah:buildah runsc:runsc; do
    command -v "${pair%%:*}" >/dev/null || optional+=("${pair##*:}")
done
[ -x /usr/bin/python3 ] || missing+=(python3)
/usr/bin/python3 -c 'import venv, ensurepip' 2>/dev/null || optional+=(python3-venv)
if [ $((${#missing[@]} + ${#optional[@]})) -gt 0 ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq
        # No service that a package brings is started: RUNLEVEL says that this is no time for it.
        RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" "${optional[@]}"
    elif [ ${#missing[@]} -gt 0 ]; then
        echo "install these packages first: ${missing[*]}" >&2
        exit 1
    else
        echo "without these packages some checks are skipped: ${optional[*]}"
    fi
fi
log=$(mktemp)
trap 'rm -f "$log"' EXIT
status=0
# Agents and clients of third parties, at pinned versions, while the compiler works. What could not be installed is skipped, and said.
{ s=0; tests/agents/setup.sh || s=1; tests/protocols/setup.sh || s=1; tests/sdk/setup.sh || s=1; crates/qila-sandbox/tests/zygote/setup.sh || s=1; exit $s; } >"$log.setup" 2>&1 &
setup=$!
cargo test --workspace --no-run
wait "$setup" || { echo "some agents or clients could not be installed:"; tail -n 20 "$log.setup"; }
rm -f "$log.setup"
cargo test --workspace --no-fail-fast -- --show-output 2>&1 | tee "$log" || status=$?
if [ "$status" != 0 ]; then
    echo "what failed, again:"
    sed -i '/^ *[0-9]*: /d; /^ *at /d' "$log"
    { grep -B 12 '^test .* \.\.\. FAILED' "$log"; sed -n '/^failures:$/,/^test result:/p' "$log"; } | cut -c -400 | tail -n 300
fi
skipped=$(grep -c '^skipped: ' "$log" || true)
echo "checks skipped inside tests: $skipped"
grep '^skipped: ' "$log" | sort | uniq -c || true
exit "$status"
