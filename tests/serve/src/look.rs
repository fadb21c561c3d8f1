//! What the host shows of a daemon and its sandboxes: processes, mounts, cgroups, namespaces, descriptors, memory.
use std::collections::BTreeSet;
use std::fs::{read_dir, read_link, read_to_string};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long what was ended may take to go.
const GOING: Duration = Duration::from_secs(20);

/// By what something is known to be of a daemon: its scratch directory is in the paths of its programs and mounts, and its cgroups
/// have names of their own.
#[derive(Debug, Clone)]
pub struct Marks {
    scratch: PathBuf,
    cgroups: BTreeSet<String>,
}

fn pids() -> Vec<u32> {
    read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|e| e.file_name().to_str()?.parse().ok())
        .collect()
}

impl Marks {
    /// Of a daemon whose program lies in this directory. Names of cgroups are those that its processes are in now.
    pub fn of(scratch: &Path) -> Marks {
        let mut marks = Marks {
            scratch: scratch.to_owned(),
            cgroups: BTreeSet::new(),
        };
        marks.learn();
        marks
    }

    /// Adds the cgroups that its processes are in now.
    pub fn learn(&mut self) {
        for pid in self.processes() {
            let text = read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
            let names = text.lines().flat_map(|l| l.split('/'));
            self.cgroups
                .extend(names.filter(|n| n.starts_with("qila-")).map(str::to_owned));
        }
    }

    /// Processes whose program is the daemon's or its guests'. Those of a sandbox end with its guest, their first.
    pub fn processes(&self) -> Vec<u32> {
        let of =
            |pid: &u32| read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe.starts_with(&self.scratch));
        pids().into_iter().filter(of).collect()
    }

    /// Processes in cgroups of its sandboxes.
    fn inside(&self) -> Vec<u32> {
        let mut all = Vec::new();
        for cgroup in self.directories() {
            let text = read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
            all.extend(text.lines().filter_map(|l| l.parse::<u32>().ok()));
        }
        all
    }

    /// Cgroups of its sandboxes, in every hierarchy.
    pub fn directories(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        beneath(Path::new("/sys/fs/cgroup"), 12, &mut |path| {
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
            if self.cgroups.contains(name) {
                found.push(path.to_owned());
            }
        });
        found
    }

    /// Mounts of this process's namespace that lie in its directory.
    pub fn mounts(&self) -> Vec<String> {
        let text = read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let scratch = self.scratch.to_string_lossy();
        text.lines()
            .filter(|l| l.contains(&*scratch))
            .map(str::to_owned)
            .collect()
    }
}

fn beneath(dir: &Path, deep: usize, found: &mut impl FnMut(&Path)) {
    for entry in read_dir(dir).into_iter().flatten().flatten() {
        if deep > 0 && entry.file_type().is_ok_and(|t| t.is_dir()) {
            found(&entry.path());
            beneath(&entry.path(), deep - 1, found);
        }
    }
}

/// What is left of sandboxes once all were ended: one line for each thing. The daemon itself does not run any more.
pub fn leftovers(marks: &Marks, home: &Path) -> Vec<String> {
    let until = Instant::now() + GOING;
    loop {
        let mut all = Vec::new();
        for pid in marks.processes() {
            let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            all.push(format!(
                "process {pid}: {}",
                String::from_utf8_lossy(&words).replace('\0', " ")
            ));
        }
        all.extend(
            marks
                .inside()
                .iter()
                .map(|pid| format!("process {pid} in a cgroup")),
        );
        all.extend(
            marks
                .directories()
                .iter()
                .map(|p| format!("cgroup {}", p.display())),
        );
        all.extend(marks.mounts().iter().map(|m| format!("mount {m}")));
        for dir in ["serve/s", "serve/layers", "leases"] {
            for entry in read_dir(home.join(dir)).into_iter().flatten().flatten() {
                all.push(format!("directory {}", entry.path().display()));
            }
        }
        if all.is_empty() || Instant::now() > until {
            return all;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Ends what still runs of a daemon: its guests, and with each all that is inside.
pub(crate) fn end_all(marks: &Marks) {
    for pid in marks.processes() {
        if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
    let until = Instant::now() + Duration::from_secs(5);
    while !marks.processes().is_empty() && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut dirs = marks.directories();
    dirs.reverse();
    for dir in dirs {
        let _ = std::fs::remove_dir(dir);
    }
}

/// What must not grow: counts of a daemon and what is its own on the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flat {
    /// Memory of the daemon and its launcher, KiB.
    pub rss_kib: u64,
    /// Their open files.
    pub files: usize,
    /// Their threads.
    pub threads: usize,
    /// Mounts in its own directory.
    pub mounts: usize,
    /// Cgroups of the sandboxes that live.
    pub cgroups: usize,
    /// Namespaces of its processes.
    pub namespaces: usize,
    /// Its processes.
    pub processes: usize,
    /// Directories of sandboxes and layers.
    pub directories: usize,
}

/// Looks at a daemon, its processes, and its directory.
pub fn daemon_flat(marks: &mut Marks, home: &Path) -> Flat {
    marks.learn();
    let processes = marks.processes();
    let (mut rss_kib, mut files, mut threads) = (0, 0, 0);
    let mut namespaces = BTreeSet::new();
    for pid in &processes {
        let at = PathBuf::from(format!("/proc/{pid}"));
        for entry in read_dir(at.join("ns")).into_iter().flatten().flatten() {
            namespaces.extend(read_link(entry.path()));
        }
        if !read_link(at.join("exe")).is_ok_and(|exe| exe.ends_with("qila")) {
            continue; // a guest
        }
        let status = read_to_string(at.join("status")).unwrap_or_default();
        let number = |name: &str| -> u64 {
            let line = status.lines().find_map(|l| l.strip_prefix(name));
            line.and_then(|l| l.split_whitespace().next()?.parse().ok())
                .unwrap_or(0)
        };
        rss_kib += number("VmRSS:");
        threads += usize::try_from(number("Threads:")).unwrap_or(0);
        files += read_dir(at.join("fd")).into_iter().flatten().count();
    }
    let kept = |dir: &str| read_dir(home.join(dir)).into_iter().flatten().count();
    Flat {
        rss_kib,
        files,
        threads,
        mounts: marks.mounts().len(),
        cgroups: marks.directories().len(),
        namespaces: namespaces.len(),
        processes: processes.len(),
        directories: kept("serve/s") + kept("serve/layers"),
    }
}
