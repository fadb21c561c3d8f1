//! Which process something belongs to, told apart from another that has its number later.

/// This process, as [`alive`] reads it.
pub(crate) fn this() -> String {
    let pid = std::process::id();
    format!("{pid} {} {}", started(pid).unwrap_or_default(), boot())
}

/// Whether the process is there.
pub(crate) fn alive(owner: &str) -> bool {
    let mut parts = owner.split(' ');
    let (Some(pid), Some(start), Some(at)) = (
        parts.next().and_then(|p| p.parse().ok()),
        parts.next(),
        parts.next(),
    ) else {
        return false;
    };
    at == boot() && started(pid).is_some_and(|now| now == start)
}

/// When a process was started, in ticks since the machine was.
fn started(pid: u32) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; the start is the twentieth field after it (proc_pid_stat(5)).
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace();
    let dead = matches!(fields.next()?, "Z" | "X");
    if dead {
        None
    } else {
        fields.nth(18).map(str::to_owned)
    }
}

fn boot() -> String {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    id.trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_alive_and_no_other_passes_for_it() {
        let me = this();
        assert!(alive(&me), "{me}");
        let mut parts: Vec<_> = me.split(' ').collect();
        assert_eq!(parts.len(), 3);
        parts[1] = "1";
        assert!(!alive(&parts.join(" ")));
        assert!(!alive(""));
    }
}
