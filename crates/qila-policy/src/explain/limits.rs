//! What the agent can spend.
use super::{Clause, can};
use crate::ClauseId as C;
use crate::model::Policy;

pub(super) fn sentences(policy: &Policy, out: &mut Vec<Clause>) {
    match policy.isolation {
        Some(tier) => can(
            out,
            C::Isolation,
            format!("runs in the `{tier}` tier and in no other"),
        ),
        None => can(
            out,
            C::Isolation,
            "runs in the strongest tier of this host that enforces the whole policy",
        ),
    }
    let r = &policy.resources;
    if let Some(cpu) = r.cpu {
        can(
            out,
            C::Cpu,
            format!("can use at most {} of processor time", cores(cpu.0)),
        );
    }
    if let Some(memory) = r.memory {
        let hard = if memory.hard {
            ", enforced by the kernel or not run at all"
        } else {
            ""
        };
        can(
            out,
            C::Memory,
            format!("can use at most {} of memory, swap included{hard}", memory.bytes),
        );
    }
    if let Some(n) = r.processes {
        can(
            out,
            C::Processes,
            format!("can have at most {n} processes and threads at once"),
        );
    }
    if let Some(n) = r.open_files {
        can(
            out,
            C::OpenFiles,
            format!("can have at most {n} open files in one process"),
        );
    }
    if let Some(disk) = r.disk {
        let hard = if disk.hard {
            ", enforced by the file system or not run at all"
        } else {
            ""
        };
        let what = "in the workspace layer, /tmp, /dev/shm and home together";
        can(
            out,
            C::Disk,
            format!("can write at most {} {what}{hard}", disk.bytes),
        );
    }
    if let Some(rate) = r.disk_read {
        can(
            out,
            C::DiskIo,
            format!("can read at most {rate} from block devices"),
        );
    }
    if let Some(rate) = r.disk_write {
        can(
            out,
            C::DiskIo,
            format!("can write at most {rate} to block devices"),
        );
    }
    if let Some(time) = r.wall_time {
        can(
            out,
            C::WallTime,
            format!("can run for at most {time}, then it is stopped"),
        );
    }
    if let Some(output) = r.output {
        can(
            out,
            C::Output,
            format!("can print at most {output}, then it is stopped"),
        );
    }
    for (clause, none, word) in [
        (C::Cpu, r.cpu.is_none(), "processor time"),
        (C::Memory, r.memory.is_none(), "memory"),
        (C::Processes, r.processes.is_none(), "processes"),
        (C::OpenFiles, r.open_files.is_none(), "open files"),
        (C::Disk, r.disk.is_none(), "disk"),
        (C::WallTime, r.wall_time.is_none(), "wall-clock time"),
        (C::Output, r.output.is_none(), "output"),
    ] {
        if none {
            can(
                out,
                clause,
                format!("can use {word} without a limit of this policy"),
            );
        }
    }
}

fn cores(milli: u32) -> String {
    match (milli / 1_000, milli % 1_000) {
        (1, 0) => "1 core".to_owned(),
        (whole, 0) => format!("{whole} cores"),
        (whole, rest) => format!("{} cores", format!("{whole}.{rest:03}").trim_end_matches('0')),
    }
}
