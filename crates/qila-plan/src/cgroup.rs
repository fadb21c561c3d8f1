//! The cgroup part of a plan: directories, values, and the files by which a process joins.
use crate::facts::CgroupFacts;
use qila_types::{ByteRate, Bytes, Cpus};
use serde::{Deserialize, Serialize};

/// Cgroups to make, in order; undone in reverse.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupPlan {
    /// Directories to make.
    pub directories: Vec<String>,
    /// Files to write, after the directories exist.
    pub writes: Vec<(String, String)>,
    /// Directory of the unified hierarchy in which the sandbox's first process is born.
    pub born_in: Option<String>,
    /// Files of v1 hierarchies to which that process writes `0` in order to join.
    pub join: Vec<String>,
    /// File that counts processes killed for memory (`oom_kill N` on a line of its own).
    pub oom: Option<String>,
    /// File that counts refused forks (`max N` on a line of its own).
    pub forks: Option<String>,
    /// File that holds the peak memory in bytes.
    pub peak: Option<String>,
    /// File that holds the memory in use, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<String>,
    /// How everything in it is made to stand still.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freezer: Option<Freezer>,
}

/// How a cgroup's processes are made to stand still, and to go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freezer {
    /// File to write to.
    pub file: String,
    /// What makes them stand still.
    pub freeze: String,
    /// What lets them go on.
    pub thaw: String,
}

impl CgroupPlan {
    /// Whether there is nothing to make.
    pub fn is_empty(&self) -> bool {
        self.directories.is_empty()
    }

    fn directory(&mut self, facts: &CgroupFacts, controller: &str, run: &str) -> Option<(String, bool)> {
        let parent = facts.parent(controller)?;
        let v2 = matches!(facts, CgroupFacts::V2 { .. });
        let path = format!("{parent}/qila-{run}");
        if !self.directories.contains(&path) {
            self.directories.push(path.clone());
            // A process that moves itself alone waits for nobody. To move another, or a whole process, the kernel waits until
            // every processor has passed a quiet state: milliseconds.
            if v2 {
                self.born_in = Some(path.clone());
            } else {
                self.join.push(format!("{path}/tasks"));
            }
        }
        Some((path, v2))
    }

    /// Puts it where its share of the processors is decided, and where what it uses of them is counted.
    pub(crate) fn shared(&mut self, facts: &CgroupFacts, run: &str) {
        for controller in ["cpu", "cpuacct"] {
            self.directory(facts, controller, run);
        }
        // One program that takes too much is no reason to end all others, and the guest.
        self.writes
            .retain(|(file, _)| !file.ends_with("/memory.oom.group"));
    }

    /// Lets everything in it be made to stand still, where the host can.
    pub(crate) fn freezer(&mut self, facts: &CgroupFacts, run: &str) {
        let freezer = |dir: &str, file: &str, freeze: &str, thaw: &str| Freezer {
            file: format!("{dir}/{file}"),
            freeze: freeze.into(),
            thaw: thaw.into(),
        };
        self.freezer = match facts {
            // It is no controller there: every cgroup has it.
            CgroupFacts::V2 { parent, .. } => {
                let dir = format!("{parent}/qila-{run}");
                if !self.directories.contains(&dir) {
                    self.directories.push(dir.clone());
                    self.born_in = Some(dir.clone());
                }
                Some(freezer(&dir, "cgroup.freeze", "1", "0"))
            }
            CgroupFacts::V1 { .. } => self
                .directory(facts, "freezer", run)
                .map(|(dir, _)| freezer(&dir, "freezer.state", "FROZEN", "THAWED")),
            CgroupFacts::None { .. } => None,
        };
    }

    /// Bounds memory and swap together.
    pub(crate) fn memory(&mut self, facts: &CgroupFacts, run: &str, limit: Bytes) -> Option<&'static str> {
        let (dir, v2) = self.directory(facts, "memory", run)?;
        let value = limit.0.to_string();
        if v2 {
            self.writes.push((format!("{dir}/memory.max"), value));
            self.writes.push((format!("{dir}/memory.swap.max"), "0".into()));
            self.writes.push((format!("{dir}/memory.oom.group"), "1".into()));
            self.oom = Some(format!("{dir}/memory.events"));
            self.peak = Some(format!("{dir}/memory.peak"));
            self.used = Some(format!("{dir}/memory.current"));
            Some("cgroup v2 memory.max, no swap, the whole group killed on excess")
        } else {
            self.writes
                .push((format!("{dir}/memory.limit_in_bytes"), value.clone()));
            self.writes
                .push((format!("{dir}/memory.memsw.limit_in_bytes"), value));
            self.oom = Some(format!("{dir}/memory.oom_control"));
            self.peak = Some(format!("{dir}/memory.max_usage_in_bytes"));
            self.used = Some(format!("{dir}/memory.usage_in_bytes"));
            Some("cgroup v1 memory.limit_in_bytes and memory.memsw.limit_in_bytes")
        }
    }

    /// Bounds processes and threads.
    pub(crate) fn processes(&mut self, facts: &CgroupFacts, run: &str, limit: u32) -> Option<&'static str> {
        let (dir, _) = self.directory(facts, "pids", run)?;
        // One more for the guest, which is the sandbox's own.
        self.writes
            .push((format!("{dir}/pids.max"), limit.saturating_add(1).to_string()));
        self.forks = Some(format!("{dir}/pids.events"));
        Some("cgroup pids.max")
    }

    /// Bounds processor time.
    pub(crate) fn cpu(&mut self, facts: &CgroupFacts, run: &str, limit: Cpus) -> Option<&'static str> {
        const PERIOD_US: u64 = 100_000;
        let quota = u64::from(limit.0) * PERIOD_US / 1_000;
        let (dir, v2) = self.directory(facts, "cpu", run)?;
        if v2 {
            self.writes
                .push((format!("{dir}/cpu.max"), format!("{quota} {PERIOD_US}")));
            Some("cgroup v2 cpu.max")
        } else {
            self.writes
                .push((format!("{dir}/cpu.cfs_period_us"), PERIOD_US.to_string()));
            self.writes
                .push((format!("{dir}/cpu.cfs_quota_us"), quota.to_string()));
            Some("cgroup v1 cpu.cfs_quota_us")
        }
    }

    /// Bounds block I/O on the given devices (`major:minor`).
    pub(crate) fn disk_io(
        &mut self,
        facts: &CgroupFacts,
        run: &str,
        devices: &[String],
        read: Option<ByteRate>,
        write: Option<ByteRate>,
    ) -> Option<&'static str> {
        let (dir, v2) = self.directory(facts, "io", run)?;
        for device in devices {
            if v2 {
                let part = |name: &str, rate: Option<ByteRate>| {
                    rate.map_or(String::new(), |r| format!(" {name}={}", r.0))
                };
                let line = format!("{device}{}{}", part("rbps", read), part("wbps", write));
                self.writes.push((format!("{dir}/io.max"), line));
            } else if let Some(rate) = read {
                self.writes.push((
                    format!("{dir}/blkio.throttle.read_bps_device"),
                    format!("{device} {}", rate.0),
                ));
            }
        }
        Some(if v2 {
            "cgroup v2 io.max"
        } else {
            "cgroup v1 blkio.throttle.read_bps_device"
        })
    }
}
