//! What the agent can read, write and reach.
use super::{Clause, can, cannot, list, rule};
use crate::ClauseId as C;
use crate::model::{Base, Credential, Policy, SyscallBase, WorkspaceMode};

pub(super) fn sentences(policy: &Policy, out: &mut Vec<Clause>) {
    files(policy, out);
    network(policy, out);
    credentials(policy, out);
    rest(policy, out);
}

fn files(policy: &Policy, out: &mut Vec<Clause>) {
    let fs = &policy.filesystem;
    match &fs.base {
        Base::Host => {
            can(
                out,
                C::Base,
                "can read and run the host's system directories, such as /usr and /etc",
            );
            cannot(
                out,
                C::Base,
                "cannot change the host's system directories, nor see /home, /root, /var or /run",
            );
        }
        Base::Directory(path) => {
            can(
                out,
                C::Base,
                format!("can read and run the root file system in {path}"),
            );
            cannot(
                out,
                C::Base,
                "cannot see the host's own files, nor change that root file system",
            );
        }
        Base::OciLayout(path) => {
            can(out, C::Base, format!("can read and run the image in {path}"));
            cannot(
                out,
                C::Base,
                "cannot see the host's own files, nor change the image",
            );
        }
    }
    match fs.workspace {
        WorkspaceMode::Layer => {
            can(
                out,
                C::Workspace,
                "can read and change the workspace through a layer",
            );
            cannot(
                out,
                C::Workspace,
                "cannot change the workspace's real files: `qila apply` does that afterwards",
            );
        }
        WorkspaceMode::Direct => can(
            out,
            C::Workspace,
            "can read and change the workspace's real files",
        ),
        WorkspaceMode::ReadOnly => {
            can(out, C::Workspace, "can read the workspace");
            cannot(out, C::Workspace, "cannot change the workspace");
        }
        WorkspaceMode::None => cannot(out, C::Workspace, "cannot see the workspace"),
    }
    if !fs.read.is_empty() {
        can(
            out,
            C::Read,
            format!("can also read and run {}, where they exist", list(&fs.read)),
        );
        cannot(
            out,
            C::Read,
            "cannot change what is only readable, nor see anything of the home directory that no clause names",
        );
    }
    if !fs.write.is_empty() {
        can(
            out,
            C::Write,
            format!("can change the real files in {}", list(&fs.write)),
        );
    }
    if !fs.hide.is_empty() {
        cannot(out, C::Hide, format!("cannot see {}", list(&fs.hide)));
    }
}

fn network(policy: &Policy, out: &mut Vec<Clause>) {
    let net = &policy.network;
    for rule in &net.allow {
        can(out, C::Allow, format!("can {}", rule::reach(rule)));
        if let Some(mcp) = &rule.mcp {
            for text in rule::messages(&rule.host, mcp) {
                can(out, C::Allow, text);
            }
        }
    }
    cannot(
        out,
        C::Allow,
        match net.allow.is_empty() {
            true => "cannot reach the network at all, name resolution included",
            false => "cannot reach or resolve any other host, port, protocol or address",
        },
    );
    let rates = &net.rates;
    for (rate, what) in [
        (rates.connections, "new connections"),
        (rates.requests, "requests"),
    ] {
        if let Some(rate) = rate {
            can(
                out,
                C::Rates,
                format!("can make {what} at {rate} at most, over the whole sandbox"),
            );
        }
    }
    for (rate, what) in [(rates.upload, "send"), (rates.download, "receive")] {
        if let Some(rate) = rate {
            can(
                out,
                C::Rates,
                format!("can {what} at {rate} at most, over the whole sandbox"),
            );
        }
    }
    match net.loopback {
        true => can(
            out,
            C::Loopback,
            "can let its own programs talk to each other over the sandbox's loopback",
        ),
        false => cannot(
            out,
            C::Loopback,
            "cannot use a network connection even between its own programs",
        ),
    }
    let direct = policy.writes_host_directories();
    match net.unix_sockets {
        Some(true) if direct => can(
            out,
            C::UnixSockets,
            "can connect to a unix socket that a program of the host makes, while the agent runs, in a directory that the agent writes itself",
        ),
        Some(true) => can(
            out,
            C::UnixSockets,
            "can let its own programs talk to each other over unix sockets",
        ),
        Some(false) => cannot(
            out,
            C::UnixSockets,
            "cannot make unix sockets, connected pairs apart",
        ),
        None if direct => cannot(
            out,
            C::UnixSockets,
            "cannot make unix sockets, connected pairs apart: in a directory of the host that it writes itself, a program of the host may come to listen",
        ),
        None => {}
    }
    if net.loopback {
        cannot(
            out,
            C::Loopback,
            "cannot reach what listens on the host's loopback",
        );
    }
}

fn credentials(policy: &Policy, out: &mut Vec<Clause>) {
    for credential in &policy.credentials {
        let Credential {
            name,
            source,
            placement,
            hosts,
            env,
            optional,
            ttl,
        } = credential;
        let variables = match env.is_empty() {
            true => String::new(),
            false => format!(" (a placeholder is in {})", list(env)),
        };
        let life = match ttl {
            Some(ttl) => format!(", for {ttl} at a time"),
            None => String::new(),
        };
        let without = if *optional {
            "; without a value, the rules that use it are left out"
        } else {
            ""
        };
        can(
            out,
            C::Credentials,
            format!(
                "can use credential `{name}` from {source}{variables}: the gateway places it into {placement}, for {} only{life}{without}",
                list(hosts)
            ),
        );
    }
    if !policy.credentials.is_empty() {
        cannot(
            out,
            C::Credentials,
            "cannot see the real value of any credential, nor send one anywhere else",
        );
    }
}

fn rest(policy: &Policy, out: &mut Vec<Clause>) {
    let s = &policy.syscalls;
    can(
        out,
        C::Syscalls,
        match s.base {
            SyscallBase::Default => {
                "can make the system calls that compilers, interpreters, browsers and build tools need"
            }
            SyscallBase::Strict => "can make the system calls of ordinary programs",
        },
    );
    cannot(
        out,
        C::Syscalls,
        match s.base {
            SyscallBase::Default => {
                "cannot mount, load kernel code, or make any other system call that is not on that list"
            }
            SyscallBase::Strict => {
                "cannot debug, measure performance, mount, load kernel code, or make any other call not on that list"
            }
        },
    );
    if !s.allow.is_empty() {
        can(
            out,
            C::Syscalls,
            format!("can also make the system calls {}", list(&s.allow)),
        );
    }
    if !s.deny.is_empty() {
        cannot(
            out,
            C::Syscalls,
            format!("cannot make the system calls {}", list(&s.deny)),
        );
    }
    let e = &policy.environment;
    if !e.pass.is_empty() {
        can(
            out,
            C::Environment,
            format!("can see the caller's variables {}", list(&e.pass)),
        );
    }
    if !e.set.is_empty() {
        // Values stay out: they may be long, and may be what belongs to nobody else.
        let names: Vec<&String> = e.set.keys().collect();
        can(
            out,
            C::Environment,
            format!("gets fixed values for {}", list(&names)),
        );
    }
    cannot(out, C::Environment, "cannot see any other variable of the caller");
}
