//! System calls without a C library: the guest has none, and both programs run the same code.
//!
//! An answer below zero is an error number, negated.
use libc::c_long;

/// What can be handed to the kernel.
pub(crate) trait Argument {
    /// As the kernel takes it.
    fn word(self) -> usize;
}

macro_rules! numbers {
    ($($kind:ty)*) => {$(
        impl Argument for $kind {
            fn word(self) -> usize {
                self as usize
            }
        }
    )*};
}
numbers!(i32 u32 i64 u64 isize usize);

impl<T> Argument for *const T {
    fn word(self) -> usize {
        self.expose_provenance()
    }
}

impl<T> Argument for *mut T {
    fn word(self) -> usize {
        self.expose_provenance()
    }
}

/// Makes a system call with up to six arguments. Unsafe: what the kernel does with them is the caller's to know.
macro_rules! call {
    ($number:expr $(, $argument:expr)* $(,)?) => {{
        let mut words = [0usize; 6];
        let mut slots = words.iter_mut();
        $( if let Some(slot) = slots.next() { *slot = $crate::raw::Argument::word($argument); } )*
        let _ = slots;
        $crate::raw::six($number, words)
    }};
}
pub(crate) use call;

/// Makes a system call with six arguments.
///
/// # Safety
///
/// As the kernel documents the call: pointers among the arguments must be good for what it does with them.
#[cfg(target_arch = "x86_64")]
pub(crate) unsafe fn six(number: c_long, [a, b, c, d, e, f]: [usize; 6]) -> c_long {
    let answer;
    // SAFETY: the kernel's calling convention; rcx and r11 are what it does not keep.
    unsafe {
        core::arch::asm!(
            "syscall",
            inlateout("rax") number => answer,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    answer
}

/// Makes a system call with six arguments.
///
/// # Safety
///
/// As the kernel documents the call: pointers among the arguments must be good for what it does with them.
#[cfg(not(target_arch = "x86_64"))]
pub(crate) unsafe fn six(number: c_long, [a, b, c, d, e, f]: [usize; 6]) -> c_long {
    // SAFETY: the caller's; errno is thread-local and was set by the call that just failed.
    unsafe {
        match libc::syscall(number, a, b, c, d, e, f) {
            -1 => -c_long::from(*libc::__errno_location()),
            answer => answer,
        }
    }
}
