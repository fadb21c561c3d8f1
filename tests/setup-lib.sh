# What the setup.sh of agents, protocols and sdk have in common, sourced by them with $here, their own folder. What they install is
# in $tools: beneath target, under the name of that folder. $failed is 1 once something could not be installed.
tools=$(cd "$here/../.." && pwd)/target/$(basename "$here")
mkdir -p "$tools"
failed=0

# python_packages NAME LIST WHAT OPTION...: an environment of that name with the packages of a list beside setup.sh, unless it is
# there. WHAT is said where it fails; the options are pip's.
# Debian's own Python, not one beneath somebody's home directory: the sandbox shows the system's programs.
python_packages() {
    name=$1 list=$here/$2 what=$3
    shift 3
    stamp=$(sha256sum <"$list")
    [ "$(cat "$tools/$name/stamp" 2>/dev/null)" = "$stamp" ] && return
    rm -rf "${tools:?}/${name:?}"
    if /usr/bin/python3 -m venv "$tools/$name" &&
        "$tools/$name/bin/pip" install --quiet --disable-pip-version-check --no-deps --require-hashes "$@" \
            --requirement "$list"; then
        echo "$stamp" >"$tools/$name/stamp"
    else
        echo "setup: $what could not be installed (needs python3-venv and the package index)" >&2
        failed=1
    fi
}

# node_packages WHAT: what package-lock.json beside setup.sh says, unless it is there.
node_packages() {
    stamp=$(cat "$here/package.json" "$here/package-lock.json" | sha256sum)
    [ "$(cat "$tools/node/stamp" 2>/dev/null)" = "$stamp" ] && return
    rm -rf "$tools/node"
    mkdir -p "$tools/node"
    cp "$here/package.json" "$here/package-lock.json" "$tools/node/"
    # No install scripts: none is needed, and none should run on the machine of whoever tests this.
    if (cd "$tools/node" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error); then
        echo "$stamp" >"$tools/node/stamp"
    else
        echo "setup: $1 could not be installed (needs nodejs, npm and the package registry)" >&2
        failed=1
    fi
}

# Sandboxes and tests may be another user's than the installer. Ends the script.
finish() {
    chmod -R a+rX "$tools"
    exit "$failed"
}
