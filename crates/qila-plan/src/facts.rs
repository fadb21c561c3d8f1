//! What the host offers, collected beforehand by whoever may look.
use qila_policy::Permit;
use qila_policy::model::{Base, PolicyPath};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What the host offers.
#[derive(Debug, Clone, Serialize)]
pub struct HostFacts {
    /// Kernel release, `6.18.44` for instance.
    pub kernel: String,
    /// Landlock ABI; zero where there is none.
    pub landlock_abi: u32,
    /// Whether this user may make user namespaces with capabilities inside.
    pub user_namespaces: Availability,
    /// What cgroups this user may make.
    pub cgroups: CgroupFacts,
    /// Processors that this process may run on, by number.
    pub cpus: Vec<u32>,
    /// System directories at the top of the base (the host's root, or the directory that the policy names).
    pub root: Vec<RootEntry>,
    /// What is at the paths that the policy names.
    pub paths: BTreeMap<String, PathFact>,
    /// Block devices behind the workspace and the state directory, as `major:minor`.
    pub devices: Vec<String>,
    /// The image of `filesystem.base`, if it is one.
    pub unpacked: Option<Unpacked>,
    /// Unix sockets in directories that the agent may write itself.
    pub sockets: Vec<String>,
    /// Where the base has its `/etc/resolv.conf` and `/etc/hosts`, links resolved, as seen inside.
    pub base_files: BTreeMap<String, String>,
    /// CA bundle files, resolved.
    pub ca_bundles: Vec<String>,
    /// Effective user id.
    pub uid: u32,
    /// Effective group id.
    pub gid: u32,
}

/// An image that is the base.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unpacked {
    /// Directory that holds its root file system; the uppermost of its layers where there are several.
    pub root: String,
    /// Its layers, the uppermost first, where it is not in one directory.
    pub lower: Vec<String>,
    /// Where it wants its programs to be looked for.
    pub path: Option<String>,
}

/// Whether something can be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Availability {
    /// It can.
    Yes,
    /// It cannot.
    No {
        /// Why.
        reason: String,
        /// What a person can do about it.
        fix: String,
    },
}

/// What cgroups this user may make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "mode", rename_all = "snake_case")]
pub enum CgroupFacts {
    /// The unified hierarchy.
    V2 {
        /// Directory in which this user may make cgroups and into which it may move its processes.
        parent: String,
        /// Controllers that children of that directory have.
        controllers: Vec<String>,
    },
    /// One hierarchy per controller, or a hybrid whose controllers are all on v1.
    V1 {
        /// For each controller, the directory in which this user may make cgroups.
        parents: BTreeMap<String, String>,
    },
    /// None.
    None {
        /// Why.
        reason: String,
        /// What a person can do about it.
        fix: String,
    },
}

impl CgroupFacts {
    /// The directory to make a cgroup with this controller in (named as on v2), if there is one.
    pub fn parent(&self, controller: &str) -> Option<&str> {
        match self {
            CgroupFacts::V2 { parent, controllers } => controllers
                .iter()
                .any(|c| c == controller)
                .then_some(parent.as_str()),
            CgroupFacts::V1 { parents } => {
                let name = if controller == "io" { "blkio" } else { controller };
                parents.get(name).map(String::as_str)
            }
            CgroupFacts::None { .. } => None,
        }
    }
}

/// One directory of the host's root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RootEntry {
    /// Absolute path.
    pub path: String,
    /// Where it points if it is a symbolic link.
    pub link: Option<String>,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PathFact {
    /// The path with every symbolic link resolved.
    pub real: String,
    /// What it is.
    pub kind: PathKind,
}

/// What a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PathKind {
    /// A directory.
    Directory,
    /// Anything else that can be mounted over.
    File,
}

/// The absolute paths about which [`HostFacts::paths`] must know, given home and workspace.
pub fn wanted_paths(permit: &Permit, home: Option<&str>, workspace: Option<&str>) -> Vec<String> {
    let policy = permit.policy();
    let fs = &policy.filesystem;
    let base: Option<&PolicyPath> = match &fs.base {
        Base::Host => None,
        Base::Directory(path) | Base::OciLayout(path) => Some(path),
    };
    let files: Vec<PolicyPath> = policy.secret_files().collect();
    let named = fs
        .read
        .iter()
        .chain(&fs.write)
        .chain(&fs.hide)
        .chain(base)
        .chain(&files);
    named.filter_map(|p| p.resolve(home, workspace)).collect()
}
