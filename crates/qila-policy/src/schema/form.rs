//! The shape of policy.yaml as types, for the schema only: `parse` reads the file, and a test holds the two together.
//! Doc comments here are the descriptions in the schema and in the policy reference.
#![allow(
    dead_code,
    clippy::large_enum_variant,
    reason = "these types are shapes: nothing makes a value of them"
)]
mod credential;
mod rule;
mod spend;

use credential::Credential;
use rule::{Rates, RuleForm};
use schemars::JsonSchema;
use spend::{Budget, Traces};
use std::collections::BTreeMap;

macro_rules! text {
    ($name:ident, $pattern:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(JsonSchema)]
        pub(super) struct $name(#[schemars(regex(pattern = $pattern))] String);
    };
}

text!(
    Size,
    r"^[0-9]+(\.[0-9]+)?(B|[KMGT]iB|[KMGT]B)$",
    "A size: `512MiB`, `2GiB`, `1.5GiB`, `10MB`."
);
text!(
    ByteRate,
    r"^[0-9]+(\.[0-9]+)?(B|[KMGT]iB|[KMGT]B)/s$",
    "A byte rate: `10MiB/s`."
);
text!(
    Rate,
    r"^[0-9]+/[0-9]*(ms|s|m|min|h|d)( burst [0-9]+)?$",
    "A count per window: `60/min`, `5/s`, `10/30s`; with what may come at once `60/min burst 10`, which is one window's worth otherwise."
);
text!(
    Flow,
    r"^[0-9]+(\.[0-9]+)?(B|[KMGT]iB|[KMGT]B)/s( burst [0-9]+(\.[0-9]+)?(B|[KMGT]iB|[KMGT]B))?$",
    "A byte rate, `10MiB/s`; with what may come at once `10MiB/s burst 1MiB`, which is one second's worth otherwise."
);
text!(
    Duration,
    r"^[0-9]+(\.[0-9]+)?(ms|s|m|min|h|d)$",
    "A span of time: `250ms`, `30s`, `5m`, `2h`, `1d`."
);
text!(
    Path,
    r"^(/|~|\.|(/|~/|\./).+)$",
    "A path: absolute, `~/…` beneath the caller's home, or `./…` beneath the workspace. No `..`, no trailing `/`."
);
text!(
    Host,
    r"^(\*\.)?[A-Za-z0-9_.:/-]+$",
    "A host: a name, `*.name` for every name beneath, an address, or a network such as `192.0.2.0/24`."
);
text!(Method, r"^[A-Z][A-Z_-]{0,31}$", "An HTTP method in upper case.");
text!(
    Glob,
    r"^/",
    "An HTTP path: `*` matches within one part, `**` any number of parts."
);
text!(
    Text,
    r"^.{0,256}$",
    "A pattern over one whole text: `*` is any text, `?` one character, `[abc]`, `[a-z]` and `[!0-9]` one of a class; `[*]` is a star. At most 16 `*`."
);
text!(
    HeaderName,
    r"^[a-z0-9!#$%&'*+.^_`|~-]{1,64}$",
    "A name of a header in lower case."
);
text!(
    Url,
    r"^https?://[^?#]+[^?#/]$",
    "A URL of a service that Qila itself asks, outside: `https://`, or `http://` to the host's own loopback; without user, query or trailing `/`."
);
text!(
    Money,
    r"^[0-9]+(\.[0-9]{1,6})? USD$",
    "An amount of money: `5 USD`, `0.25 USD`."
);
text!(
    TokensText,
    r"^[0-9]+[kM]?$",
    "A number of tokens: `200000`, `200k`, `2M`."
);
text!(
    Variable,
    r"^[A-Za-z_][A-Za-z0-9_]*$",
    "A name of an environment variable."
);
text!(
    VariablePattern,
    r"^[A-Za-z_][A-Za-z0-9_]*\*?$",
    "A name of an environment variable, or the beginning of one and `*`."
);
text!(Name, r"^[A-Za-z0-9_-]{1,64}$", "A name of a credential.");
text!(Syscall, r"^[a-z_][a-z0-9_]*$", "A name of a system call.");
text!(
    SourceText,
    r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$",
    "`env:NAME`, the caller's variable, or `file:PATH`, a file on the host."
);
text!(
    Header,
    r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$",
    "A name of a header; not one that frames or routes the request, such as `host`."
);
text!(
    CoresText,
    r"^([0-9]+(\.[0-9]+)?|[0-9]+m)$",
    "Cores as text: `\"0.5\"` or `250m`."
);

/// What an agent may touch and spend.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
pub(super) struct PolicyFile {
    /// The version of this format.
    #[schemars(extend("const" = 1))]
    version: u32,
    /// What this policy lies over: a built-in policy, or a file (`./other.yaml`, relative to this one), or a list of them.
    extends: Option<OneOrMany>,
    /// The tier. `auto`, the default, takes the strongest that this host offers and that enforces the whole policy.
    isolation: Option<Isolation>,
    /// Limits. One that is left out is not set.
    resources: Option<Resources>,
    /// What of the file system is seen. Default: the host's system directories, and the workspace through a layer.
    filesystem: Option<Filesystem>,
    /// What of the network is reached. Default: nothing.
    network: Option<Network>,
    /// Credentials that the gateway holds and places, by name. The agent gets placeholders.
    credentials: Option<BTreeMap<String, Credential>>,
    /// What may be spent. Each of them holds by itself. Default: no bound.
    #[schemars(length(max = 64))]
    budgets: Option<Vec<Budget>>,
    /// What is kept of calls to models.
    traces: Option<Traces>,
    /// System calls: `default`, `strict`, or a list over one of them.
    syscalls: Option<SyscallsForm>,
    /// Environment variables. Default: none of the caller's.
    environment: Option<Environment>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum Isolation {
    Auto,
    Process,
    Container,
    Gvisor,
    Microvm,
    Enclave,
}

/// Limits on what a run may use.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Resources {
    /// Processor time, in cores: `2`, `0.5` or `250m`.
    cpu: Option<Cores>,
    /// Memory, swap included. `{hard: 2GiB}` accepts only the kernel's own accounting.
    memory: Option<Limit>,
    /// Processes and threads.
    #[schemars(range(min = 1, max = 4_194_304))]
    processes: Option<u32>,
    /// Open files of one process.
    #[schemars(range(min = 1, max = 4_194_304))]
    open_files: Option<u32>,
    /// What may be written: workspace layer, `/tmp`, `/dev/shm` and home together. `{hard: 10GiB}` accepts only a bound
    /// that the file system enforces.
    disk: Option<Limit>,
    /// Rates of block devices.
    disk_io: Option<DiskIo>,
    /// Wall-clock time from start to end.
    wall_time: Option<Duration>,
    /// Bytes written to standard output and error together.
    output: Option<Size>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Cores {
    Number(f64),
    Text(CoresText),
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Limit {
    Soft(Size),
    Hard(Hard),
}

/// A limit for which no weaker mechanism will do.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Hard {
    /// The limit.
    hard: Size,
}

/// Rates of block devices.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct DiskIo {
    /// Read rate.
    read: Option<ByteRate>,
    /// Write rate.
    write: Option<ByteRate>,
}

/// What of the file system is seen.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Filesystem {
    /// Where the system's own files come from: `host` (its system directories, read only), a directory, or an OCI layout.
    base: Option<BaseForm>,
    /// How the workspace is given: `layer` (changes wait for `qila apply`), `direct`, `read_only` or `none`.
    workspace: Option<Workspace>,
    /// Further paths that may be read and run. One that does not exist is skipped when the plan is made.
    read: Option<Vec<Path>>,
    /// Further paths that may be changed directly.
    write: Option<Vec<Path>>,
    /// Paths that are never seen, even beneath a readable one. What an extended policy hides stays hidden.
    hide: Option<Vec<Path>>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum BaseForm {
    Word(HostWord),
    Other(BasePath),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum HostWord {
    Host,
}

/// A root file system that is not the host's; one of the two.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct BasePath {
    /// A directory that holds a root file system.
    directory: Option<Path>,
    /// An OCI image layout directory, `PATH:NAME` where it holds several images. Verified by digest, unpacked once, shown read
    /// only, like a directory: its system directories (`/usr`, `/etc`, `/opt` and the like), not its `/home`, `/root`, `/var` or `/app`.
    /// Its `PATH` is used unless `environment` names that; its user, command, working directory and other variables are not.
    oci_layout: Option<Path>,
}

#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
enum Workspace {
    Layer,
    Direct,
    ReadOnly,
    None,
}

/// What of the network is reached.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Network {
    /// Whether programs inside may talk to each other over the sandbox's own loopback. Default: true.
    loopback: Option<bool>,
    /// Whether programs inside may make unix sockets; connected pairs they always may. Default: unless the policy lets them
    /// write a directory of the host itself (`workspace: direct`, `write`), where a program of the host may come to listen.
    unix_sockets: Option<bool>,
    /// What is allowed. A host alone means port 443.
    allow: Option<Vec<RuleForm>>,
    /// Rates over the whole sandbox.
    rates: Option<Rates>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum SyscallsForm {
    Word(SyscallBase),
    List(Syscalls),
}

#[derive(JsonSchema)]
#[schemars(rename_all = "lowercase")]
enum SyscallBase {
    Default,
    Strict,
}

/// System calls over a base list.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Syscalls {
    /// The list to start from. Default: `default`.
    base: Option<SyscallBase>,
    /// Names allowed beyond it; never one that escapes the sandbox.
    allow: Option<Vec<Syscall>>,
    /// Names denied beneath it.
    deny: Option<Vec<Syscall>>,
}

/// Environment variables that the agent gets.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
struct Environment {
    /// Names passed on from the caller: `TERM`, `LC_*`. Never one that holds a credential's real value.
    pass: Option<Vec<VariablePattern>>,
    /// Names set to fixed values.
    set: Option<BTreeMap<String, Value>>,
}

#[derive(JsonSchema)]
#[schemars(untagged)]
enum Value {
    Text(String),
    Number(f64),
    Flag(bool),
}
