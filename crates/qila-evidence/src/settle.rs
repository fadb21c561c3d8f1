//! Before a commit: catches up with other processes, recovers what a crash left, and notices what was taken away.
use crate::dir;
use crate::error::LogError;
use crate::head::{self, Head, LENGTH, Tip};
use crate::leaf;
use crate::note::Checkpoint;
use crate::scan::{Found, MAX_TAIL, advance};
use crate::store::Store;
use crate::window::Window;
use qila_types::{Event, EventKind};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::time::{SystemTime, UNIX_EPOCH};

/// How the reason of a [`EventKind::Gap`] begins when records that were signed are gone.
pub(crate) const TRUNCATED: &str = "records were removed from the end of the log";

impl Store {
    /// Brings the tip to the log's end and returns what the log has to say about itself, encoded.
    ///
    /// At most one commit is ever not known to be on the disk: what others wrote is synced before anything is built on it.
    pub(crate) fn settle(&mut self) -> Result<Vec<Vec<u8>>, LogError> {
        let look = |e| LogError::io("look at the log", e);
        let replaced = self.reopen_if_replaced()?;
        let length = self.file.metadata().map_err(look)?.len();
        if !replaced && self.tip.end == length && length > 0 {
            return Ok(Vec::new());
        }
        let head = self.read_head()?;
        let synced = head.as_ref().map(|head| head.note.clone());
        // What this value saw committed has to be there still, as has what the hint's signature names.
        let mut signed: Vec<(Checkpoint, String)> = Vec::new();
        signed.extend(
            self.key
                .public()
                .open(&self.tip.note)
                .ok()
                .map(|c| (c, self.tip.note.clone())),
        );
        signed.extend(head.as_ref().map(|head| (head.checkpoint, head.note.clone())));
        let signed = signed.into_iter().max_by_key(|(checkpoint, _)| checkpoint.size);

        let found = self.catch_up(replaced, length, head, signed.as_ref())?;
        if found.torn > 0 {
            let missed = signed
                .as_ref()
                .is_some_and(|(c, _)| c.size > self.tip.frontier.size());
            if missed || found.lost.is_some() {
                self.keep_tail(found.torn)?;
            }
            self.file
                .set_len(self.tip.end)
                .map_err(|e| LogError::io("cut the torn tail", e))?;
        }
        let records = self.testimony(&found, signed)?;
        if self.tip.end > 0 && synced.as_deref() != Some(&self.tip.note) {
            if let Err(e) = self.sync() {
                self.break_down();
                return Err(LogError::io("make records durable", e));
            }
            self.hint();
        }
        Ok(records)
    }

    /// Moves the tip to the last checkpoint, beginning as near to it as can be trusted.
    fn catch_up(
        &mut self,
        replaced: bool,
        length: u64,
        head: Option<Head>,
        watch: Option<&(Checkpoint, String)>,
    ) -> Result<Found, LogError> {
        let mut window = Window::new(&self.file, 0, length);
        let mut tip = std::mem::take(&mut self.tip);
        if replaced || tip.end > length {
            tip = Tip::default();
        }
        if tip.end == 0
            && let Some(head) = head
        {
            let hinted = head
                .tip(&mut window)
                .map_err(|e| LogError::io("read the log", e))?;
            tip = hinted.unwrap_or_default();
        }
        let found = advance(&mut window, &mut tip, self.key.public(), watch);
        self.tip = tip;
        found
    }

    /// Events that the log records about itself.
    fn testimony(
        &self,
        found: &Found,
        signed: Option<(Checkpoint, String)>,
    ) -> Result<Vec<Vec<u8>>, LogError> {
        let size = self.tip.frontier.size();
        let mut events = Vec::new();
        if size == 0 {
            events.push(EventKind::LogOpened {
                version: env!("CARGO_PKG_VERSION").to_owned(),
            });
        }
        if found.torn > 0 {
            events.push(EventKind::LogRecovered {
                dropped_bytes: found.torn,
            });
        }
        if let Some((checkpoint, note)) = signed
            && (checkpoint.size > size || found.contradicted)
        {
            let what = if found.contradicted {
                "others are in the place of those signed in"
            } else {
                "signed was"
            };
            let reason = format!("{TRUNCATED} ({size} are there), {what}:\n{note}");
            events.push(EventKind::Gap {
                lost: checkpoint.size.saturating_sub(size),
                reason,
            });
        } else if let Some((checkpoint, note)) = &found.lost {
            // After a power cut the checkpoint of an unfinished commit may have reached the disk before its records.
            let reason = format!(
                "the torn tail held a checkpoint whose records cannot be read: an unfinished commit, or damage:\n{note}"
            );
            events.push(EventKind::Gap {
                lost: checkpoint.size.saturating_sub(size),
                reason,
            });
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let time_ms = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        let encode = |kind| {
            leaf::encode(&Event {
                time_ms,
                run: None,
                kind,
            })
        };
        let records: Option<Vec<Vec<u8>>> = events.into_iter().map(encode).collect();
        records.ok_or(LogError::TooLarge)
    }

    /// Keeps what is cut off, where it may have been more than an unfinished commit.
    fn keep_tail(&self, length: u64) -> Result<(), LogError> {
        let keep = |e| LogError::io("keep the damaged tail", e);
        let mut bytes = vec![0; usize::try_from(length.min(MAX_TAIL)).unwrap_or(0)];
        self.file.read_exact_at(&mut bytes, self.tip.end).map_err(keep)?;
        self.dir
            .replace(&format!("cut-{}", self.tip.end), "cut.new", &bytes)
            .map_err(keep)
    }

    fn read_head(&self) -> Result<Option<Head>, LogError> {
        let mut bytes = vec![0; LENGTH];
        let mut filled = 0;
        while let Some(free) = bytes.get_mut(filled..).filter(|b| !b.is_empty()) {
            match self.head.read_at(free, filled as u64) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(LogError::io("read head", e)),
            }
        }
        bytes.truncate(filled);
        Ok(head::decode(&bytes, self.key.public()))
    }

    /// An unlinked or exchanged file takes records that nobody would ever find: opens what has the name now.
    fn reopen_if_replaced(&mut self) -> Result<bool, LogError> {
        let open = |e| LogError::io("open the log", e);
        let mut replaced = false;
        for (name, file) in [(dir::LOG, &mut self.file), (dir::HEAD, &mut self.head)] {
            let ours = file.metadata().map(|m| (m.dev(), m.ino())).map_err(open)?;
            if self.dir.identity(name).map_err(open)? != Some(ours) {
                *file = self.dir.write(name).map_err(open)?;
                self.dir.sync().map_err(open)?;
                replaced |= name == dir::LOG;
            }
        }
        Ok(replaced)
    }
}
