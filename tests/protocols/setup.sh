#!/bin/sh
# Installs the clients of the matrix at pinned versions beneath target/protocols. May be run again.
# Needs Debian's curl, python3-venv, nodejs (20 or later) and npm. What is missing is said; the rest is still installed.
set -u
here=$(cd "$(dirname "$0")" && pwd)
tools=$(cd "$here/../.." && pwd)/target/protocols
mkdir -p "$tools"
failed=0

# Debian's own Python: the sandbox shows the system's programs.
stamp=$(sha256sum <"$here/requirements.txt")
if [ "$(cat "$tools/venv/stamp" 2>/dev/null)" != "$stamp" ]; then
    rm -rf "$tools/venv"
    if /usr/bin/python3 -m venv "$tools/venv" &&
        "$tools/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --require-hashes --only-binary :all: \
            --requirement "$here/requirements.txt"; then
        echo "$stamp" >"$tools/venv/stamp"
    else
        echo "setup: the Python clients could not be installed (needs python3-venv and the package index)" >&2
        failed=1
    fi
fi

stamp=$(cat "$here/package.json" "$here/package-lock.json" | sha256sum)
if [ "$(cat "$tools/node/stamp" 2>/dev/null)" != "$stamp" ]; then
    rm -rf "$tools/node"
    mkdir -p "$tools/node"
    cp "$here/package.json" "$here/package-lock.json" "$tools/node/"
    # No install scripts: none is needed, and none should run on the machine of whoever tests this.
    if (cd "$tools/node" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error); then
        echo "$stamp" >"$tools/node/stamp"
    else
        echo "setup: the Node clients could not be installed (needs nodejs, npm and the package registry)" >&2
        failed=1
    fi
fi

# The sandbox's user may be another one than the installer.
chmod -R a+rX "$tools"
exit $failed
