#!/bin/sh
# Installs the clients of the matrix at pinned versions beneath target/protocols. May be run again.
# Needs Debian's curl, python3-venv, nodejs (20 or later) and npm. What is missing is said; the rest is still installed.
set -u
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../setup-lib.sh"

python_packages venv requirements.txt "the Python clients" --only-binary :all:
node_packages "the Node clients"
finish
