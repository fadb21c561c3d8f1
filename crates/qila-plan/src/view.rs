//! The file system that the agent sees, entry by entry, parents before children.
use crate::environment::Caller;
use crate::facts::{HostFacts, PathFact, PathKind};
use crate::network::NetworkPlan;
use crate::refusal::Refusal;
use qila_policy::model::{Base, PolicyPath, WorkspaceMode};
use qila_types::{Bytes, Tier};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// The file system that the agent sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// Directory on the host over which the new root is put together, in the sandbox's own mount namespace.
    pub root: String,
    /// Directory on the host that is made for the launch and stays empty; where something is sealed.
    pub empty: Option<String>,
    /// Layers of the base on the host, the uppermost first, where it is not in one directory.
    #[serde(default)]
    pub lower: Vec<String>,
    /// Entries, parents before children.
    pub entries: Vec<ViewEntry>,
    /// Size of the memory-backed file system behind `/tmp`, `/dev/shm` and the home directory together.
    pub scratch: Option<Bytes>,
    /// Files in it at most.
    pub scratch_files: u64,
    /// Home directory inside.
    pub home: String,
    /// Paths to read or hide that are not on this host.
    pub skipped: Vec<String>,
}

/// One entry of the view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum ViewEntry {
    /// A path of the host.
    Host {
        /// On the host, no symbolic link in it.
        source: String,
        /// Inside.
        target: String,
        /// Whether it may be written.
        writable: bool,
        /// Whether sockets in it lead nowhere. Not for the system's own directories, which no program listens in.
        sealed: bool,
        /// What it is.
        kind: PathKind,
    },
    /// A directory of the base's layers, read only.
    Image {
        /// Inside, and in the base.
        target: String,
    },
    /// A symbolic link.
    Link {
        /// Inside.
        target: String,
        /// Where it points.
        to: String,
    },
    /// A directory of the memory-backed file system.
    Scratch {
        /// Inside.
        target: String,
        /// Permission bits.
        mode: u32,
    },
    /// The workspace through its copy-on-write layer.
    Layer {
        /// Inside.
        target: String,
        /// On the host, the uppermost first.
        lower: Vec<String>,
        /// Where changes go on the host.
        upper: String,
        /// Scratch directory of overlayfs on the host.
        work: String,
    },
    /// Nothing, where something is on the host.
    Hidden {
        /// Inside.
        target: String,
        /// What is hidden.
        kind: PathKind,
    },
    /// A file that Qila provides.
    Injected {
        /// Inside.
        target: String,
        /// What is in it.
        content: Injected,
    },
    /// A procfs of the sandbox's own process namespace, read only, with `masked` entries empty.
    Proc {
        /// Names beneath `/proc`.
        masked: Vec<Cow<'static, str>>,
    },
    /// `/dev` with the usual harmless devices and terminals of its own.
    Dev {
        /// Names of devices.
        devices: Vec<Cow<'static, str>>,
    },
}

/// Contents that Qila provides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Injected {
    /// The host's CA bundle with the sandbox's CA added.
    CaBundle,
    /// The sandbox's CA alone.
    CaCertificate,
    /// A resolver configuration that names the gateway.
    ResolvConf,
    /// A hosts file that names loopback only.
    Hosts,
}

impl View {
    /// Whether a directory of the host is written without a layer between.
    pub fn writes_host_directory(&self) -> bool {
        let shared = |e: &ViewEntry| {
            matches!(
                e,
                ViewEntry::Host {
                    writable: true,
                    kind: PathKind::Directory,
                    ..
                }
            )
        };
        self.entries.iter().any(shared)
    }
}

impl ViewEntry {
    /// Where the entry is, inside.
    pub fn target(&self) -> &str {
        match self {
            ViewEntry::Host { target, .. }
            | ViewEntry::Image { target }
            | ViewEntry::Link { target, .. }
            | ViewEntry::Scratch { target, .. }
            | ViewEntry::Layer { target, .. }
            | ViewEntry::Hidden { target, .. }
            | ViewEntry::Injected { target, .. } => target,
            ViewEntry::Proc { .. } => "/proc",
            ViewEntry::Dev { .. } => "/dev",
        }
    }
}

/// Where the sandbox's own CA certificate is found inside.
pub(crate) const CA_CERTIFICATE: &str = "/run/qila/ca.pem";
/// Where the whole bundle is found inside.
pub(crate) const CA_BUNDLE: &str = "/run/qila/ca-bundle.pem";

/// Most files of the memory-backed file systems, however large; else one for each KiB.
const SCRATCH_FILES: u64 = 262_144;

const MASKED: [&str; 12] = [
    "kcore",
    "keys",
    "key-users",
    "timer_list",
    "sched_debug",
    "kallsyms",
    "kmsg",
    "kpagecount",
    "kpageflags",
    "vmallocinfo",
    "slabinfo",
    "acpi",
];
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

pub(crate) fn build(
    tier: Tier,
    policy: &qila_policy::Policy,
    facts: &HostFacts,
    caller: &Caller,
    network: &NetworkPlan,
    scratch: Option<Bytes>,
) -> Result<View, Refusal> {
    let fs = &policy.filesystem;
    let mut entries = Vec::new();
    let seat = caller.seat.as_ref();
    let home = seat.map(|s| s.home.clone()).or_else(|| caller.home.clone());
    let home = home.unwrap_or_else(|| "/home/agent".into());
    if seat.is_some() && fs.workspace == WorkspaceMode::Direct {
        let reason = "a sandbox that is served has no workspace on the host".into();
        return Err(Refusal {
            clause: "filesystem.workspace".into(),
            tier,
            reason,
            fix: "use `layer`".into(),
            nearest: None,
        });
    }
    let layered = seat.filter(|_| fs.workspace == WorkspaceMode::Layer);
    let refuse = |clause: &str, reason: String, fix: &str| Refusal {
        clause: clause.into(),
        tier,
        reason,
        fix: fix.into(),
        nearest: None,
    };
    let resolve = |path: &PolicyPath| path.resolve(caller.home.as_deref(), caller.workspace.as_deref());
    match &fs.base {
        Base::Host => base_tree("", facts, &mut entries),
        Base::OciLayout(path) => match &facts.unpacked {
            Some(image) if !image.lower.is_empty() => {
                base_tree("", facts, &mut entries);
                for entry in &mut entries {
                    if let ViewEntry::Host { target, .. } = entry {
                        *entry = ViewEntry::Image {
                            target: target.clone(),
                        };
                    }
                }
            }
            Some(image) => base_tree(&image.root, facts, &mut entries),
            None => {
                let reason = format!("the image layout `{}` was not unpacked", path.0);
                return Err(refuse("filesystem.base", reason, ""));
            }
        },
        Base::Directory(path) => {
            let fact = resolve(path).and_then(|p| facts.paths.get(&p).cloned());
            let Some(PathFact {
                real,
                kind: PathKind::Directory,
            }) = fact
            else {
                let fix = "give the path of a directory that holds a root file system";
                return Err(refuse(
                    "filesystem.base",
                    format!("`{}` is not a directory", path.0),
                    fix,
                ));
            };
            base_tree(real.trim_end_matches('/'), facts, &mut entries);
        }
    }
    entries.push(ViewEntry::Proc {
        masked: MASKED.map(Cow::Borrowed).to_vec(),
    });
    entries.push(ViewEntry::Dev {
        devices: DEVICES.map(Cow::Borrowed).to_vec(),
    });
    entries.push(ViewEntry::Scratch {
        target: "/tmp".into(),
        mode: 0o1777,
    });
    entries.push(ViewEntry::Scratch {
        target: "/dev/shm".into(),
        mode: 0o1777,
    });
    entries.push(ViewEntry::Scratch {
        target: "/var/tmp".into(),
        mode: 0o1777,
    });
    if home != "/" && layered.is_none() {
        entries.push(ViewEntry::Scratch {
            target: home.clone(),
            mode: 0o755,
        });
    }
    let mut skipped = Vec::new();
    for path in &fs.read {
        // Presets name toolchains that not every host has.
        if !resolve(path).is_some_and(|named| host_path(named, false, facts, &mut entries)) {
            skipped.push(format!("filesystem.read: {}", path.0));
        }
    }
    for path in &fs.write {
        if !resolve(path).is_some_and(|named| host_path(named, true, facts, &mut entries)) {
            let reason = format!("`{}` does not exist", path.0);
            return Err(refuse(
                "filesystem.write",
                reason,
                "make it first, or take it out of the policy",
            ));
        }
    }
    if let Some(seat) = layered {
        entries.push(layer(&seat.home, seat.lower.clone(), caller));
    }
    for (source, target) in seat.iter().flat_map(|s| &s.programs) {
        entries.push(ViewEntry::Host {
            source: source.clone(),
            target: target.clone(),
            writable: false,
            sealed: false,
            kind: PathKind::File,
        });
    }
    if let Some(workspace) = &caller.workspace {
        workspace_entry(fs.workspace, workspace, caller, &mut entries);
    }
    for path in fs.hide.iter().cloned().chain(policy.secret_files()) {
        let Some(named) = resolve(&path) else { continue };
        if !facts.paths.contains_key(&named) {
            skipped.push(format!("filesystem.hide: {}", path.0));
        }
        if let Some(fact) = facts.paths.get(&named) {
            for target in [&fact.real, &named] {
                let covered = entries.iter().any(|e| shows(e, target));
                if covered
                    && !entries
                        .iter()
                        .any(|e| matches!(e, ViewEntry::Hidden { target: t, .. } if t == target))
                {
                    entries.push(ViewEntry::Hidden {
                        target: target.clone(),
                        kind: fact.kind,
                    });
                }
            }
        }
    }
    // What the policy's check could not know: where `~` and symbolic links lead.
    for path in &fs.hide {
        let Some(fact) = resolve(path).and_then(|p| facts.paths.get(&p)) else {
            continue;
        };
        let writable = |e: &&ViewEntry| {
            matches!(
                e,
                ViewEntry::Host { writable: true, .. } | ViewEntry::Layer { .. }
            )
        };
        if let Some(e) = entries
            .iter()
            .filter(writable)
            .find(|e| beneath(&fact.real, e.target()))
        {
            let reason = format!(
                "`{}` is hidden and would hide {}, which may be written",
                path.0,
                e.target()
            );
            return Err(refuse("filesystem.hide", reason, "take one of the two away"));
        }
    }
    // Somebody of the host listens there: a way out that no rule names, unless the policy names the socket itself.
    for socket in &facts.sockets {
        let named = |e: &ViewEntry| matches!(e, ViewEntry::Host { target, .. } if target == socket);
        if !entries.iter().any(named) {
            entries.push(ViewEntry::Hidden {
                target: socket.clone(),
                kind: PathKind::File,
            });
        }
    }
    if let NetworkPlan::Locked { intercepts, .. } = network {
        inject(*intercepts, facts, &mut entries);
    }
    // Parents before children, and what was named later over what was named earlier: a stable sort by depth.
    entries.sort_by_key(|e| (rank(e), depth(e.target())));
    Ok(View {
        root: caller.run_dir.clone(),
        lower: match &fs.base {
            Base::OciLayout(_) => facts
                .unpacked
                .as_ref()
                .map(|i| i.lower.clone())
                .unwrap_or_default(),
            _ => Vec::new(),
        },
        empty: entries
            .iter()
            .any(|e| matches!(e, ViewEntry::Host { sealed: true, .. }))
            .then(|| format!("{}/empty", caller.run_dir)),
        entries,
        scratch,
        scratch_files: scratch.map_or(SCRATCH_FILES, |b| (b.0 / 1024).clamp(256, SCRATCH_FILES)),
        home,
        skipped,
    })
}

/// Hidden paths and injected files go over everything else.
fn rank(entry: &ViewEntry) -> u8 {
    match entry {
        ViewEntry::Injected { .. } => 1,
        ViewEntry::Hidden { .. } => 2,
        _ => 0,
    }
}

fn depth(path: &str) -> usize {
    path.split('/').filter(|p| !p.is_empty()).count()
}

/// Whether something of the host is seen at or above the path, or the path lies above something seen.
fn shows(entry: &ViewEntry, path: &str) -> bool {
    match entry {
        ViewEntry::Host { target, .. } | ViewEntry::Image { target } | ViewEntry::Layer { target, .. } => {
            beneath(target, path)
        }
        _ => false,
    }
}

fn beneath(parent: &str, path: &str) -> bool {
    path.strip_prefix(parent.trim_end_matches('/'))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn base_tree(prefix: &str, facts: &HostFacts, entries: &mut Vec<ViewEntry>) {
    for entry in &facts.root {
        entries.push(match &entry.link {
            Some(to) => ViewEntry::Link {
                target: entry.path.clone(),
                to: to.clone(),
            },
            None => ViewEntry::Host {
                source: format!("{prefix}{}", entry.path),
                target: entry.path.clone(),
                writable: false,
                sealed: false,
                kind: PathKind::Directory,
            },
        });
    }
}

/// Adds a path of the host. False: there is no such path.
fn host_path(named: String, writable: bool, facts: &HostFacts, entries: &mut Vec<ViewEntry>) -> bool {
    let Some(PathFact { real, kind }) = facts.paths.get(&named) else {
        return false;
    };
    if *real != named {
        entries.push(ViewEntry::Link {
            target: named,
            to: real.clone(),
        });
    }
    entries.push(ViewEntry::Host {
        source: real.clone(),
        target: real.clone(),
        writable,
        sealed: !writable,
        kind: *kind,
    });
    true
}

fn workspace_entry(mode: WorkspaceMode, workspace: &str, caller: &Caller, entries: &mut Vec<ViewEntry>) {
    let host = |writable| ViewEntry::Host {
        source: workspace.into(),
        target: workspace.into(),
        writable,
        sealed: !writable,
        kind: PathKind::Directory,
    };
    match mode {
        WorkspaceMode::None => {}
        WorkspaceMode::ReadOnly => entries.push(host(false)),
        WorkspaceMode::Direct => entries.push(host(true)),
        WorkspaceMode::Layer => entries.push(layer(workspace, vec![workspace.into()], caller)),
    }
}

fn layer(target: &str, lower: Vec<String>, caller: &Caller) -> ViewEntry {
    ViewEntry::Layer {
        target: target.into(),
        lower,
        upper: format!("{}/layer/upper", caller.run_dir),
        work: format!("{}/layer/work", caller.run_dir),
    }
}

fn inject(intercepts: bool, facts: &HostFacts, entries: &mut Vec<ViewEntry>) {
    let mut put = |target: &str, content| {
        entries.push(ViewEntry::Injected {
            target: target.into(),
            content,
        })
    };
    // Where the base has no such file, C libraries ask 127.0.0.1, and there the gateway knows localhost too.
    for (path, content) in [
        ("/etc/resolv.conf", Injected::ResolvConf),
        ("/etc/hosts", Injected::Hosts),
    ] {
        if let Some(file) = facts.base_files.get(path) {
            put(file, content);
        }
    }
    if intercepts {
        for bundle in &facts.ca_bundles {
            put(bundle, Injected::CaBundle);
        }
        put(CA_BUNDLE, Injected::CaBundle);
        put(CA_CERTIFICATE, Injected::CaCertificate);
    }
}
