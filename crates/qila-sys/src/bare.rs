//! What a program without a C library needs: a first instruction, memory, and an end when something is wrong.
use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};

// The kernel starts here, with the stack as it left it: aligned to 16 bytes, and no return address.
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "and rsp, -16",
    "call qila_program",
    "ud2",
);

// What the compiler calls by name. Written down here rather than in Rust: it would turn such loops into calls of themselves.
core::arch::global_asm!(
    ".globl memcpy",
    "memcpy:",
    "mov rax, rdi",
    "mov rcx, rdx",
    "rep movsb",
    "ret",
    ".globl memmove",
    "memmove:",
    "mov rax, rdi",
    "mov rcx, rdx",
    "mov r8, rdi",
    "sub r8, rsi",
    "cmp r8, rdx",
    "jb 2f",
    "rep movsb",
    "ret",
    "2:",
    "lea rdi, [rdi + rcx - 1]",
    "lea rsi, [rsi + rcx - 1]",
    "std",
    "rep movsb",
    "cld",
    "ret",
    ".globl memset",
    "memset:",
    "mov r8, rdi",
    "mov eax, esi",
    "mov rcx, rdx",
    "rep stosb",
    "mov rax, r8",
    "ret",
    ".globl bcmp",
    ".globl memcmp",
    "bcmp:",
    "memcmp:",
    "xor ecx, ecx",
    "3:",
    "cmp rcx, rdx",
    "je 4f",
    "movzx eax, byte ptr [rdi + rcx]",
    "movzx r8d, byte ptr [rsi + rcx]",
    "inc rcx",
    "sub eax, r8d",
    "je 3b",
    "ret",
    "4:",
    "xor eax, eax",
    "ret",
    ".globl strlen",
    "strlen:",
    "xor eax, eax",
    "5:",
    "cmp byte ptr [rdi + rax], 0",
    "je 6f",
    "inc rax",
    "jmp 5b",
    "6:",
    "ret",
    // Unwinding is switched off; the library's tables name these all the same.
    ".globl rust_eh_personality",
    "rust_eh_personality:",
    ".globl _Unwind_Resume",
    "_Unwind_Resume:",
    "ud2",
);

/// Memory for everything that a guest ever holds: its orders, twice, and little else. Untouched pages cost nothing.
const SIZE: usize = 32 << 20;

/// Memory from one end to the other. What was taken last can be given back or grow; the rest is not used again, so that what a
/// loop takes it must give back in order.
struct Stack {
    bytes: UnsafeCell<[u8; SIZE]>,
    top: AtomicUsize,
    /// What lies beyond was never used, and is zero.
    high: AtomicUsize,
}

// SAFETY: a guest has one thread.
unsafe impl Sync for Stack {}

impl Stack {
    fn base(&self) -> *mut u8 {
        self.bytes.get().cast()
    }

    fn is_last(&self, at: *mut u8, size: usize) -> bool {
        at.addr() + size == self.base().addr() + self.top.load(Relaxed)
    }

    /// Offset of room for so much, if there is any.
    fn room(&self, layout: Layout) -> Option<usize> {
        let base = self.base().addr();
        let start = (base + self.top.load(Relaxed)).checked_next_multiple_of(layout.align())? - base;
        let end = start.checked_add(layout.size()).filter(|end| *end <= SIZE)?;
        self.top.store(end, Relaxed);
        Some(start)
    }
}

// SAFETY: what is handed out lies within the array, is aligned, and overlaps nothing that was not given back.
unsafe impl GlobalAlloc for Stack {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let Some(start) = self.room(layout) else {
            return core::ptr::null_mut();
        };
        self.high.fetch_max(start + layout.size(), Relaxed);
        // SAFETY: within the array.
        unsafe { self.base().add(start) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let used = self.high.load(Relaxed);
        // SAFETY: the caller's.
        let at = unsafe { self.alloc(layout) };
        let start = at.addr().wrapping_sub(self.base().addr());
        if !at.is_null() && start < used {
            // SAFETY: just handed out, with at least that size.
            unsafe { at.write_bytes(0, layout.size().min(used - start)) };
        }
        at
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        if self.is_last(at, layout.size()) {
            self.top.fetch_sub(layout.size(), Relaxed);
        }
    }

    unsafe fn realloc(&self, at: *mut u8, old: Layout, size: usize) -> *mut u8 {
        if self.is_last(at, old.size()) {
            let start = self.top.load(Relaxed) - old.size();
            let Some(end) = start.checked_add(size).filter(|end| *end <= SIZE) else {
                return core::ptr::null_mut();
            };
            self.top.store(end, Relaxed);
            self.high.fetch_max(end, Relaxed);
            return at;
        }
        let Ok(new) = Layout::from_size_align(size, old.align()) else {
            return core::ptr::null_mut();
        };
        // SAFETY: both are good for the smaller of the two sizes and do not overlap.
        unsafe {
            let to = self.alloc(new);
            if !to.is_null() {
                to.copy_from_nonoverlapping(at, size.min(old.size()));
            }
            to
        }
    }
}

#[global_allocator]
static MEMORY: Stack = Stack {
    bytes: UnsafeCell::new([0; SIZE]),
    top: AtomicUsize::new(0),
    high: AtomicUsize::new(0),
};

/// The launcher sees the socket close, and treats it as the end of the run.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    crate::fork::exit_now(70)
}
