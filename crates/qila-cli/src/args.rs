//! The command line.
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Runs any AI agent, unmodified, inside a fort.
///
/// One policy file says what the agent may touch and spend. Qila enforces every line of it or refuses to start, and leaves the workspace as it was.
#[derive(Debug, Parser)]
#[command(name = "qila", version, max_term_width = 100, arg_required_else_help = true)]
pub(crate) struct Cli {
    /// Work against the daemon there (`qila serve`) instead of on this host: http://127.0.0.1:3000, or https://…. Its key is read
    /// from QILA_API_KEY. Default: QILA_HOST, if it is set.
    #[arg(long, global = true, value_name = "URL")]
    pub host: Option<String>,
    /// File of further CA certificates (PEM) to verify that daemon against.
    #[arg(long, global = true, value_name = "FILE")]
    pub host_ca: Option<PathBuf>,
    /// File with the key for that daemon, instead of QILA_API_KEY.
    #[arg(long, global = true, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// Send the key in the clear to a daemon at http:// that is not on this host.
    #[arg(long, global = true)]
    pub host_insecure: bool,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a command in a sandbox.
    #[command(after_help = RUN_HELP)]
    Run(Run),
    /// List runs.
    Ps(Ps),
    /// Stop a run.
    Kill(Kill),
    /// Sandboxes of a daemon: make, use, copy, fork and end them. Needs --host.
    #[command(subcommand)]
    Sandbox(crate::remote::SandboxCommand),
    /// Build and pull images on this host.
    #[command(subcommand)]
    Image(crate::image::ImageCommand),
    /// What a daemon makes sandboxes from: make, show and remove it. Needs --host.
    #[command(subcommand)]
    Template(crate::remote::TemplateCommand),
    /// Change what a running agent may reach.
    Update(Update),
    /// Take credentials from a running agent, for good.
    Revoke(Revoke),
    /// Be the gateway alone: a proxy for programs outside any sandbox, which holds their keys and keeps the record.
    #[command(after_help = GATEWAY_HELP)]
    Gateway(Serve),
    /// Serve sandboxes of this machine over HTTP to whoever has a key: a native API, and the one that E2B's SDKs speak.
    #[command(after_help = SERVE_HELP)]
    Serve(crate::serve::ServeArgs),
    /// Run cells of code for a client, inside a sandbox: what `qila serve` starts there.
    #[command(hide = true)]
    Interpret,
    /// Make, list and end keys for `qila serve`.
    #[command(subcommand)]
    Key(crate::key::Key),
    /// Make, list, bound and remove tenants of `qila serve`.
    #[command(subcommand)]
    Tenant(crate::key::Tenants),
    /// Show what a run changed in the workspace.
    Diff(Diff),
    /// Take a run's changes over into the workspace: all that are asked for, or none.
    Apply(Apply),
    /// Throw a run's changes away.
    Discard(Discard),
    /// Show what was recorded: launches, decisions, limits, ends.
    Log(Log),
    /// Prove that the record is whole, and take it elsewhere.
    #[command(subcommand)]
    Audit(Audit),
    /// Read and explain policies.
    #[command(subcommand)]
    Policy(Policy),
    /// Say what each tier can enforce on this host, and how to fix the rest.
    Doctor(Doctor),
    /// Print a shell completion script.
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a directory.
    Man {
        /// The directory.
        directory: PathBuf,
    },
}

const RUN_HELP: &str = "\
Exit status: the command's own; 128+N if signal N ended it; 125 if Qila failed before the start, \
126 if the command cannot be executed, 127 if it is not found; 124 if a limit of the policy ended it.

Examples:
  qila run --policy offline -- python3 script.py
  qila run --policy ./policy.yaml --isolation container -- ./agent --task fix-tests";

/// `qila run`.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Policy file, or the name of a built-in policy.
    #[arg(long, short = 'p', value_name = "FILE|NAME", default_value = "coding-agent")]
    pub policy: String,
    /// Isolation tier, over the policy's own.
    #[arg(long, value_name = "TIER")]
    pub isolation: Option<Tier>,
    /// Directory that the agent works on. With --host: one whose files are copied into the sandbox's home.
    #[arg(long, short = 'w', visible_alias = "upload", value_name = "DIR")]
    pub workspace: Option<PathBuf>,
    /// Let the agent write the workspace itself instead of a copy-on-write layer.
    #[arg(long)]
    pub direct: bool,
    /// Print the plan and run nothing.
    #[arg(long)]
    pub plan: bool,
    /// Run although this clause cannot be enforced; recorded as evidence. May be repeated.
    #[arg(long, value_name = "CLAUSE")]
    pub allow_unenforced: Vec<String>,
    /// Name of the agent, for budgets that are kept per agent. Default: the policy's name.
    #[arg(long, value_name = "NAME")]
    pub agent: Option<String>,
    /// File of prices of models (YAML), which go before the built-in ones.
    #[arg(long, value_name = "FILE")]
    pub prices: Option<PathBuf>,
    /// Reach a host of the policy at this address instead of the one that its name resolves to; also the only way to a private
    /// address by name. May be repeated.
    #[arg(long, value_name = "NAME[:PORT]=ADDR:PORT")]
    pub upstream: Vec<qila_gateway::Upstream>,
    /// File of further CA certificates (PEM) to verify upstreams against. May be repeated.
    #[arg(long, value_name = "FILE")]
    pub upstream_ca: Vec<PathBuf>,
    /// With --host: template of the sandbox, by name or id. Default: base.
    #[arg(long, value_name = "NAME")]
    pub template: Option<String>,
    /// With --host: variable of the command. May be repeated.
    #[arg(long, short = 'e', value_name = "NAME=VALUE")]
    pub env: Vec<String>,
    /// With --host: time after which the command is killed.
    #[arg(long, value_name = "TIME")]
    pub timeout: Option<qila_types::Millis>,
    /// With --host: leave the sandbox there when the command has ended.
    #[arg(long)]
    pub keep: bool,
    /// Print the summary as one JSON object.
    #[arg(long)]
    pub json: bool,
    /// Print no summary.
    #[arg(long, short = 'q')]
    pub quiet: bool,
    /// The command and its arguments.
    #[arg(
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "CMD"
    )]
    pub command: Vec<std::ffi::OsString>,
}

/// A tier that can be asked for.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Tier {
    /// The strongest that can enforce the whole policy here.
    Auto,
    /// Landlock, seccomp and a private view.
    Process,
    /// All namespaces and cgroup limits.
    Container,
    /// gVisor.
    Gvisor,
    /// A virtual machine.
    Microvm,
    /// A hardware enclave.
    Enclave,
}

/// `qila ps`.
#[derive(Debug, Args)]
pub(crate) struct Ps {
    /// Ended runs that still hold changes, too.
    #[arg(long, short = 'a')]
    pub all: bool,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

/// `qila kill`.
#[derive(Debug, Args)]
pub(crate) struct Kill {
    /// The run: its id, the first characters of it, or `latest`.
    pub run: String,
    /// Without giving the agent time to end by itself.
    #[arg(long)]
    pub now: bool,
}

/// `qila update`.
#[derive(Debug, Args)]
pub(crate) struct Update {
    /// The run: its id, the first characters of it, or `latest`.
    pub run: String,
    /// Policy file, or the name of a built-in policy, whose `network.allow` and `network.rates` come into force for what begins
    /// from now on; what they no longer allow ends. All other clauses must be as they were.
    #[arg(long, short = 'p', value_name = "FILE|NAME")]
    pub policy: String,
}

/// `qila revoke`.
#[derive(Debug, Args)]
pub(crate) struct Revoke {
    /// The run: its id, the first characters of it, or `latest`.
    pub run: String,
    /// Names of credentials, as the policy has them. Default: all.
    #[arg(value_name = "CREDENTIAL")]
    pub credentials: Vec<String>,
}

const SERVE_HELP: &str = "\
The first start prints what E2B's SDKs are told by, as lines for a shell:

  qila serve > e2b.env &
  . ./e2b.env; python3 -c 'from e2b import Sandbox; print(Sandbox.create().commands.run(\"id\").stdout)'

The native API is described at /openapi.json. Sandboxes outlive it: the next start takes them up again.";

const GATEWAY_HELP: &str = "\
Prints what programs are to be started with, as lines for a shell, then serves until it is told to end:

  qila gateway --policy ./policy.yaml > proxy.env &
  . ./proxy.env; ./agent

It is no wall: a program that does not use it, or that is told not to, goes where it likes. `qila run` is the wall.";

/// `qila gateway`.
#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Policy file, or the name of a built-in policy; of it, `network` and `credentials` count.
    #[arg(long, short = 'p', value_name = "FILE|NAME")]
    pub policy: String,
    /// Where to listen. Port 0: one that is free.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:0")]
    pub listen: std::net::SocketAddr,
    /// Name of the agent, for budgets that are kept per agent. Default: the policy's name.
    #[arg(long, value_name = "NAME")]
    pub agent: Option<String>,
    /// File of prices of models (YAML), which go before the built-in ones.
    #[arg(long, value_name = "FILE")]
    pub prices: Option<PathBuf>,
    /// Reach a host of the policy at this address instead of the one that its name resolves to. May be repeated.
    #[arg(long, value_name = "NAME[:PORT]=ADDR:PORT")]
    pub upstream: Vec<qila_gateway::Upstream>,
    /// File of further CA certificates (PEM) to verify upstreams against. May be repeated.
    #[arg(long, value_name = "FILE")]
    pub upstream_ca: Vec<PathBuf>,
    /// Print what programs need as one JSON object.
    #[arg(long)]
    pub json: bool,
    /// Say nothing else.
    #[arg(long, short = 'q')]
    pub quiet: bool,
}

/// `qila diff`.
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The run: its id, the first characters of it, or `latest`.
    pub run: String,
    /// Names and counts only.
    #[arg(long)]
    pub stat: bool,
    /// As one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// `qila apply`.
#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// The run: its id, the first characters of it, or `latest`.
    pub run: String,
    /// Only these paths and what lies beneath them: absolute, or relative to the workspace.
    pub paths: Vec<PathBuf>,
    /// Replace what changed on the host since the run began, too.
    #[arg(long)]
    pub overwrite: bool,
    /// Also files that tools of the host run by themselves (git hooks, editor tasks and the like).
    #[arg(long, conflicts_with = "skip_risky")]
    pub include_risky: bool,
    /// Leave such files in the layer and apply the others.
    #[arg(long)]
    pub skip_risky: bool,
    /// As one JSON object.
    #[arg(long)]
    pub json: bool,
}

/// `qila discard`.
#[derive(Debug, Args)]
pub(crate) struct Discard {
    /// The run: its id, the first characters of it, or `latest`.
    pub run: String,
}

/// `qila log`.
#[derive(Debug, Args)]
pub(crate) struct Log {
    /// Only this run: its id, the first characters of it, or `latest`.
    pub run: Option<String>,
    /// Go on with what is recorded from now on, until interrupted.
    #[arg(long, short = 'f')]
    pub follow: bool,
    /// Each record as one JSON object, as it was signed, with its number.
    #[arg(long)]
    pub json: bool,
    /// Each record as one JSON object of the Open Cybersecurity Schema Framework.
    #[arg(long, conflicts_with = "json")]
    pub ocsf: bool,
    /// Runs and their calls of models as one document of OpenTelemetry traces (OTLP in JSON), which a collector takes:
    /// `qila log latest --otlp | curl --json @- http://localhost:4318/v1/traces`.
    #[arg(long, conflicts_with_all = ["json", "ocsf", "follow"])]
    pub otlp: bool,
}

const VERIFY_HELP: &str = "\
Exit status: 0 if nothing is wrong, 1 if something is, which is named; 2 if the log could not be looked at.";

/// `qila audit`.
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Check every record and every signature, and name what is wrong and where.
    #[command(after_help = VERIFY_HELP)]
    Verify {
        /// A copy of an evidence directory instead of this host's own.
        #[arg(long, value_name = "DIR")]
        directory: Option<PathBuf>,
        /// File with a checkpoint that was kept elsewhere.
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
        /// Public key that was kept elsewhere, as `qila audit key` prints it.
        #[arg(long, value_name = "VKEY")]
        key: Option<String>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the signed checkpoint over all records: kept elsewhere, it proves that none was removed.
    Checkpoint,
    /// Print the public key.
    Key,
    /// Write the log as C2SP tlog-tiles, for other tools, into a new or empty directory.
    Export {
        /// The directory.
        directory: PathBuf,
    },
}

/// `qila policy`.
#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// Say whether a policy is sound.
    Check {
        /// Policy file, or the name of a built-in policy.
        policy: String,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Say in plain words what an agent under a policy can and cannot do, and what enforces it here.
    Explain {
        /// Policy file, or the name of a built-in policy.
        policy: String,
        /// Isolation tier, over the policy's own.
        #[arg(long, value_name = "TIER")]
        isolation: Option<Tier>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print a policy with everything it extends resolved.
    Show {
        /// Policy file, or the name of a built-in policy.
        policy: String,
    },
    /// Print the JSON Schema of policy.yaml.
    Schema,
    /// List the built-in policies.
    List,
}

/// `qila doctor`.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

impl Tier {
    /// The tier, or none for `auto`.
    pub(crate) fn named(self) -> Option<qila_types::Tier> {
        match self {
            Tier::Auto => None,
            Tier::Process => Some(qila_types::Tier::Process),
            Tier::Container => Some(qila_types::Tier::Container),
            Tier::Gvisor => Some(qila_types::Tier::Gvisor),
            Tier::Microvm => Some(qila_types::Tier::Microvm),
            Tier::Enclave => Some(qila_types::Tier::Enclave),
        }
    }
}
