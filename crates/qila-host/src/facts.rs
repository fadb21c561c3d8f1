//! Collecting HostFacts.
use crate::error::HostError;
use crate::piled::Piled;
use qila_plan::{Availability, CgroupFacts, HostFacts, PathFact, PathKind, RootEntry, Unpacked};
use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, accessat};
use std::collections::BTreeMap;
use std::path::Path;

/// Directories of a system's root that belong to the system; no home directory, no `/var`, no `/run`.
const SYSTEM: [&str; 10] = [
    "bin", "etc", "gnu", "lib", "lib32", "lib64", "libx32", "nix", "opt", "sbin",
];

/// What is looked at.
pub struct Look<'a> {
    /// Root of the base: `/`, or the directory that the policy names.
    pub base: &'a Path,
    /// Paths that the policy names.
    pub paths: &'a [String],
    /// The image that is the base.
    pub unpacked: Option<&'a Unpacked>,
    /// Directories that the agent is to write itself.
    pub writable: &'a [String],
    /// Directories whose block devices count for disk I/O.
    pub storage: &'a [&'a Path],
}

/// Looks at the host.
pub fn collect(look: &Look<'_>) -> Result<HostFacts, HostError> {
    let mut paths = BTreeMap::new();
    for path in look.paths {
        if let Some(fact) = path_fact(path) {
            paths.insert(path.to_owned(), fact);
        }
    }
    let piled = look.unpacked.filter(|i| !i.lower.is_empty());
    let piled = piled.map(|i| Piled::open(&i.lower)).transpose()?;
    let replaced = ["/etc/resolv.conf", "/etc/hosts"];
    let base_files = replaced.iter().filter_map(|p| {
        let at = match &piled {
            Some(piled) => piled.file(p),
            None => within(look.base, p),
        };
        Some(((*p).to_owned(), at?))
    });
    Ok(HostFacts {
        kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
        landlock_abi: qila_sys::landlock::abi(),
        user_namespaces: user_namespaces(),
        cgroups: cgroups(Path::new("/sys/fs/cgroup"), Path::new("/proc/self")),
        cpus: cpus(),
        root: match &piled {
            Some(piled) => piled.root(&system()),
            None => root(look.base),
        },
        paths,
        unpacked: look.unpacked.cloned(),
        sockets: crate::sockets::beneath(look.writable)?,
        base_files: base_files.collect(),
        ca_bundles: match &piled {
            Some(piled) => bundles(|p| piled.file(p)),
            None => ca_bundles(look.base),
        },
        devices: devices(look.storage),
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
    })
}

/// A file of the kernel's, in three calls if it is short.
fn short(path: impl AsRef<Path>) -> Option<String> {
    let path = path.as_ref();
    let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut buffer = [0u8; 2048];
    match rustix::io::read(&fd, &mut buffer).ok()? {
        n if n < buffer.len() => Some(String::from_utf8_lossy(buffer.get(..n)?).into_owned()),
        _ => std::fs::read_to_string(path).ok(),
    }
}

fn there(path: &str) -> bool {
    rustix::fs::statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

fn path_fact(path: &str) -> Option<PathFact> {
    if !there(path) {
        return None; // most are not, and resolving looks at every part
    }
    let real = std::fs::canonicalize(path).ok()?;
    let kind = if real.is_dir() {
        PathKind::Directory
    } else {
        PathKind::File
    };
    Some(PathFact {
        real: real.to_str()?.to_owned(),
        kind,
    })
}

/// Where a base has this file, links resolved, as it will be seen inside.
fn within(base: &Path, path: &str) -> Option<String> {
    let at = base.join(path.trim_start_matches('/'));
    let real = match std::fs::canonicalize(&at) {
        Ok(real) => real,
        // A dangling resolv.conf (its target under /run) still tells where one is expected.
        Err(_) if base == Path::new("/") => dangling(path).ok()?,
        Err(_) => return None,
    };
    let base = std::fs::canonicalize(base).ok()?;
    Some(format!("/{}", real.strip_prefix(base).ok()?.to_str()?))
}

fn dangling(path: &str) -> std::io::Result<std::path::PathBuf> {
    let to = std::fs::read_link(path)?;
    let joined = Path::new(path).parent().unwrap_or(Path::new("/")).join(to);
    let mut out = std::path::PathBuf::from("/");
    for part in joined.components() {
        match part {
            std::path::Component::ParentDir => drop(out.pop()),
            std::path::Component::Normal(name) => out.push(name),
            _ => {}
        }
    }
    Ok(out)
}

fn system() -> Vec<&'static str> {
    let mut names = SYSTEM.to_vec();
    names.push("usr");
    names
}

fn root(base: &Path) -> Vec<RootEntry> {
    let mut out = Vec::new();
    for name in system() {
        let at = base.join(name);
        let Ok(stat) = rustix::fs::statat(CWD, &at, AtFlags::SYMLINK_NOFOLLOW) else {
            continue;
        };
        let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
        let path = format!("/{name}");
        if kind.is_symlink() {
            let to = std::fs::read_link(&at)
                .ok()
                .and_then(|t| t.to_str().map(str::to_owned));
            out.extend(to.map(|to| RootEntry { path, link: Some(to) }));
        } else if kind.is_dir() {
            out.push(RootEntry { path, link: None });
        }
    }
    out
}

fn user_namespaces() -> Availability {
    let read = |path: &str| short(path).map(|t| t.trim().to_owned());
    let no = |reason: &str, fix: &str| Availability::No {
        reason: reason.into(),
        fix: fix.into(),
    };
    if !there("/proc/self/uid_map") {
        return no(
            "this kernel has no user namespaces",
            "use a kernel with CONFIG_USER_NS",
        );
    }
    if read("/proc/sys/user/max_user_namespaces").as_deref() == Some("0") {
        return no(
            "user namespaces are switched off",
            "sudo sysctl user.max_user_namespaces=15000",
        );
    }
    if rustix::process::geteuid().is_root() {
        return Availability::Yes;
    }
    if read("/proc/sys/kernel/unprivileged_userns_clone").as_deref() == Some("0") {
        return no(
            "user namespaces are switched off for ordinary users",
            "sudo sysctl kernel.unprivileged_userns_clone=1",
        );
    }
    if read("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").as_deref() == Some("1") && !profiled() {
        return no(
            "AppArmor restricts user namespaces of ordinary users (the default of Ubuntu 24.04)",
            "sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile with `userns,` for this program",
        );
    }
    Availability::Yes
}

/// Whether an AppArmor profile of our own, which may grant `userns`, is on this process.
fn profiled() -> bool {
    std::fs::read_to_string("/proc/self/attr/current").is_ok_and(|t| t.starts_with("qila"))
}

fn cpus() -> Vec<u32> {
    let Ok(set) = rustix::thread::sched_getaffinity(None) else {
        return vec![0];
    };
    (0..rustix::thread::CpuSet::MAX_CPU)
        .filter(|c| set.is_set(*c))
        .filter_map(|c| u32::try_from(c).ok())
        .collect()
}

/// Files of a base that hold bundles of CA certificates, links resolved, as they are seen inside.
pub fn ca_bundles(base: &Path) -> Vec<String> {
    bundles(|p| {
        let there = base.join(p.trim_start_matches('/')).exists();
        there.then(|| within(base, p))?
    })
}

fn bundles(look: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let known = [
        "/etc/ssl/certs/ca-certificates.crt",
        "/etc/pki/tls/certs/ca-bundle.crt",
        "/etc/ssl/ca-bundle.pem",
        "/etc/ssl/cert.pem",
    ];
    let mut out: Vec<String> = known.iter().filter_map(|p| look(p)).collect();
    out.sort();
    out.dedup();
    out
}

fn devices(storage: &[&Path]) -> Vec<String> {
    let mut out: Vec<String> = storage
        .iter()
        .filter_map(|p| rustix::fs::stat(*p).ok())
        .map(|s| (rustix::fs::major(s.st_dev), rustix::fs::minor(s.st_dev)))
        .filter(|(major, _)| *major != 0)
        .map(|(major, minor)| format!("{major}:{minor}"))
        .collect();
    out.sort();
    out.dedup();
    out
}

fn writable(path: &Path) -> bool {
    accessat(CWD, path, Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS).is_ok()
}

/// Where cgroups can be made: in the nearest ancestor of our own that is ours to write.
pub fn cgroups(mounted: &Path, own: &Path) -> CgroupFacts {
    let text = short(own.join("cgroup")).unwrap_or_default();
    let mut v1 = BTreeMap::new();
    let mut unified = None;
    for line in text.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(id), Some(names), Some(path)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        let path = path.trim_start_matches('/');
        if id == "0" && names.is_empty() {
            unified = Some(path.to_owned());
            continue;
        }
        for name in names
            .split(',')
            .filter(|n| ["memory", "pids", "cpu", "cpuacct", "blkio", "freezer"].contains(n))
        {
            let dir = mounted.join(name).join(path);
            if writable(&dir)
                && let Some(text) = dir.to_str()
            {
                v1.insert(name.to_owned(), text.trim_end_matches('/').to_owned());
            }
        }
    }
    if !v1.is_empty() {
        return CgroupFacts::V1 { parents: v1 };
    }
    match unified.and_then(|path| v2(mounted, &path)) {
        Some(facts) => facts,
        None => CgroupFacts::None {
            reason: "no cgroup is delegated to this user".into(),
            fix: "run under `systemd-run --user --scope -p Delegate=yes qila run …`, or as root".into(),
        },
    }
}

/// A cgroup with processes in it cannot have children with controllers: siblings are made, in an ancestor.
fn v2(mounted: &Path, own: &str) -> Option<CgroupFacts> {
    if !mounted.join("cgroup.controllers").exists() {
        return None;
    }
    let own = mounted.join(own);
    let ancestors = own
        .ancestors()
        .skip(usize::from(own != mounted))
        .take_while(|a| a.starts_with(mounted));
    for dir in ancestors {
        // Moving a process needs its common ancestor to be ours; beyond the first that is not, nothing is.
        if !(writable(dir) && writable_file(&dir.join("cgroup.procs"))) {
            return None;
        }
        let text = std::fs::read_to_string(dir.join("cgroup.subtree_control")).unwrap_or_default();
        let controllers: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        if !controllers.is_empty() {
            return Some(CgroupFacts::V2 {
                parent: dir.to_str()?.trim_end_matches('/').to_owned(),
                controllers,
            });
        }
    }
    None
}

fn writable_file(path: &Path) -> bool {
    accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS).is_ok()
}
