//! How a program of Qila's own begins.

/// Makes a function that answers an exit code the program's beginning.
#[cfg(feature = "std")]
#[macro_export]
macro_rules! program {
    ($run:path) => {
        fn main() {
            $crate::fork::exit_now($run())
        }
    };
}

/// Makes a function that answers an exit code the program's beginning.
///
/// There is no C library: it would ask the processor some ninety questions before `main`, each of which a virtual machine
/// hands to its host, and that takes longer than anything else that the guest does.
#[cfg(not(feature = "std"))]
#[macro_export]
macro_rules! program {
    ($run:path) => {
        #[unsafe(no_mangle)]
        extern "C" fn qila_program() -> ! {
            $crate::fork::exit_now($run())
        }
    };
}

/// Makes a function that answers an exit code the beginning of a program with `std` and with arguments.
///
/// What `std` does before `main` and after it is done here, but for the guard of the main thread's stack: the kernel has one of
/// its own, and to find its place takes reading and parsing a list of all that is mapped.
#[cfg(feature = "std")]
#[macro_export]
macro_rules! command {
    ($run:path) => {
        #[unsafe(no_mangle)]
        extern "C" fn main(_count: i32, _arguments: *const *const u8) -> i32 {
            $crate::entry::begin();
            let code: u8 = $run();
            $crate::entry::end();
            code.into()
        }
    };
}

/// Opens `/dev/null` where a standard stream is closed, so that no other file can take its place, and ignores SIGPIPE.
#[cfg(feature = "std")]
pub fn begin() {
    crate::signal::ignore(13);
    for stream in 0..3 {
        // SAFETY: only looks whether the descriptor is open.
        if unsafe { crate::raw::call!(libc::SYS_fcntl, stream, libc::F_GETFD) } < 0 {
            // SAFETY: the path is a constant; the lowest free number is the stream's. Without it nothing is safe to do.
            let opened = unsafe {
                crate::raw::call!(
                    libc::SYS_openat,
                    libc::AT_FDCWD,
                    c"/dev/null".as_ptr(),
                    libc::O_RDWR,
                    0
                )
            };
            if opened != stream {
                crate::fork::exit_now(125);
            }
        }
    }
}

/// Writes out what standard output still holds.
#[cfg(feature = "std")]
pub fn end() {
    use std::io::Write;
    let _ = std::io::stdout().flush();
}
