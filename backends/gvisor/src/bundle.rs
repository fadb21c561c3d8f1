//! A plan as an OCI bundle for `runsc`.
use crate::runsc::{self, Options};
use qila_plan::{Plan, ViewEntry};
use qila_sandbox::LaunchError;
use qila_wire::{Begin, Engine, Landlock, Limit, LimitKind, Start, encode};
use rustix::io::Errno;
use serde_json::{Value, json};

/// Where what PID 1 inside needs is shown.
const INIT: &str = "/run/qila-init";
/// The container's name; each has a `runsc` of its own.
const NAME: &str = "agent";

/// Puts `runsc` around the program that the guest is to start.
pub(crate) fn around(plan: &Plan, start: Start) -> Result<Engine, LaunchError> {
    let program = plan.engine().as_ref().map(|e| e.program.as_str());
    let options = runsc::options(program.ok_or(LaunchError::Program(Errno::NOENT))?)?;
    let config = config(plan, &start).to_string();
    let (terminal, landlock, cpus) = (start.terminal, start.landlock.clone(), start.cpus.clone());
    let inner = Start {
        // They are the container's.
        limits: Vec::new(),
        landlock: Landlock {
            abi: 0,
            paths: Vec::new(),
            connect: None,
        },
        cpus: Vec::new(),
        accounting: None,
        ..start
    };
    let begin = encode(&Begin::Run(inner)).map_err(|_| LaunchError::Program(Errno::TOOBIG))?;
    Ok(Engine {
        files: vec![
            (b"/bundle/config.json".to_vec(), config.into_bytes()),
            (b"/init/begin".to_vec(), begin),
        ],
        start: Start {
            argv: command(options),
            env: vec![b"PATH=/".to_vec(), b"HOME=/tmp".to_vec(), b"TMPDIR=/tmp".to_vec()],
            cwd: b"/".to_vec(),
            limits: vec![Limit {
                what: LimitKind::Core,
                value: 0,
            }],
            landlock: Landlock {
                paths: Vec::new(),
                ..landlock
            },
            filter: plan.engine_filter().to_vec(),
            cpus,
            terminal,
            accounting: None,
        },
    })
}

fn command(options: Options) -> Vec<Vec<u8>> {
    let platform = if options.systrap { "systrap" } else { "ptrace" };
    let mut words = vec![
        "/engine".to_owned(),
        "--root=/state".into(),
        "--rootless".into(),
        format!("--platform={platform}"),
        // The host's as it sees it: the locked network.
        "--network=host".into(),
        // It is in ours already.
        "--ignore-cgroups".into(),
    ];
    if options.overlay2 {
        // Changes belong to the workspace's layer, where they can be seen and applied.
        words.push("--overlay2=none".into());
    }
    if options.directfs {
        // Files are opened by a process of their own, not by the kernel that the agent talks to.
        words.push("--directfs=false".into());
    }
    words.extend(["run".into(), "--bundle=/bundle".into(), NAME.into()]);
    words.into_iter().map(String::into_bytes).collect()
}

fn config(plan: &Plan, start: &Start) -> Value {
    let id = json!([{"containerID": 0, "hostID": 0, "size": 1}]);
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": start.terminal.is_some(),
            "user": {"uid": 0, "gid": 0},
            "args": [format!("{INIT}/guest")],
            "env": [],
            "cwd": "/",
            "capabilities": {},
            "noNewPrivileges": true,
            "rlimits": start.limits.iter().map(limit).collect::<Vec<_>>(),
        },
        // What may be written in it is decided by the mounts that it consists of.
        "root": {"path": "/rootfs", "readonly": false},
        "hostname": "qila",
        "mounts": mounts(plan),
        "linux": {
            "namespaces": [
                {"type": "pid"}, {"type": "mount"}, {"type": "ipc"}, {"type": "uts"}, {"type": "user"},
                {"type": "network", "path": "/proc/self/ns/net"},
            ],
            "uidMappings": id,
            "gidMappings": id,
        },
    })
}

fn limit(limit: &Limit) -> Value {
    let name = match limit.what {
        LimitKind::OpenFiles => "RLIMIT_NOFILE",
        LimitKind::Processes => "RLIMIT_NPROC",
        LimitKind::FileSize => "RLIMIT_FSIZE",
        LimitKind::AddressSpace => "RLIMIT_AS",
        LimitKind::Data => "RLIMIT_DATA",
        LimitKind::Core => "RLIMIT_CORE",
    };
    json!({"type": name, "hard": limit.value, "soft": limit.value})
}

fn mounts(plan: &Plan) -> Vec<Value> {
    let mut all = vec![
        json!({"destination": "/proc", "type": "proc", "source": "proc"}),
        json!({"destination": "/dev", "type": "tmpfs", "source": "dev"}),
    ];
    // Where gVisor would make file systems of its own, which nothing bounds.
    for entry in &plan.view().entries {
        if let ViewEntry::Scratch { target, .. } = entry
            && ["/tmp", "/dev/shm"].contains(&target.as_str())
        {
            all.push(bind(&format!("/rootfs{target}"), target, &["rbind"]));
        }
    }
    all.push(bind("/init", INIT, &["ro"]));
    all
}

fn bind(source: &str, destination: &str, options: &[&str]) -> Value {
    json!({"destination": destination, "type": "bind", "source": source, "options": options})
}
