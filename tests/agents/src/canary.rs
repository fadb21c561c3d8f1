//! The key that must never be inside, a decoy that is inside on purpose, and the search for both.
//!
//! The decoy is the twin of every "the key is nowhere": a search that does not find the decoy proves nothing.
use memchr::memmem::Finder;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// Most bytes that are read of one memory mapping or one file.
const MAX_AREA: u64 = 1 << 30;
const BLOCK: usize = 1 << 20;

/// A random secret in the shape `fixtures/probe.py` looks for.
#[derive(Clone)]
pub struct Key(String);

impl Key {
    /// A new one.
    pub fn random() -> Key {
        let mut bytes = [0; 24];
        getrandom::fill(&mut bytes).unwrap();
        let hex: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
        Key(format!("sk-real-{hex}"))
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The name under which the probe reports it, without holding it.
    pub fn digest(&self) -> String {
        use sha2::Digest;
        sha2::Sha256::digest(&self.0)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect()
    }

    /// Every form that is searched for: plain, hexadecimal, base64 in its three alignments.
    fn forms(&self) -> Vec<Vec<u8>> {
        let raw = self.0.as_bytes();
        let hex: String = raw.iter().map(|b| format!("{b:02x}")).collect();
        let mut forms = vec![raw.to_vec(), hex.into_bytes()];
        forms.extend((0..3).map(|skip| base64(&raw[skip..])));
        forms
    }
}

/// The part of a base64 text that is the same wherever `raw` begins on a three-byte boundary.
fn base64(raw: &[u8]) -> Vec<u8> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let quads = raw.chunks_exact(3).flat_map(|c| {
        let n = u32::from(c[0]) << 16 | u32::from(c[1]) << 8 | u32::from(c[2]);
        [18, 12, 6, 0].map(|shift| ALPHABET[(n >> shift & 63) as usize])
    });
    quads.collect()
}

/// Finds a key's forms in anything.
pub struct Search(Vec<Finder<'static>>);

impl Search {
    /// A search for this key.
    pub fn of(key: &Key) -> Search {
        Search(
            key.forms()
                .into_iter()
                .map(|f| Finder::new(&f).into_owned())
                .collect(),
        )
    }

    /// Whether the bytes hold the key in some form.
    pub fn hits(&self, bytes: &[u8]) -> bool {
        self.0.iter().any(|f| f.find(bytes).is_some())
    }

    /// Every file beneath `root` that holds it, in its content, its name or its target.
    pub fn beneath(&self, root: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut todo = vec![root.to_owned()];
        while let Some(path) = todo.pop() {
            let name = path.as_os_str().as_encoded_bytes();
            let Ok(meta) = path.symlink_metadata() else {
                continue;
            };
            let hit = if meta.is_symlink() {
                std::fs::read_link(&path).is_ok_and(|t| self.hits(t.as_os_str().as_encoded_bytes()))
            } else if meta.is_file() {
                let mut content = Vec::new();
                let file = File::open(&path).and_then(|f| f.take(MAX_AREA).read_to_end(&mut content));
                file.is_ok() && self.hits(&content)
            } else {
                todo.extend(
                    std::fs::read_dir(&path)
                        .into_iter()
                        .flatten()
                        .flatten()
                        .map(|e| e.path()),
                );
                false
            };
            if hit || self.hits(name) {
                found.push(path);
            }
        }
        found
    }
}

/// What a look at the sandboxes' processes from outside gave.
#[derive(Debug, Clone, Default)]
pub struct Sight {
    /// Processes in other process namespaces whose memory was read, by name.
    pub read: BTreeMap<u32, String>,
    /// Those whose memory could not be read.
    pub unread: BTreeMap<u32, String>,
    /// Processes that hold the key.
    pub key: BTreeMap<u32, String>,
    /// Processes that hold the decoy.
    pub decoy: BTreeMap<u32, String>,
}

impl Sight {
    /// Adds another look.
    pub fn merge(&mut self, other: Sight) {
        self.read.extend(other.read);
        self.unread.extend(other.unread);
        self.key.extend(other.key);
        self.decoy.extend(other.decoy);
    }
}

/// Reads the memory, environment and arguments of every process in another process namespace than ours.
pub fn look(key: &Search, decoy: &Search) -> Sight {
    let mut sight = Sight::default();
    let own = std::fs::read_link("/proc/self/ns/pid").unwrap();
    for pid in pids() {
        let dir = PathBuf::from(format!("/proc/{pid}"));
        let Ok(namespace) = std::fs::read_link(dir.join("ns/pid")) else {
            continue;
        };
        if namespace == own {
            continue;
        }
        let name = std::fs::read_to_string(dir.join("comm"))
            .unwrap_or_default()
            .trim()
            .to_owned();
        let Some((has_key, has_decoy)) = memory(&dir, key, decoy) else {
            // A process that ended meanwhile is no longer there to be read.
            if dir.join("exe").read_link().is_ok() {
                sight.unread.insert(pid, name);
            }
            continue;
        };
        if has_key {
            sight.key.insert(pid, name.clone());
        }
        if has_decoy {
            sight.decoy.insert(pid, name.clone());
        }
        sight.read.insert(pid, name);
    }
    sight
}

/// Processes that still carry the decoy in their environment.
pub fn survivors(decoy: &Search) -> Vec<u32> {
    let has = |pid: &u32| std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|e| decoy.hits(&e));
    pids().into_iter().filter(has).collect()
}

fn pids() -> Vec<u32> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    all.filter_map(|e| e.file_name().to_str()?.parse().ok()).collect()
}

fn memory(dir: &Path, key: &Search, decoy: &Search) -> Option<(bool, bool)> {
    let maps = std::fs::read_to_string(dir.join("maps")).ok()?;
    let memory = File::open(dir.join("mem")).ok()?;
    let (mut has_key, mut has_decoy, mut any) = (false, false, false);
    let mut block = vec![0; BLOCK];
    for line in maps.lines() {
        let Some((mut at, end)) = readable(line) else {
            continue;
        };
        let end = end.min(at.saturating_add(MAX_AREA));
        // Blocks overlap by more than the longest form, so that none is missed between two.
        while at < end {
            let want = usize::try_from(end - at).unwrap().min(BLOCK);
            let Ok(n @ 1..) = memory.read_at(&mut block[..want], at) else {
                break;
            };
            any = true;
            has_key |= key.hits(&block[..n]);
            has_decoy |= decoy.hits(&block[..n]);
            at += if n > 512 && at + (n as u64) < end {
                n as u64 - 256
            } else {
                n as u64
            };
        }
    }
    any.then_some((has_key, has_decoy))
}

/// The address range of a line of `maps`, if it is readable and can hold what the process was given: files that are
/// mapped read only and unchanged are the host's own.
fn readable(line: &str) -> Option<(u64, u64)> {
    let mut fields = line.split_ascii_whitespace();
    let (range, permissions) = (fields.next()?, fields.next()?);
    let file = fields.nth(3).is_some_and(|f| f.starts_with('/'));
    if !permissions.starts_with('r') || (file && !permissions.contains('w')) || line.ends_with("[vvar]") {
        return None;
    }
    let (from, to) = range.split_once('-')?;
    Some((
        u64::from_str_radix(from, 16).ok()?,
        u64::from_str_radix(to, 16).ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_key_is_found_and_another_key_is_not() {
        let (key, other) = (Key::random(), Key::random());
        let search = Search::of(&key);
        let wrapped: Vec<Vec<u8>> = ["", "x", "xy"]
            .map(|lead| base64(format!("{lead}user:{}   ", key.expose()).as_bytes()))
            .into_iter()
            .chain([format!("a{}b", key.expose()).into_bytes()])
            .collect();
        for text in wrapped {
            assert!(search.hits(&text), "{}", String::from_utf8_lossy(&text));
            assert!(!Search::of(&other).hits(&text));
        }
    }

    #[test]
    fn files_names_and_links_are_searched() {
        let (temp, key) = (tempfile::tempdir().unwrap(), Key::random());
        let search = Search::of(&key);
        std::fs::create_dir(temp.path().join("clean")).unwrap();
        assert!(search.beneath(temp.path()).is_empty());
        std::fs::write(temp.path().join("clean/content"), key.expose()).unwrap();
        std::fs::write(temp.path().join(key.expose()), "").unwrap();
        std::os::unix::fs::symlink(key.expose(), temp.path().join("link")).unwrap();
        assert_eq!(search.beneath(temp.path()).len(), 3);
    }

    #[test]
    fn own_memory_is_readable_and_holds_what_it_holds() {
        let (held, absent) = (Key::random(), Key::random());
        let search = Search::of(&absent);
        // `search` itself holds the forms of `absent` in this very process: the plain form is found.
        let (key, decoy) = memory(Path::new("/proc/self"), &Search::of(&held), &search).unwrap();
        assert!(key && decoy);
        assert_eq!(readable("7f00-7f10 r--p 00000000 00:00 0 /usr/lib/x.so"), None);
        assert_eq!(readable("7f00-7f10 ---p 00000000 00:00 0 "), None);
        assert_eq!(
            readable("7f00-7f10 rw-p 00000000 00:00 0 [heap]"),
            Some((0x7f00, 0x7f10))
        );
    }
}
