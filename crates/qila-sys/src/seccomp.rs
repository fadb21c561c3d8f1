//! Loading a seccomp filter.
use crate::raw::call;
use crate::{Result, check};

/// One instruction of classic BPF, in the kernel's layout.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// Instructions to skip if the comparison holds.
    pub jt: u8,
    /// Instructions to skip if it does not.
    pub jf: u8,
    /// Operand.
    pub k: u32,
}

#[repr(C)]
struct Program {
    len: u16,
    filter: *const Instruction,
}

/// Puts the filter on the calling thread and all it starts. Needs no-new-privileges to be set.
pub fn load(filter: &[Instruction]) -> Result<()> {
    let len = u16::try_from(filter.len()).map_err(|_| rustix::io::Errno::TOOBIG)?;
    let program = Program {
        len,
        filter: filter.as_ptr(),
    };
    // SAFETY: the kernel copies `len` instructions from the slice, which outlives the call.
    check(unsafe {
        call!(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const program,
        )
    })
    .map(drop)
}
