//! The peers: nginx and mitmproxy between the same client and the same origin, with the same certificate and the same work.
use std::fs::File;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::keys::{HOST, Keys};
use super::origin::SECRET;
use crate::report::Missing;
use crate::scratch::find;

/// Longest time that a peer may take to listen.
const START: Duration = Duration::from_secs(20);
/// Longest time that a peer may take to end.
const END: Duration = Duration::from_secs(3);

/// A peer that runs. It ends with this.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Drop for Peer {
    fn drop(&mut self) {
        // Its workers end with it if it is asked, and would outlive it if it were killed.
        let asked = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let _ = asked.map(|pid| kill_process(pid, Signal::TERM));
        let start = Instant::now();
        while start.elapsed() < END {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// nginx as a reverse proxy: TLS at both ends, the upstream's certificate verified, its connections kept, the credential placed
/// by it, an access log as it comes from Debian; a worker for each core.
pub fn nginx(folder: &Path, keys: &Keys, origin: SocketAddr, cores: usize) -> Result<Peer, Missing> {
    let program = find("nginx").ok_or_else(|| Missing::Absent("nginx is not installed".to_owned()))?;
    let port = free()?;
    let here = folder.display();
    let user = if rustix::process::geteuid().is_root() {
        "user root;"
    } else {
        ""
    };
    let text = format!(
        "daemon off; {user} worker_processes {cores}; pid {here}/nginx.pid; error_log {here}/nginx.error; \
         worker_rlimit_nofile 8192;\n\
         events {{ worker_connections 4096; }}\n\
         http {{\n\
         access_log {here}/nginx.access;\n\
         client_body_temp_path {here}/b; proxy_temp_path {here}/p; fastcgi_temp_path {here}/f; uwsgi_temp_path {here}/u; scgi_temp_path {here}/s;\n\
         keepalive_requests 100000000; keepalive_timeout 300s;\n\
         upstream origin {{ server {origin}; keepalive 256; keepalive_requests 100000000; }}\n\
         server {{\n\
         listen 127.0.0.1:{port} ssl backlog=4096; server_name {HOST};\n\
         ssl_certificate {}; ssl_certificate_key {}; ssl_protocols TLSv1.3; ssl_session_cache off;\n\
         location / {{\n\
         proxy_pass https://origin; proxy_http_version 1.1; proxy_set_header Connection \"\"; proxy_set_header Host {HOST};\n\
         proxy_set_header Authorization \"Bearer {SECRET}\"; proxy_buffering off;\n\
         proxy_ssl_protocols TLSv1.3; proxy_ssl_server_name on; proxy_ssl_name {HOST}; proxy_ssl_verify on; proxy_ssl_trusted_certificate {};\n\
         }} }} }}\n",
        keys.certificate.display(),
        keys.key.display(),
        keys.authority.display()
    );
    let path = folder.join("nginx.conf");
    std::fs::write(&path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    let mut command = Command::new(program);
    // The error log of the program's own folder is opened before the configuration is read.
    command
        .arg("-c")
        .arg(&path)
        .arg("-p")
        .arg(folder)
        .arg("-e")
        .arg(folder.join("nginx.error"));
    start("nginx", command, folder, port)
}

/// mitmproxy in reverse mode: it replaces the credential and verifies the upstream.
pub fn mitmproxy(folder: &Path, keys: &Keys, origin: SocketAddr) -> Result<Peer, Missing> {
    let program = std::env::var_os("QILA_BENCH_MITMDUMP")
        .map(PathBuf::from)
        .or_else(|| find("mitmdump"));
    let program = program.ok_or_else(|| Missing::Absent("mitmproxy is not installed".to_owned()))?;
    let port = free()?;
    let mut command = Command::new(program);
    command.args(["-q", "--mode", &format!("reverse:https://{origin}")]);
    command.args(["--listen-host", "127.0.0.1", "-p", &port.to_string()]);
    for setting in [
        format!("confdir={}", folder.join("mitmproxy").display()),
        format!("certs=*={}", keys.both.display()),
        format!("ssl_verify_upstream_trusted_ca={}", keys.authority.display()),
        format!("modify_headers=/~q/authorization/Bearer {SECRET}"),
        "http2=false".to_owned(),
        "flow_detail=0".to_owned(),
        // Else it buffers a whole answer before it sends the first byte.
        "stream_large_bodies=1".to_owned(),
    ] {
        command.args(["--set", &setting]);
    }
    start("mitmproxy", command, folder, port)
}

fn start(name: &'static str, mut command: Command, folder: &Path, port: u16) -> Result<Peer, Missing> {
    let log = folder.join(format!("{name}.out"));
    let file = File::create(&log).map_err(|error| error.to_string())?;
    let copy = file.try_clone().map_err(|error| error.to_string())?;
    command.stdin(Stdio::null()).stdout(file).stderr(copy);
    let child = command
        .spawn()
        .map_err(|error| Missing::Absent(format!("{name} does not start: {error}")))?;
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut peer = Peer { child, address };
    let began = Instant::now();
    // A peer that does not work here is skipped; only Qila's own failures fail the table.
    let absent = |why: &str| {
        let text = std::fs::read_to_string(&log).unwrap_or_default();
        let last = text
            .lines()
            .rev()
            .find(|line| !line.trim().is_empty())
            .unwrap_or("it said nothing");
        Missing::Absent(format!(
            "{name} {why}: {}",
            last.chars().take(160).collect::<String>()
        ))
    };
    while TcpStream::connect(address).is_err() {
        if !matches!(peer.child.try_wait(), Ok(None)) {
            return Err(absent("ended"));
        }
        if began.elapsed() > START {
            return Err(absent("does not listen"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(peer)
}

/// A port that nobody has now.
fn free() -> Result<u16, String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(|error| error.to_string())?;
    listener
        .local_addr()
        .map(|address| address.port())
        .map_err(|error| error.to_string())
}
