//! What of a policy may change while a sandbox runs under it: what the gateway decides anew for each access. Walls that stand
//! in the kernel were built once.
use crate::ClauseId;
use crate::model::Policy;

impl Policy {
    /// The first clause in which another policy differs that a running sandbox cannot take over.
    pub fn fixed_difference(&self, other: &Policy) -> Option<ClauseId> {
        let (a, b) = (&self.resources, &other.resources);
        let (f, g) = (&self.filesystem, &other.filesystem);
        let (n, m) = (&self.network, &other.network);
        let differences = [
            (self.isolation != other.isolation, ClauseId::Isolation),
            (a.cpu != b.cpu, ClauseId::Cpu),
            (a.memory != b.memory, ClauseId::Memory),
            (a.processes != b.processes, ClauseId::Processes),
            (a.open_files != b.open_files, ClauseId::OpenFiles),
            (a.disk != b.disk, ClauseId::Disk),
            (
                (a.disk_read, a.disk_write) != (b.disk_read, b.disk_write),
                ClauseId::DiskIo,
            ),
            (a.wall_time != b.wall_time, ClauseId::WallTime),
            (a.output != b.output, ClauseId::Output),
            (f.base != g.base, ClauseId::Base),
            (f.workspace != g.workspace, ClauseId::Workspace),
            (f.read != g.read, ClauseId::Read),
            (f.write != g.write, ClauseId::Write),
            (f.hide != g.hide, ClauseId::Hide),
            (n.loopback != m.loopback, ClauseId::Loopback),
            (n.unix_sockets != m.unix_sockets, ClauseId::UnixSockets),
            (self.credentials != other.credentials, ClauseId::Credentials),
            (self.budgets != other.budgets, ClauseId::Budgets),
            (self.syscalls != other.syscalls, ClauseId::Syscalls),
            (self.environment != other.environment, ClauseId::Environment),
        ];
        let first = differences.into_iter().find(|(differs, _)| *differs);
        first.map(|(_, clause)| clause)
    }
}

#[cfg(test)]
mod tests {
    use crate::{ClauseId, NoFiles, Policy, parse};

    fn policy(rest: &str) -> Policy {
        parse("p.yaml", &format!("version: 1\n{rest}\n"), &mut NoFiles).unwrap()
    }

    #[test]
    fn only_what_the_gateway_decides_may_change() {
        let before = policy("network: {allow: [a.org]}\nresources: {processes: 9}");
        for (rest, expected) in [
            (
                "network: {allow: [b.org], rates: {requests: 5/s}}\nresources: {processes: 9}",
                None,
            ),
            ("network: {}\nresources: {processes: 9}", None),
            (
                "network: {allow: [a.org]}\nresources: {processes: 10}",
                Some(ClauseId::Processes),
            ),
            (
                "network: {loopback: false}\nresources: {processes: 9}",
                Some(ClauseId::Loopback),
            ),
            (
                "resources: {processes: 9}\nfilesystem: {read: [/srv]}",
                Some(ClauseId::Read),
            ),
            (
                "resources: {processes: 9}\nbudgets: [{requests: 5}, {requests: 2, window: 1m}]",
                Some(ClauseId::Budgets),
            ),
            ("resources: {processes: 9}\ntraces: {content: keep}", None),
            (
                "resources: {processes: 9}\nsyscalls: strict",
                Some(ClauseId::Syscalls),
            ),
            (
                "resources: {processes: 9}\nenvironment: {set: {A: b}}",
                Some(ClauseId::Environment),
            ),
        ] {
            assert_eq!(before.fixed_difference(&policy(rest)), expected, "{rest}");
        }
        let spends = policy("budgets: [{requests: 5}]");
        for (rest, expected) in [
            ("budgets: [{requests: 4}]", Some(ClauseId::Budgets)),
            ("budgets: [{requests: 6}]", Some(ClauseId::Budgets)),
            ("", Some(ClauseId::Budgets)),
        ] {
            assert_eq!(spends.fixed_difference(&policy(rest)), expected, "{rest}");
        }
    }
}
