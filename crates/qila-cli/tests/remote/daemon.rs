//! A daemon, and what is asked of it.
use crate::common::{Place, Who, err, out};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

/// A daemon, the place it has, and its first key.
pub struct Daemon {
    pub place: Place,
    pub child: Child,
    pub address: String,
    pub key: String,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn serve(place: &Place, listen: &str) -> (Child, String) {
    serve_with(place, &["--listen", listen])
}

/// One that serves in the clear or over TLS, and its address.
pub fn serve_with(place: &Place, args: &[&str]) -> (Child, String) {
    let (child, url) = crate::serve::start(place, args);
    let (scheme, address) = url.split_once("://").unwrap();
    assert!(matches!(scheme, "http" | "https"), "{url}");
    (child, address.to_owned())
}

impl Daemon {
    pub fn start() -> Daemon {
        let place = Place::new(Who::Me);
        let (child, address) = serve(&place, "127.0.0.1:0");
        Daemon::of(place, child, address)
    }

    /// One that was started, for the first time in its place.
    pub fn of(place: Place, mut child: Child, address: String) -> Daemon {
        let mut printed = BufReader::new(child.stdout.take().unwrap()).lines();
        let key = loop {
            let line = printed.next().unwrap().unwrap();
            if let Some(key) = line.strip_prefix("export E2B_API_KEY=") {
                break key.to_owned();
            }
        };
        Daemon {
            place,
            child,
            address,
            key,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `qila` for this daemon.
    pub fn qila(&self, args: &[&str]) -> Command {
        let mut command = self.place.qila(args);
        command
            .env("QILA_HOST", self.url())
            .env("QILA_API_KEY", &self.key);
        command
    }

    pub fn done(&self, args: &[&str]) -> Output {
        self.qila(args).output().unwrap()
    }

    /// What it prints; it must succeed.
    pub fn said(&self, args: &[&str]) -> String {
        let done = self.done(args);
        assert!(done.status.success(), "{args:?}: {}", err(&done));
        out(&done).trim_end().to_owned()
    }

    /// As JSON, one value a line.
    pub fn json(&self, args: &[&str]) -> Vec<Value> {
        let said = self.said(args);
        said.lines().map(|l| serde_json::from_str(l).unwrap()).collect()
    }

    pub fn create(&self) -> String {
        self.said(&["sandbox", "create"])
    }

    /// Nothing is left on it; what is being ended has a moment.
    pub fn is_empty(&self) {
        let end = Instant::now() + Duration::from_secs(10);
        loop {
            let left = self.said(&["ps", "--json"]);
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < end, "left behind: {left}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

pub fn code(done: &Output) -> i32 {
    done.status.code().unwrap()
}

pub fn wait(child: &mut Child, most: Duration) -> i32 {
    let end = Instant::now() + most;
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code().unwrap_or(-1);
        }
        if Instant::now() > end {
            let _ = child.kill();
            panic!("it does not end");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn signal(child: &Child, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_child(child), signal).unwrap();
}
