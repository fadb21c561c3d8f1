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

/// Memory for everything that a guest ever holds: its orders, what programs said and nobody took yet, and little else.
/// Untouched pages cost nothing.
const SIZE: usize = 64 << 20;

/// Smallest block, as a power of two.
const SMALLEST: u32 = 5;
/// Sizes of blocks: powers of two up to the whole.
const SIZES: usize = 22;

/// Blocks of powers of two. One that is given back waits for the next that is wanted of its size: a guest that has done
/// everything once needs no more memory ever after.
struct Blocks {
    bytes: UnsafeCell<[u8; SIZE]>,
    /// What lies beyond was never used, and is zero.
    top: AtomicUsize,
    /// Of each size, the first block that waits, its place plus one; in it lies the next.
    waiting: [AtomicUsize; SIZES],
}

// SAFETY: a guest has one thread.
unsafe impl Sync for Blocks {}

/// Which size holds so much; none if no block does.
fn size_of_block(layout: Layout) -> Option<(usize, usize)> {
    let least = layout.size().max(layout.align()).max(1 << SMALLEST);
    let size = least.checked_next_power_of_two().filter(|size| *size <= SIZE)?;
    let class = usize::try_from(size.trailing_zeros() - SMALLEST).ok()?;
    (class < SIZES).then_some((class, size))
}

impl Blocks {
    fn base(&self) -> *mut u8 {
        self.bytes.get().cast()
    }

    /// A block that waits, if there is one of this size.
    fn again(&self, class: usize) -> Option<*mut u8> {
        let waiting = self.waiting.get(class)?;
        let at = waiting.load(Relaxed).checked_sub(1)?;
        // SAFETY: a block that was handed out with at least 32 bytes, aligned to its size, and given back.
        let block = unsafe { self.base().add(at) };
        // SAFETY: the same; its first word was written when it was given back.
        waiting.store(unsafe { block.cast::<usize>().read() }, Relaxed);
        Some(block)
    }

    /// A block that was never used, aligned to its size up to a page.
    fn fresh(&self, size: usize) -> Option<*mut u8> {
        let base = self.base().addr();
        let align = size.min(4096);
        let start = (base + self.top.load(Relaxed)).checked_next_multiple_of(align)? - base;
        let end = start.checked_add(size).filter(|end| *end <= SIZE)?;
        self.top.store(end, Relaxed);
        // SAFETY: within the array.
        Some(unsafe { self.base().add(start) })
    }
}

// SAFETY: what is handed out lies within the array, is aligned, and overlaps nothing that was not given back.
unsafe impl GlobalAlloc for Blocks {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match size_of_block(layout) {
            Some((class, size)) if layout.align() <= 4096 => self
                .again(class)
                .or_else(|| self.fresh(size))
                .unwrap_or(core::ptr::null_mut()),
            _ => core::ptr::null_mut(),
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        let used = self.top.load(Relaxed);
        // SAFETY: the caller's.
        let at = unsafe { self.alloc(layout) };
        if !at.is_null() && at.addr() < self.base().addr() + used {
            // SAFETY: just handed out, with at least that size.
            unsafe { at.write_bytes(0, layout.size()) };
        }
        at
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        let Some(waiting) = size_of_block(layout).and_then(|(class, _)| self.waiting.get(class)) else {
            return;
        };
        let first = waiting.load(Relaxed);
        // SAFETY: a block of at least 32 bytes, aligned to its size, which nobody uses any more.
        unsafe { at.cast::<usize>().write(first) };
        waiting.store(at.addr() - self.base().addr() + 1, Relaxed);
    }

    unsafe fn realloc(&self, at: *mut u8, old: Layout, size: usize) -> *mut u8 {
        let Ok(new) = Layout::from_size_align(size, old.align()) else {
            return core::ptr::null_mut();
        };
        if size_of_block(new) == size_of_block(old) {
            return at;
        }
        // SAFETY: both are good for the smaller of the two sizes and do not overlap.
        unsafe {
            let to = self.alloc(new);
            if !to.is_null() {
                to.copy_from_nonoverlapping(at, size.min(old.size()));
                self.dealloc(at, old);
            }
            to
        }
    }
}

#[global_allocator]
static MEMORY: Blocks = Blocks {
    bytes: UnsafeCell::new([0; SIZE]),
    top: AtomicUsize::new(0),
    waiting: [const { AtomicUsize::new(0) }; SIZES],
};

/// The launcher sees the socket close, and treats it as the end of the run.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    crate::fork::exit_now(70)
}
