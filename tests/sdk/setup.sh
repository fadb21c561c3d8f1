#!/bin/sh
# Installs E2B's SDKs and smolagents, and what the interpreter's Python needs, at pinned versions beneath target/sdk. May be
# run again. Needs Debian's python3-venv, nodejs (20 or later) and npm. What is missing is said; the rest is still installed.
set -u
here=$(cd "$(dirname "$0")" && pwd)
tools=$(cd "$here/../.." && pwd)/target/sdk
mkdir -p "$tools"
failed=0

# Debian's own Python: the sandbox shows the system's programs.
for pair in venv:requirements.txt inside:inside.txt; do
    name=${pair%%:*} list=$here/${pair##*:}
    stamp=$(sha256sum <"$list")
    [ "$(cat "$tools/$name/stamp" 2>/dev/null)" = "$stamp" ] && continue
    rm -rf "${tools:?}/$name"
    if /usr/bin/python3 -m venv "$tools/$name" &&
        "$tools/$name/bin/pip" install --quiet --disable-pip-version-check --no-deps --require-hashes \
            --only-binary :all: --requirement "$list"; then
        echo "$stamp" >"$tools/$name/stamp"
    else
        echo "setup: ${pair##*:} could not be installed (needs python3-venv and the package index)" >&2
        failed=1
    fi
done

stamp=$(cat "$here/package.json" "$here/package-lock.json" | sha256sum)
if [ "$(cat "$tools/node/stamp" 2>/dev/null)" != "$stamp" ]; then
    rm -rf "$tools/node"
    mkdir -p "$tools/node"
    cp "$here/package.json" "$here/package-lock.json" "$tools/node/"
    # No install scripts: none is needed, and none should run on the machine of whoever tests this.
    if (cd "$tools/node" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error); then
        echo "$stamp" >"$tools/node/stamp"
    else
        echo "setup: the SDKs for JavaScript could not be installed (needs nodejs, npm and the package registry)" >&2
        failed=1
    fi
fi

# Sandboxes and tests may be another user's than the installer.
chmod -R a+rX "$tools"
exit $failed
