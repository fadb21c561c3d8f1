//! Watching directories.
use super::look::{names, open};
use super::work::{Failed, Line, said};
use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::mem::MaybeUninit;
use qila_wire::served::{Answer, Change};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::fs::{FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;

/// Most directories under one watch.
const DIRECTORIES: usize = 8192;

struct Watched<'a> {
    inotify: OwnedFd,
    root: &'a [u8],
    recursive: bool,
    /// Path beneath the root, of each watch.
    places: BTreeMap<i32, Vec<u8>>,
}

fn failed(e: Errno) -> Failed {
    ("watching the directory", e)
}

fn join(place: &[u8], name: &[u8]) -> Vec<u8> {
    match place {
        b"" => name.to_vec(),
        _ => [place, b"/", name].concat(),
    }
}

impl Watched<'_> {
    /// Watches a directory and, if asked to, all beneath it. `told` is told of what is there already.
    fn add(&mut self, place: Vec<u8>, told: &mut dyn FnMut(&[u8])) -> Result<(), Errno> {
        let mut rest = vec![place];
        while let Some(place) = rest.pop() {
            if self.places.len() >= DIRECTORIES {
                return Err(Errno::NOSPC);
            }
            let path = match place.as_slice() {
                b"" => self.root.to_vec(),
                inner => [self.root, b"/", inner].concat(),
            };
            let dir = match open(&path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()) {
                Ok(dir) => dir,
                // It came and went.
                Err(Errno::NOENT | Errno::NOTDIR) if !place.is_empty() => continue,
                Err(e) => return Err(e),
            };
            // By its descriptor: what is watched is what was opened. Where that cannot be named, by its path.
            let by_fd = alloc::format!("/proc/self/fd/{}", dir.as_raw_fd());
            let flags = WatchFlags::CREATE
                | WatchFlags::MODIFY
                | WatchFlags::CLOSE_WRITE
                | WatchFlags::DELETE
                | WatchFlags::MOVED_FROM
                | WatchFlags::MOVED_TO
                | WatchFlags::ATTRIB
                | WatchFlags::DELETE_SELF
                | WatchFlags::ONLYDIR;
            let id = inotify::add_watch(&self.inotify, by_fd.as_str(), flags)
                .or_else(|_| inotify::add_watch(&self.inotify, path.as_slice(), flags))?;
            self.places.insert(id, place.clone());
            if !self.recursive {
                return Ok(());
            }
            for name in names(&dir)? {
                let inner = join(&place, &name);
                told(&inner);
                let is_dir = statat(&dir, name.as_slice(), rustix::fs::AtFlags::SYMLINK_NOFOLLOW)
                    .is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Directory);
                if is_dir
                    && openat(
                        &dir,
                        name.as_slice(),
                        OFlags::PATH | OFlags::CLOEXEC,
                        Mode::empty(),
                    )
                    .is_ok()
                {
                    rest.push(inner);
                }
            }
        }
        Ok(())
    }
}

/// Tells what happens, until nobody listens or the directory is gone.
pub(super) fn watch(line: &Line, path: &[u8], recursive: bool) -> Result<(), Failed> {
    let inotify = inotify::init(CreateFlags::CLOEXEC).map_err(failed)?;
    let mut watched = Watched {
        inotify,
        root: path,
        recursive,
        places: BTreeMap::new(),
    };
    watched.add(Vec::new(), &mut |_| ()).map_err(failed)?;
    said(line.say(&Answer::Done))?;
    loop {
        let heard = {
            let mut fds = [
                PollFd::new(&watched.inotify, PollFlags::IN),
                PollFd::new(&line.fd, PollFlags::IN),
            ];
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(e) => return Err(failed(e)),
            }
            let [events, gone] = &fds;
            if !gone.revents().is_empty() {
                return Ok(()); // nothing is ever said to a watch: whoever listened is gone
            }
            !events.revents().is_empty()
        };
        if heard && !tell(line, &mut watched)? {
            return Ok(());
        }
    }
}

/// Tells what has happened since. False: the watched directory is gone.
fn tell(line: &Line, watched: &mut Watched<'_>) -> Result<bool, Failed> {
    let mut space = vec![MaybeUninit::<u8>::uninit(); 16 * 1024];
    let mut found: Vec<(i32, ReadFlags, Vec<u8>)> = Vec::new();
    {
        let fd = rustix::io::fcntl_dupfd_cloexec(&watched.inotify, 3).map_err(failed)?;
        let mut reader = inotify::Reader::new(&fd, &mut space);
        loop {
            let event = reader.next().map_err(failed)?;
            let name = event
                .file_name()
                .map(|n| n.to_bytes().to_vec())
                .unwrap_or_default();
            found.push((event.wd(), event.events(), name));
            if reader.is_buffer_empty() {
                break;
            }
        }
    }
    for (id, flags, name) in found {
        if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
            return Err(failed(Errno::OVERFLOW));
        }
        let Some(place) = watched.places.get(&id).cloned() else {
            continue;
        };
        if flags.intersects(ReadFlags::IGNORED | ReadFlags::DELETE_SELF) {
            watched.places.remove(&id);
            if place.is_empty() {
                return Ok(false);
            }
            continue;
        }
        let path = join(&place, &name);
        let change = match flags {
            f if f.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO) => Change::Create,
            f if f.contains(ReadFlags::MODIFY) => Change::Write,
            f if f.contains(ReadFlags::DELETE) => Change::Remove,
            f if f.contains(ReadFlags::MOVED_FROM) => Change::Rename,
            f if f.contains(ReadFlags::ATTRIB) && !name.is_empty() => Change::Chmod,
            _ => continue,
        };
        said(line.say(&Answer::Changed {
            name: path.clone(),
            change,
        }))?;
        let new_dir = change == Change::Create && flags.contains(ReadFlags::ISDIR);
        if watched.recursive && new_dir {
            let mut there = Vec::new();
            watched
                .add(path, &mut |inner| there.push(inner.to_vec()))
                .map_err(failed)?;
            // Made before the watch was: told now.
            for name in there {
                said(line.say(&Answer::Changed {
                    name,
                    change: Change::Create,
                }))?;
            }
        }
    }
    Ok(true)
}
