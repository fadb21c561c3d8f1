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
