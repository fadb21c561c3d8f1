//! Landlock rulesets.
use crate::raw::call;
use crate::{Result, check};
use rustix::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const CREATE: libc::c_long = 444;
const ADD_RULE: libc::c_long = 445;
const RESTRICT_SELF: libc::c_long = 446;

/// Rights on files, as the kernel numbers them.
pub mod fs {
    /// Start a program.
    pub const EXECUTE: u64 = 1;
    /// Open for writing.
    pub const WRITE_FILE: u64 = 1 << 1;
    /// Open for reading.
    pub const READ_FILE: u64 = 1 << 2;
    /// List a directory.
    pub const READ_DIR: u64 = 1 << 3;
    /// Remove a directory.
    pub const REMOVE_DIR: u64 = 1 << 4;
    /// Remove a file.
    pub const REMOVE_FILE: u64 = 1 << 5;
    /// Make a character device.
    pub const MAKE_CHAR: u64 = 1 << 6;
    /// Make a directory.
    pub const MAKE_DIR: u64 = 1 << 7;
    /// Make a regular file.
    pub const MAKE_REG: u64 = 1 << 8;
    /// Make a socket.
    pub const MAKE_SOCK: u64 = 1 << 9;
    /// Make a pipe.
    pub const MAKE_FIFO: u64 = 1 << 10;
    /// Make a block device.
    pub const MAKE_BLOCK: u64 = 1 << 11;
    /// Make a symbolic link.
    pub const MAKE_SYM: u64 = 1 << 12;
    /// Link or rename across directories (ABI 2).
    pub const REFER: u64 = 1 << 13;
    /// Truncate (ABI 3).
    pub const TRUNCATE: u64 = 1 << 14;
    /// Control devices by ioctl (ABI 5).
    pub const IOCTL_DEV: u64 = 1 << 15;

    /// Every right that an ABI knows.
    pub const fn all(abi: u32) -> u64 {
        let bits = match abi {
            0 => 0,
            1 => 13,
            2 => 14,
            3 | 4 => 15,
            _ => 16,
        };
        (1 << bits) - 1
    }

    /// Rights that make sense on something that is not a directory.
    pub const FILE: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV;
}

#[repr(C)]
#[derive(Default)]
struct RulesetAttr {
    fs: u64,
    net: u64,
    scoped: u64,
}

#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: i32,
}

#[repr(C)]
struct NetPort {
    allowed: u64,
    port: u64,
}

/// The ABI that this kernel offers; zero where Landlock is absent or switched off.
pub fn abi() -> u32 {
    // SAFETY: with the version flag no memory is read.
    let answer = unsafe { call!(CREATE, core::ptr::null::<u8>(), 0usize, 1u32) };
    u32::try_from(answer).unwrap_or(0)
}

/// A ruleset under construction. What it handles is denied unless a rule allows it.
#[derive(Debug)]
pub struct Ruleset {
    fd: OwnedFd,
    fs: u64,
}

impl Ruleset {
    /// Handles every right on files of the ABI; with `net`, also binding and connecting TCP ports (ABI 4); and from ABI 6
    /// on keeps signals and abstract sockets within the domain.
    pub fn new(abi: u32, net: bool) -> Result<Ruleset> {
        let attr = RulesetAttr {
            fs: fs::all(abi),
            net: if net && abi >= 4 { 3 } else { 0 },
            scoped: if abi >= 6 { 3 } else { 0 },
        };
        let size: usize = match abi {
            0 => return Err(rustix::io::Errno::OPNOTSUPP),
            1..=3 => 8,
            4 | 5 => 16,
            _ => 24,
        };
        // SAFETY: the struct has the kernel's layout, outlives the call, and `size` lies within it.
        let fd = check(unsafe { call!(CREATE, &raw const attr, size, 0u32) })?;
        let fd = i32::try_from(fd).map_err(|_| rustix::io::Errno::BADF)?;
        // SAFETY: a new descriptor that nothing else owns.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Ruleset { fd, fs: attr.fs })
    }

    /// Handles TCP ports alone (ABI 4): what is mounted and opened is left alone, so that mounts may still change.
    pub fn ports(abi: u32) -> Result<Ruleset> {
        if abi < 4 {
            return Err(rustix::io::Errno::OPNOTSUPP);
        }
        let attr = RulesetAttr {
            fs: 0,
            net: 3,
            scoped: 0,
        };
        // SAFETY: the struct has the kernel's layout, outlives the call, and the size, that of ABI 4, lies within it.
        let fd = check(unsafe { call!(CREATE, &raw const attr, 16usize, 0u32) })?;
        let fd = i32::try_from(fd).map_err(|_| rustix::io::Errno::BADF)?;
        // SAFETY: a new descriptor that nothing else owns.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Ruleset { fd, fs: 0 })
    }

    /// Allows rights on what the descriptor names, and beneath it if it is a directory. Rights unknown to the ABI are left out.
    pub fn allow_path(&self, path: BorrowedFd<'_>, rights: u64) -> Result<()> {
        let rule = PathBeneath {
            allowed: rights & self.fs,
            parent: path.as_raw_fd(),
        };
        // SAFETY: the struct has the kernel's packed layout and outlives the call.
        check(unsafe { call!(ADD_RULE, self.fd.as_raw_fd(), 1u32, &raw const rule, 0u32) }).map(drop)
    }

    /// Allows connecting to a TCP port.
    pub fn allow_connect(&self, port: u16) -> Result<()> {
        let rule = NetPort {
            allowed: 2,
            port: port.into(),
        };
        // SAFETY: the struct has the kernel's layout and outlives the call.
        check(unsafe { call!(ADD_RULE, self.fd.as_raw_fd(), 2u32, &raw const rule, 0u32) }).map(drop)
    }

    /// Puts the ruleset on the calling thread and all it starts. Needs no-new-privileges to be set.
    pub fn restrict_self(self) -> Result<()> {
        // SAFETY: takes a descriptor and flags only.
        check(unsafe { call!(RESTRICT_SELF, self.fd.as_raw_fd(), 0u32) }).map(drop)
    }
}
