//! What the checks are told, as data. A new crate, stage or generated file is a line here and nothing else.

/// Packages from the lowest to the highest; a package may depend only on packages in groups before its own.
///
/// The order is the architecture's. Names of crates that do not exist yet are allowed: the order is decided first.
pub const LAYERS: &[&[&str]] = &[
    &["qila-types"],
    &["qila-policy"],
    &[
        "qila-authorizer",
        "qila-inspect",
        "qila-lease",
        "qila-meter",
        "qila-seccomp",
        "qila-wire",
    ],
    &["qila-api"],
    &["qila-plan"],
    &["qila-sys"],
    &["qila-workspace"],
    &["qila-image"],
    &["qila-host"],
    &["qila-sandbox"],
    &[
        "qila-backend-process",
        "qila-backend-container",
        "qila-backend-gvisor",
        "qila-backend-microvm",
        "qila-backend-enclave",
    ],
    &["qila-backends"],
    &["qila-guest"],
    &["qila-embedded"],
    &["qila-evidence", "qila-budget"],
    &["qila-gateway"],
    &["qila-monitor"],
    &["qila-store", "qila-interpreter"],
    &["qila-node"],
    &["qila-workflow"],
    &["qila-registry"],
    &["qila-e2b"],
    &["qila-server"],
    &["qila-cli"],
    &[
        "qila-escape",
        "qila-agents",
        "qila-conformance",
        "qila-bench",
        "xtask",
    ],
    &["qila-protocols", "qila-sdk-tests", "qila-serve-tests"],
];

/// Packages that must stay pure, and the crates that would give them a way to touch the world.
pub const PURE: &[&str] = &[
    "qila-types",
    "qila-policy",
    "qila-plan",
    "qila-authorizer",
    "qila-inspect",
    "qila-meter",
    "qila-wire",
];

/// Crates that open files, sockets, clocks or processes.
pub const WORLDLY: &[&str] = &[
    "rustix",
    "libc",
    "nix",
    "tokio",
    "hyper",
    "hyper-util",
    "hickory-resolver",
    "getrandom",
    "tempfile",
    "qila-sys",
];

/// The only package with unsafe code.
pub const UNSAFE: &str = "qila-sys";

/// Longest Rust file without a line in [`LONG_FILES`].
pub const LONGEST_FILE: usize = 500;

/// Files that may be longer, each with the reason. One that no longer is longer must go.
pub const LONG_FILES: &[(&str, &str)] = &[
    (
        "crates/qila-e2b/tests/api/support/node.rs",
        "a whole node in memory, behind one trait",
    ),
    (
        "crates/qila-policy/tests/bad_input.rs",
        "a table of wrong policies, a line for each",
    ),
    (
        "crates/qila-seccomp/src/table.rs",
        "a table, a line for each system call",
    ),
];

/// Packages whose test binaries run a second time as an unprivileged user.
pub const UNPRIVILEGED: &[&str] = &[
    "qila-agents",
    "qila-backend-container",
    "qila-backend-process",
    "qila-backends",
    "qila-cli",
    "qila-conformance",
    "qila-escape",
    "qila-evidence",
    "qila-gateway",
    "qila-guest",
    "qila-protocols",
    "qila-sandbox",
    "qila-sdk-tests",
    "qila-store",
    "qila-sys",
    "qila-workspace",
];

/// Test packages that come last, because they judge the built `qila` from outside: (package, limit in seconds per
/// test binary). Everything else has [`UNIT_LIMIT`].
pub const STAGES: &[(&str, u64)] = &[
    ("qila-escape", 420),
    ("qila-agents", 300),
    ("qila-conformance", 300),
    ("qila-protocols", 420),
    ("qila-sdk-tests", 420),
    ("qila-serve-tests", 420),
];

/// Seconds that a test binary outside [`STAGES`] may take.
pub const UNIT_LIMIT: u64 = 240;

/// User and group that the unprivileged pass runs as: not `nobody`, which containers map specially.
pub const UNPRIVILEGED_ID: &str = "65533";

/// Debian packages that tests and benchmarks use: (program or file that shows it is there, package, what it is for).
pub const PACKAGES: &[(&str, &str, &str)] = &[
    ("bwrap", "bubblewrap", "peer of the benchmarks"),
    ("crun", "crun", "peer of the benchmarks"),
    ("runc", "runc", "peer of the benchmarks"),
    ("dockerd", "docker.io", "peer of the benchmarks"),
    ("nginx", "nginx", "peer of the gateway's benchmark"),
    ("curl", "curl", "client of the gateway tests"),
    ("git", "git", "workload of the tests and benchmarks"),
    ("openssl", "openssl", "client of the gateway tests"),
    ("gcc", "gcc", "linker, and programs of the attacks"),
    ("g++", "g++", "libFuzzer"),
    ("python3", "python3", "attacks and agents"),
    (
        "/usr/lib/python3/dist-packages/pytest",
        "python3-pytest",
        "workload of the benchmarks",
    ),
    (
        "/usr/share/doc/python3-venv",
        "python3-venv",
        "environments of the agents",
    ),
    ("setpriv", "util-linux", "the unprivileged pass"),
];
