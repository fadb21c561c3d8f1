//! The files of a log, used under the lock.
use crate::dir::{self, Dir};
use crate::error::LogError;
use crate::frame::{self, HEADER, Kind};
use crate::head::{self, Tip};
use crate::key;
use crate::log::Committed;
use crate::note::{Checkpoint, Key};
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Most bytes of record frames in one commit; more events than fit are committed in several.
pub const MAX_BATCH: usize = 4 << 20;

/// Open files and what was last known of them.
#[derive(Debug)]
pub struct Store {
    pub(crate) dir: Dir,
    pub(crate) file: File,
    pub(crate) head: File,
    pub(crate) key: Key,
    pub(crate) tip: Tip,
    /// A commit failed on its way to the disk: what the page cache holds proves nothing any more.
    broken: bool,
}

impl Store {
    /// Opens or makes the files.
    pub fn open(dir: Dir) -> Result<Store, LogError> {
        let key = key::load(&dir)?;
        let open = |name| dir.write(name).map_err(|e| LogError::io("open the log", e));
        let (file, head) = (open(dir::LOG)?, open(dir::HEAD)?);
        let key = match key {
            Some(key) => key,
            None => {
                let length = |f: &File| f.metadata().map(|m| m.len());
                let used = length(&file).and_then(|a| Ok(a + length(&head)?));
                if used.map_err(|e| LogError::io("look at the log", e))? > 0 {
                    return Err(LogError::KeyMissing);
                }
                // Syncs the directory after both files got their names in it.
                key::create(&dir)?
            }
        };
        let mut store = Store {
            dir,
            file,
            head,
            key,
            tip: Tip::default(),
            broken: false,
        };
        if store.file.metadata().map_or(0, |m| m.len()) == 0 {
            store
                .dir
                .sync()
                .map_err(|e| LogError::io("keep the log's name", e))?;
        }
        let found = store.settle()?;
        store.write(&found)?;
        Ok(store)
    }

    /// Appends records behind whatever other processes appended.
    pub fn commit(&mut self, records: &[Vec<u8>]) -> Result<Committed, LogError> {
        if self.broken {
            return Err(LogError::Broken);
        }
        let found = self.settle()?;
        self.write(&found)?;
        let first_index = self.tip.frontier.size();
        let mut rest = records;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = |record: &&Vec<u8>| {
                bytes += HEADER + record.len();
                bytes <= MAX_BATCH
            };
            let count = rest.iter().take_while(fits).count().max(1);
            let (batch, after) = rest.split_at(count);
            self.write(batch)?;
            rest = after;
        }
        Ok(Committed {
            first_index,
            size: self.tip.frontier.size(),
        })
    }

    /// One commit: the records, a checkpoint over all, one `fdatasync` for both.
    fn write(&mut self, records: &[Vec<u8>]) -> Result<(), LogError> {
        if records.is_empty() {
            return Ok(());
        }
        let mut frontier = self.tip.frontier.clone();
        let mut bytes = Vec::with_capacity(records.iter().map(|r| HEADER + r.len()).sum::<usize>() + 512);
        for record in records {
            let leaf = frame::put(&mut bytes, Kind::Record, frontier.size(), record);
            frontier.push(leaf);
        }
        let at = self.tip.end + bytes.len() as u64;
        let note = self.key.sign(&Checkpoint {
            size: frontier.size(),
            root: frontier.root(),
        });
        frame::put(&mut bytes, Kind::Checkpoint, frontier.size(), note.as_bytes());
        if let Err(e) = self.file.write_all_at(&bytes, self.tip.end) {
            self.cut();
            return Err(LogError::io("append to the log", e));
        }
        if let Err(e) = self.sync() {
            self.broken = true;
            self.cut();
            return Err(LogError::io("make records durable", e));
        }
        self.tip = Tip {
            at,
            end: self.tip.end + bytes.len() as u64,
            frontier,
            note,
        };
        self.hint();
        Ok(())
    }

    /// Writes the hint. That it fails costs the next opening time, and nothing else.
    pub(crate) fn hint(&self) {
        let _ = self.head.write_all_at(&head::encode(&self.tip), 0);
    }

    /// Takes an unfinished commit away; where that fails too, the next opening does it.
    fn cut(&self) {
        let _ = self.file.set_len(self.tip.end);
    }

    /// Waits for the disk.
    pub(crate) fn sync(&self) -> Result<(), rustix::io::Errno> {
        rustix::io::retry_on_intr(|| rustix::fs::fdatasync(&self.file))
    }

    /// Remembers that the disk failed.
    pub(crate) fn break_down(&mut self) {
        self.broken = true;
    }
}
