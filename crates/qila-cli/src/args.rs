//! The command line.
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Runs any AI agent, unmodified, inside a fort.
///
/// One policy file says what the agent may touch and spend. Qila enforces every line of it or refuses to start, keeps real
/// credentials out of the agent's reach, and can prove afterwards what happened.
#[derive(Debug, Parser)]
#[command(name = "qila", version, max_term_width = 100, arg_required_else_help = true)]
pub(crate) struct Cli {
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
    /// Show what a run changed in the workspace.
    Diff(Diff),
    /// Take a run's changes over into the workspace.
    Apply(Apply),
    /// Throw a run's changes away.
    Discard(Discard),
    /// Show recorded events.
    Log(Log),
    /// Check and export the evidence log.
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
  qila run -- claude
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
    /// Directory that the agent works on.
    #[arg(long, short = 'w', value_name = "DIR")]
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
    /// Where a host is to be reached, whatever DNS says; private addresses included. May be repeated.
    #[arg(long, value_name = "NAME[:PORT]=ADDR:PORT")]
    pub upstream: Vec<String>,
    /// Further CA certificates (PEM) to verify upstreams against. May be repeated.
    #[arg(long, value_name = "FILE")]
    pub upstream_ca: Vec<PathBuf>,
    /// Print the summary as one JSON object.
    #[arg(long)]
    pub json: bool,
    /// Print no summary.
    #[arg(long, short = 'q')]
    pub quiet: bool,
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "CMD")]
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
    /// The run, or the first characters of its id.
    pub run: String,
    /// Without giving the agent time to end by itself.
    #[arg(long)]
    pub now: bool,
}

/// `qila diff`.
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The run, or the first characters of its id.
    pub run: String,
    /// Names and counts only.
    #[arg(long)]
    pub stat: bool,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

/// `qila apply`.
#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// The run, or the first characters of its id.
    pub run: String,
    /// Only these paths, relative to the workspace.
    pub paths: Vec<PathBuf>,
    /// Also files that tools run by themselves (git hooks, editor tasks and the like).
    #[arg(long)]
    pub include_risky: bool,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

/// `qila discard`.
#[derive(Debug, Args)]
pub(crate) struct Discard {
    /// The run, or the first characters of its id.
    pub run: String,
}

/// `qila log`.
#[derive(Debug, Args)]
pub(crate) struct Log {
    /// The run, or the first characters of its id; all runs without.
    pub run: Option<String>,
    /// Wait for more.
    #[arg(long, short = 'f')]
    pub follow: bool,
    /// One JSON object a line.
    #[arg(long)]
    pub json: bool,
    /// One OCSF 1.8 object a line.
    #[arg(long, conflicts_with = "json")]
    pub ocsf: bool,
}

/// `qila audit`.
#[derive(Debug, Subcommand)]
pub(crate) enum Audit {
    /// Recompute the whole log and check every signature.
    Verify {
        /// An evidence directory other than this host's.
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
        /// A checkpoint kept elsewhere, which the log must extend.
        #[arg(long, value_name = "FILE")]
        checkpoint: Option<PathBuf>,
        /// The public key that must have signed, in note form.
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Print the newest signed checkpoint, to be kept elsewhere.
    Checkpoint,
    /// Write the log as C2SP tlog-tiles.
    Export {
        /// The directory to make.
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
        /// As the Cedar policies that it compiles to.
        #[arg(long)]
        cedar: bool,
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
    /// Put something right; needs root.
    #[arg(long, value_name = "WHAT")]
    pub fix: Option<Fix>,
}

/// What `qila doctor --fix` can put right.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Fix {
    /// Install an AppArmor profile that lets this program make user namespaces.
    Apparmor,
}
