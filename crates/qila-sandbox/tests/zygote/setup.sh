#!/usr/bin/env bash
# Makes the environment in which the tests of zygotes find numpy, at a pinned version. Without it they say what they skip.
set -euo pipefail
to=${1:-$(dirname "$0")/../../../../target/zygote-numpy}
if [ ! -e "$to/.whole" ]; then
    rm -rf "$to"
    /usr/bin/python3 -m venv "$to.pip"
    "$to.pip/bin/pip" install -q --no-compile --target "$to" numpy==2.2.6
    rm -rf "$to.pip"
    /usr/bin/python3 -m compileall -q "$to"
    touch "$to/.whole"
fi
