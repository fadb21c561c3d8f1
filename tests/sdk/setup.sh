#!/bin/sh
# Installs E2B's SDKs and smolagents, and what the interpreter's Python needs, at pinned versions beneath target/sdk. May be
# run again. Needs Debian's python3-venv, nodejs (20 or later) and npm. What is missing is said; the rest is still installed.
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../setup-lib.sh"

python_packages venv requirements.txt requirements.txt --only-binary :all:
python_packages inside inside.txt inside.txt --only-binary :all:
node_packages "the SDKs for JavaScript"
finish
