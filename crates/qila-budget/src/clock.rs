//! What time it is, for windows.
use rustix::time::{ClockId, clock_gettime};

/// A moment, by two clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Which boot of the machine this is.
    pub boot: [u8; 16],
    /// Milliseconds since then, sleep included; nobody sets this clock.
    pub since_boot_ms: u64,
    /// Unix milliseconds, by a clock that anybody may have set.
    pub wall_ms: u64,
}

/// Tells the time.
pub trait Clock {
    /// The present.
    fn now(&self) -> Now;
}

/// The machine's clocks.
#[derive(Debug, Clone, Copy)]
pub struct SystemClock {
    boot: [u8; 16],
}

impl SystemClock {
    /// Learns which boot this is.
    pub fn new() -> std::io::Result<SystemClock> {
        let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).take(32).collect();
        let mut boot = [0u8; 16];
        for (byte, pair) in boot.iter_mut().zip(digits.chunks(2)) {
            let pair = std::str::from_utf8(pair).unwrap_or("00");
            *byte = u8::from_str_radix(pair, 16).unwrap_or(0);
        }
        Ok(SystemClock { boot })
    }
}

fn ms(clock: ClockId) -> u64 {
    let t = clock_gettime(clock);
    let seconds = u64::try_from(t.tv_sec).unwrap_or(0);
    let rest = u64::try_from(t.tv_nsec).unwrap_or(0) / 1_000_000;
    seconds.saturating_mul(1000).saturating_add(rest)
}

impl Clock for SystemClock {
    fn now(&self) -> Now {
        Now {
            boot: self.boot,
            since_boot_ms: ms(ClockId::Boottime),
            wall_ms: ms(ClockId::Realtime),
        }
    }
}
