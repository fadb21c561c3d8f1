//! What a run left to judge: its output, what the host saw meanwhile, and what remains.

/// The host's own counts while a program ran, by the unique name of its processes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Peak {
    /// Processes at once, zombies included.
    pub processes: usize,
    /// Zombies in the last sample in which any process lived.
    pub zombies_at_end: usize,
    /// Resident memory of all of them, in KiB.
    pub resident_kib: u64,
    /// Open descriptors of one process.
    pub descriptors: usize,
}

/// The outcome of one run.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Exit code; none if it was ended.
    pub code: Option<i32>,
    /// Whether the harness had to end it.
    pub timed_out: bool,
    /// Standard output, its first part.
    pub stdout: Vec<u8>,
    /// All bytes of standard output, counted.
    pub stdout_total: u64,
    /// Standard error, its first part.
    pub stderr: Vec<u8>,
    /// What the commands afterwards printed.
    pub after: Vec<u8>,
    /// Counts.
    pub peak: Peak,
    /// Processes that were still there a while after the launcher had ended.
    pub left: usize,
}

fn find(haystack: &[u8], needle: &[u8]) -> bool {
    !needle.is_empty() && haystack.windows(needle.len()).any(|w| w == needle)
}

impl Outcome {
    /// Whether the text came out on any channel.
    pub fn shows(&self, text: &str) -> bool {
        find(&self.stdout, text.as_bytes()) || find(&self.stderr, text.as_bytes())
    }

    /// Whether the bytes came out of a command run afterwards.
    pub fn after_shows(&self, bytes: &[u8]) -> bool {
        find(&self.after, bytes) || find(&self.stderr, bytes)
    }

    /// The program's first claim of success.
    pub fn claim(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.stdout);
        text.lines()
            .find(|l| l.starts_with("GOT "))
            .map(|l| format!("claims: {}", &l.chars().skip(4).collect::<String>()))
    }

    /// The number that a flood says it reached.
    pub fn made(&self) -> Option<u64> {
        let text = String::from_utf8_lossy(&self.stdout);
        text.lines()
            .rev()
            .find_map(|l| l.trim().strip_prefix("MADE ")?.parse().ok())
    }

    /// Why the launcher says that nothing ran.
    pub fn refusal(&self) -> Option<String> {
        let code = self.code.filter(|c| matches!(c, 125..=127 | 64))?;
        let text = String::from_utf8_lossy(&self.stderr);
        let line = text
            .lines()
            .map(str::trim)
            .find(|l| !l.is_empty())
            .unwrap_or("no message");
        Some(format!(
            "exit {code}: {}",
            line.chars().take(300).collect::<String>()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_and_counts_are_read() {
        let mut o = Outcome {
            stdout: b"ATTEMPT x: ok\nGOT y\nMADE 12\n".to_vec(),
            ..Outcome::default()
        };
        assert_eq!(o.claim().as_deref(), Some("claims: y"));
        assert_eq!(o.made(), Some(12));
        assert!(o.shows("GOT y") && !o.shows("GOT z") && !o.shows(""));
        o.stdout = b"NOT GOT y\n".to_vec();
        assert_eq!(o.claim(), None);
    }

    #[test]
    fn only_the_launchers_codes_are_refusals() {
        let with = |code| {
            Outcome {
                code: Some(code),
                stderr: b"\n why\n".to_vec(),
                ..Outcome::default()
            }
            .refusal()
        };
        assert_eq!(with(125).as_deref(), Some("exit 125: why"));
        assert_eq!(with(1), None);
        assert_eq!(with(0), None);
    }
}
