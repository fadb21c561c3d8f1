//! A run's directory and a workspace, with tools to play the agent.
#![allow(
    dead_code,
    missing_docs,
    reason = "shared by test programs that each use a part"
)]
use qila_workspace::{Change, Changes, RunLayer, Style, remove_tree, write_diff, write_stat};
use rustix::fd::OwnedFd;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

pub struct Bed {
    pub dir: tempfile::TempDir,
    pub run: PathBuf,
    pub work: PathBuf,
    pub upper: PathBuf,
}

pub fn fd(path: &Path) -> OwnedFd {
    rustix::fs::openat(
        CWD,
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .unwrap()
}

pub fn node(path: &Path, kind: FileType) {
    mknodat(CWD, path, kind, Mode::RUSR, 0).unwrap();
}

pub fn whiteout(path: &Path) {
    node(path, FileType::CharacterDevice);
}

pub fn set_attribute(path: &Path, name: &str, value: &[u8]) {
    rustix::fs::setxattr(path, name, value, rustix::fs::XattrFlags::empty()).unwrap();
}

/// Long enough for the next file time to be a later one.
pub fn tick() {
    std::thread::sleep(std::time::Duration::from_millis(25));
}

impl Bed {
    /// A workspace with these files, and a run that has just begun.
    pub fn new(files: &[(&str, &str)]) -> Bed {
        let dir = tempfile::tempdir().unwrap();
        let (run, work) = (dir.path().join("run"), dir.path().join("ws"));
        fs::create_dir(&run).unwrap();
        fs::create_dir(&work).unwrap();
        for (path, text) in files {
            fs::create_dir_all(work.join(path).parent().unwrap()).unwrap();
            fs::write(work.join(path), text).unwrap();
        }
        RunLayer::prepare(fd(&run), fd(&work)).unwrap();
        let upper = run.join("layer/upper");
        tick();
        Bed {
            dir,
            run,
            work,
            upper,
        }
    }

    pub fn open(&self) -> RunLayer {
        RunLayer::open(fd(&self.run), fd(&self.work)).unwrap()
    }

    /// Writes a file as the agent would have left it.
    pub fn agent(&self, path: impl AsRef<Path>, text: impl AsRef<[u8]>) {
        let path = self.upper.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn changes(&self) -> Changes {
        self.open().changes().unwrap()
    }

    pub fn change(&self, path: &str) -> Change {
        self.changes()
            .entries
            .into_iter()
            .find(|c| c.path == Path::new(path))
            .unwrap_or_else(|| panic!("{path}"))
    }

    pub fn diff(&self, style: Style) -> Vec<u8> {
        let (run, mut out) = (self.open(), Vec::new());
        write_diff(run.layer(), &run.changes().unwrap(), style, &mut out).unwrap();
        out
    }

    pub fn stat(&self) -> String {
        let (run, mut out) = (self.open(), Vec::new());
        write_stat(run.layer(), &run.changes().unwrap(), Style::default(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.work.join(path)).unwrap()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        for name in ["run", "ws", "merged"] {
            let _ = remove_tree(fd(self.dir.path()), OsStr::new(name));
        }
    }
}
