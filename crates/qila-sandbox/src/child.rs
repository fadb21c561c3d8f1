//! The launcher's child: from a fork in new namespaces to the guest.
use crate::cgroup;
use crate::network;
use crate::view::{Builder, Failed};
use qila_plan::{Namespace, Walls};
use qila_sys::fork::{Namespaces, unshare};
use qila_sys::{caps, exec, pass};
use qila_wire::{Report, encode};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use std::ffi::CString;

/// Descriptor on which the guest finds its socket.
const CONTROL: i32 = 3;

/// Becomes the guest. Returns only on failure, after the failure was reported.
pub(crate) fn become_guest(plan: &Walls, control: OwnedFd, guest: BorrowedFd<'_>, stdio: &crate::Stdio) {
    if let Err((step, errno)) = build(plan, &control, guest, stdio) {
        let report = Report::Failed {
            step,
            errno: errno.raw_os_error(),
        };
        if let Ok(packet) = encode(&report) {
            let _ = pass::send(&control, &packet, &[]);
        }
    }
}

fn named<T>(step: &str, result: Result<T, Errno>) -> Result<T, Failed> {
    result.map_err(|e| (step.to_owned(), e))
}

fn build(plan: &Walls, control: &OwnedFd, guest: BorrowedFd<'_>, stdio: &crate::Stdio) -> Result<(), Failed> {
    // Should Qila be killed at this very moment, nothing of this is to outlive it.
    named("tying life to the launcher", caps::die_with_parent())?;
    rustix::process::umask(Mode::empty());
    identity(plan)?;
    let own = plan
        .namespaces()
        .iter()
        .fold(Namespaces::NONE, |all, n| all.with(own(*n)));
    named("making namespaces", unshare(own))?;
    if let Some(listeners) = network::lock(plan.network()).map_err(|(s, e)| (s.to_owned(), e))? {
        let packet =
            encode(&Report::Locked).map_err(|_| ("handing listeners out".to_owned(), Errno::MSGSIZE))?;
        let fds = listeners.each_ref().map(|fd| fd.as_fd());
        named("handing listeners out", pass::send(control, &packet, &fds))?;
    }
    // From here on the run's directory has to be whole.
    let (ca, doors) = wait_for_go(control)?;
    named("joining the cgroups", cgroup::enter(plan.cgroup(), &doors))?;
    drop(doors);
    let (builder, sources) = Builder::new(plan.view(), plan.engine().as_ref())?;
    if plan.namespaces().contains(&Namespace::Cgroup) {
        named("entering a cgroup namespace", unshare(Namespaces::CGROUP))?;
    }
    if plan.namespaces().contains(&Namespace::Uts) {
        named("naming the host", rustix::system::sethostname(b"qila"))?;
    }
    let built = builder.build(sources, &ca)?;
    match plan.engine() {
        None => built.enter()?,
        Some(_) => built.enter_engine(guest)?,
    }
    become_program(control, guest, stdio, plan.engine().is_some())
}

/// What the child makes for itself, from the start on.
fn own(namespace: Namespace) -> Namespaces {
    match namespace {
        Namespace::Net => Namespaces::NET,
        Namespace::Ipc => Namespaces::IPC,
        Namespace::Uts => Namespaces::UTS,
        Namespace::User | Namespace::Mount | Namespace::Pid | Namespace::Cgroup => Namespaces::NONE,
    }
}

/// One user, one group, the same inside and outside; an engine wants to be user 0 of its namespace.
fn identity(plan: &Walls) -> Result<(), Failed> {
    let put = |file: &str, text: String| {
        let fd = openat(
            CWD,
            format!("/proc/self/{file}"),
            OFlags::WRONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        rustix::io::write(&fd, text.as_bytes()).map(drop)
    };
    let inside = |id: u32| if plan.engine().is_some() { 0 } else { id };
    named("mapping groups", put("setgroups", "deny".into()))?;
    named(
        "mapping the group",
        put("gid_map", format!("{} {} 1", inside(*plan.gid()), plan.gid())),
    )?;
    named(
        "mapping the user",
        put("uid_map", format!("{} {} 1", inside(*plan.uid()), plan.uid())),
    )
}

/// The launcher says go when the gateway listens; the packet holds the CA certificate, and the doors of cgroups come with it.
fn wait_for_go(control: &OwnedFd) -> Result<(Vec<u8>, Vec<OwnedFd>), Failed> {
    let mut buffer = vec![0u8; 16 * 1024];
    let (n, doors) = named("waiting for the launcher", pass::receive(control, &mut buffer))?;
    if n == 0 {
        return Err(("waiting for the launcher".into(), Errno::PIPE));
    }
    buffer.truncate(n);
    buffer.remove(0);
    Ok((buffer, doors))
}

fn become_program(
    control: &OwnedFd,
    guest: BorrowedFd<'_>,
    stdio: &crate::Stdio,
    engine: bool,
) -> Result<(), Failed> {
    // The descriptors are moved out of the way first: any of them may sit on a number that is about to be overwritten.
    let high = |fd: BorrowedFd<'_>| rustix::io::fcntl_dupfd_cloexec(fd, 16);
    let [guest, control] = [guest, control.as_fd()].map(high);
    let (guest, control) = (
        named("moving descriptors", guest)?,
        named("moving descriptors", control)?,
    );
    let streams = [&stdio.input, &stdio.output, &stdio.error].map(|fd| high(fd.as_fd()));
    let [input, output, error] = streams;
    named("standard input", input.and_then(rustix::stdio::dup2_stdin))?;
    named("standard output", output.and_then(rustix::stdio::dup2_stdout))?;
    named("standard error", error.and_then(rustix::stdio::dup2_stderr))?;
    named("control socket", exec::place(control.as_fd(), CONTROL))?;
    if !engine {
        named("giving up capabilities", caps::drop_all())?;
    }
    named("giving up privileges for good", caps::no_new_privs())?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    let name = CString::new("qila-guest").map_err(|_| ("naming the guest".to_owned(), Errno::INVAL))?;
    let errno = exec::exec_fd(guest.as_fd(), &[name], &[]);
    Err(("starting the guest".into(), errno))
}
