#!/bin/sh
# Installs the third-party agents that the tests run, at pinned versions, beneath target/agents. May be run again.
# Needs Debian's python3-venv, nodejs (20.6 or later) and npm. What is missing is said; the rest is still installed.
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../setup-lib.sh"

python_packages venv requirements.txt mini-swe-agent
node_packages pi
finish
