//! Giving up capabilities for good.
use crate::raw::call;
use crate::{Result, check};

#[repr(C)]
struct Header {
    version: u32,
    pid: libc::c_int,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Data {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const VERSION_3: u32 = 0x2008_0522;

/// Empties every capability set of the calling thread, the bounding and ambient sets included, and locks the securebits,
/// so that no later exec, even as uid 0, gives any back.
pub fn drop_all() -> Result<()> {
    for cap in 0..64u64 {
        // SAFETY: takes integers only.
        let answer = unsafe { call!(libc::SYS_prctl, libc::PR_CAPBSET_DROP, cap, 0, 0, 0) };
        if answer < 0 {
            break; // past the last capability this kernel knows
        }
    }
    // keep-caps locked off, no set-uid fixup (locked), uid 0 gains nothing on exec (locked), no ambient raise (locked)
    const SECUREBITS: libc::c_ulong = 0b1110_1111;
    // SAFETY: takes integers only.
    check(unsafe { call!(libc::SYS_prctl, libc::PR_SET_SECUREBITS, SECUREBITS, 0, 0, 0) })?;
    clear()
}

/// Empties the sets that a process may always empty: all but the bounding set, which matters only to one that execs.
pub fn clear() -> Result<()> {
    // SAFETY: takes integers only.
    check(unsafe {
        call!(
            libc::SYS_prctl,
            libc::PR_CAP_AMBIENT,
            libc::PR_CAP_AMBIENT_CLEAR_ALL,
            0,
            0,
            0
        )
    })?;
    let header = Header {
        version: VERSION_3,
        pid: 0,
    };
    let none = [Data {
        effective: 0,
        permitted: 0,
        inheritable: 0,
    }; 2];
    // SAFETY: version 3 takes a header and an array of two, both of which outlive the call.
    check(unsafe { call!(libc::SYS_capset, &raw const header, none.as_ptr()) }).map(drop)
}

/// Whether the calling thread has no capability, nor any that it could take or hand on.
pub fn none() -> Result<bool> {
    let mut header = Header {
        version: VERSION_3,
        pid: 0,
    };
    let mut data = [Data {
        effective: 0,
        permitted: 0,
        inheritable: 0,
    }; 2];
    // SAFETY: version 3 takes a header and an array of two, both of which outlive the call.
    check(unsafe { call!(libc::SYS_capget, &raw mut header, data.as_mut_ptr()) })?;
    Ok(data
        .iter()
        .all(|d| d.effective == 0 && d.permitted == 0 && d.inheritable == 0))
}

/// Refuses, for this process and all it starts, any gain of privilege by exec.
pub fn no_new_privs() -> Result<()> {
    // SAFETY: takes integers only.
    check(unsafe { call!(libc::SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }).map(drop)
}

/// Hides this process's memory, descriptors and environment from others of the same user.
pub fn not_dumpable() -> Result<()> {
    // SAFETY: takes integers only.
    check(unsafe { call!(libc::SYS_prctl, libc::PR_SET_DUMPABLE, 0, 0, 0, 0) }).map(drop)
}

/// Asks the kernel to kill this process when the one that made it ends.
pub fn die_with_parent() -> Result<()> {
    // SAFETY: takes integers only.
    check(unsafe { call!(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) }).map(drop)
}

/// Undoes [`die_with_parent`]: this process lives on when the one that made it ends.
pub fn live_on() -> Result<()> {
    // SAFETY: takes integers only.
    check(unsafe { call!(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, 0, 0, 0, 0) }).map(drop)
}
