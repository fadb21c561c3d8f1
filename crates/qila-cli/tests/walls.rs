//! Attacks that claim to break a promise, judged from outside by a random canary, each with a twin that must succeed.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure here is the test's"
)]
mod common;
use common::{err, everywhere, out};
use std::os::linux::net::SocketAddrExt;

fn canary() -> String {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/uuid").unwrap();
    text.trim().to_owned()
}

#[test]
fn hidden_and_unnamed_files_are_not_read() {
    everywhere(|place, tier| {
        let secret = canary();
        let hidden = place.write("ws/hidden", &secret);
        let unnamed = place.write("home/secret", &secret);
        let policy = place.write(
            "hide.yaml",
            "version: 1\nextends: offline\nfilesystem:\n  hide: [./hidden]\n",
        );
        let (hidden, unnamed) = (hidden.to_str().unwrap(), unnamed.to_str().unwrap());
        let script = format!(
            "cat {hidden} {unnamed}; cat /proc/self/root{hidden} /proc/1/root{hidden} /proc/1/root{unnamed}; \
             ln hidden hard; cat hard; ln -s {unnamed} soft; cat soft; mv hidden moved; cat moved; \
             for fd in /proc/*/fd/*; do case $(readlink $fd) in *hidden*|*secret*) cat $fd;; esac; done; \
             cp -r . /tmp/copy; grep -r . /tmp/copy; true"
        );
        let output = place.sh(policy.to_str().unwrap(), tier, &script);
        assert!(
            !out(&output).contains(&secret) && !err(&output).contains(&secret),
            "{}",
            out(&output)
        );
        let twin = place.sh("offline", tier, &format!("cat {hidden}"));
        assert!(out(&twin).contains(&secret), "{}", err(&twin));
    });
}

#[test]
fn nothing_outside_is_written() {
    everywhere(|place, tier| {
        let outside = place.write("home/outside", "before");
        let before = std::fs::read("/proc/sys/kernel/core_pattern").unwrap();
        let script = format!(
            "echo x > {0}; echo x > /proc/1/root{0}; echo x > /usr/qila-canary; echo x > /etc/qila-canary; \
             echo '|/x' > /proc/sys/kernel/core_pattern; echo b > /proc/sysrq-trigger; mount -o remount,rw /usr; \
             umount {0}; mount -t tmpfs none /usr; mknod /tmp/mem c 1 1; chmod u+s $(command -v sh); true",
            outside.to_str().unwrap()
        );
        place.sh("offline", tier, &script);
        assert_eq!(std::fs::read_to_string(&outside).unwrap(), "before");
        assert_eq!(std::fs::read("/proc/sys/kernel/core_pattern").unwrap(), before);
        assert!(
            !std::path::Path::new("/usr/qila-canary").exists()
                && !std::path::Path::new("/etc/qila-canary").exists()
        );
        let twin = format!(
            "version: 1\nextends: offline\nfilesystem:\n  write: [{}]\n",
            outside.to_str().unwrap()
        );
        let twin = place.write("write.yaml", &twin);
        let output = place.sh(
            twin.to_str().unwrap(),
            tier,
            &format!("echo after > {}", outside.to_str().unwrap()),
        );
        assert_eq!(
            std::fs::read_to_string(&outside).unwrap(),
            "after\n",
            "{}",
            err(&output)
        );
    });
}

#[test]
fn no_packet_and_no_host_socket_is_reached() {
    everywhere(|place, tier| {
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let name = format!("qila-{}", canary());
        let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
        let abstract_socket = std::os::unix::net::UnixListener::bind_addr(&address).unwrap();
        let path = place.path("home/socket");
        let named = std::os::unix::net::UnixListener::bind(&path).unwrap();
        tcp.set_nonblocking(true).unwrap();
        udp.set_nonblocking(true).unwrap();
        abstract_socket.set_nonblocking(true).unwrap();
        named.set_nonblocking(true).unwrap();
        let script = format!(
            "import socket, sys\ndef t(f):\n  try: f(); print('DONE')\n  except OSError as e: print('no', e)\n\
             t(lambda: socket.create_connection(('127.0.0.1', {0}), 2))\n\
             if sys.argv[1:]: t(lambda: socket.create_connection(('169.254.169.254', 80), 2))\n\
             t(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', {1})))\n\
             t(lambda: socket.socket(socket.AF_UNIX).connect('\\0{2}'))\n\
             t(lambda: socket.socket(socket.AF_UNIX).connect('{3}'))\n\
             t(lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW))\n\
             t(lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1))\n\
             t(lambda: socket.socket(40, socket.SOCK_STREAM))\n",
            tcp.local_addr().unwrap().port(),
            udp.local_addr().unwrap().port(),
            name,
            path.display()
        );
        let file = place.write("ws/attack.py", &script);
        let args = [
            "run",
            "-q",
            "--policy",
            "offline",
            "--isolation",
            tier,
            "--",
            "/usr/bin/python3",
            "attack.py",
            // The metadata address is tried in the sandbox only: the twin keeps to loopback.
            "inside",
        ];
        let output = place.qila(&args).output().unwrap();
        assert!(
            tcp.accept().is_err() && abstract_socket.accept().is_err() && named.accept().is_err(),
            "{}",
            out(&output)
        );
        assert!(udp.recv(&mut [0; 8]).is_err(), "{}", out(&output));
        // Every attempt was made; the datagram alone may be sent, to a loopback that is the sandbox's own.
        let tried: Vec<String> = out(&output).lines().map(str::to_owned).collect();
        let failed = tried.iter().filter(|l| l.starts_with("no ")).count();
        assert!(tried.len() == 8 && failed >= 7, "{tried:?} {}", err(&output));
        // The twin: the same program outside reaches them.
        let twin = std::process::Command::new("/usr/bin/python3")
            .arg(&file)
            .output()
            .unwrap();
        assert!(
            tcp.accept().is_ok() && abstract_socket.accept().is_ok() && named.accept().is_ok(),
            "{}",
            err(&twin)
        );
        assert!(udp.recv(&mut [0; 8]).is_ok());
    });
}

#[test]
fn sockets_in_readable_directories_lead_nowhere() {
    everywhere(|place, tier| {
        let dir = place.path("shared");
        std::fs::create_dir(&dir).unwrap();
        place.give(&dir);
        let path = dir.join("socket");
        let listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        listener.set_nonblocking(true).unwrap();
        place.give(&path);
        place.write("shared/file", "readable");
        let attack = place.write(
            "ws/connect.py",
            "import socket, sys\nprint('RAN')\nsocket.socket(socket.AF_UNIX).connect(sys.argv[1])\n",
        );
        let (path, dir) = (path.to_str().unwrap(), dir.to_str().unwrap());
        let policy = place.policy("read.yaml", &format!("filesystem:\n  read: [{dir}]"));
        let command = ["/usr/bin/python3", "connect.py", path];
        let output = place.run(&policy, tier, &command).output().unwrap();
        assert!(
            out(&output).contains("RAN") && !output.status.success(),
            "{}",
            err(&output)
        );
        assert!(listener.accept().is_err(), "{}", err(&output));
        let output = place.sh(&policy, tier, &format!("cat {dir}/file"));
        assert_eq!(out(&output), "readable", "what may be read is: {}", err(&output));
        // The twin: outside, the same program gets through.
        let twin = std::process::Command::new(command[0])
            .arg(&attack)
            .arg(path)
            .output()
            .unwrap();
        assert!(
            twin.status.success() && listener.accept().is_ok(),
            "{}",
            err(&twin)
        );
        // A socket itself is never given.
        let named = place.policy("socket.yaml", &format!("filesystem:\n  read: [{path}]"));
        let output = place.sh(&named, tier, "echo RAN");
        assert!(
            !out(&output).contains("RAN") && err(&output).contains("unix socket"),
            "{}",
            err(&output)
        );
    });
}

#[test]
fn processes_outside_are_neither_seen_nor_signalled() {
    everywhere(|place, tier| {
        let token = format!("{}.5", 500_000 + std::process::id());
        let mut victim = std::process::Command::new("sleep").arg(&token).spawn().unwrap();
        let pid = victim.id();
        let script =
            format!("cat /proc/[0-9]*/cmdline; kill -9 {pid}; echo SIGNALLED; kill -9 1; kill -9 -1");
        let output = place.sh("offline", tier, &script);
        assert!(
            out(&output).contains("SIGNALLED"),
            "the attack ran: {}",
            err(&output)
        );
        assert!(victim.try_wait().unwrap().is_none(), "{}", out(&output));
        assert!(!out(&output).contains(&token), "{}", out(&output));
        // The twin: outside, the same words see it and end it.
        let twin = format!("cat /proc/{pid}/cmdline; kill -9 {pid}");
        let twin = std::process::Command::new("sh")
            .args(["-c", &twin])
            .output()
            .unwrap();
        assert!(out(&twin).contains(&token), "{}", out(&twin));
        assert!(!victim.wait().unwrap().success());
    });
}

#[test]
fn privileges_are_gone_for_good() {
    everywhere(|place, tier| {
        let output = place.sh(
            "offline",
            tier,
            "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status; unshare -U true; echo $?",
        );
        let text = out(&output);
        let caps: Vec<&str> = text.lines().filter(|l| l.starts_with("Cap")).collect();
        assert_eq!(caps.len(), 5, "{text}");
        assert!(caps.iter().all(|l| l.ends_with("0000000000000000")), "{text}");
        assert!(
            text.contains("NoNewPrivs:\t1") && text.contains("Seccomp:\t2"),
            "{text}"
        );
        assert!(
            !text.trim_end().ends_with("\n0"),
            "a nested user namespace was made: {text}"
        );
    });
}

#[test]
fn the_environment_is_clean() {
    everywhere(|place, tier| {
        let secret = canary();
        let args = [
            "run",
            "-q",
            "--policy",
            "offline",
            "--isolation",
            tier,
            "--",
            "sh",
            "-c",
        ];
        let script = "env; cat /proc/*/environ; ls -l /proc/self/fd | wc -l";
        let output = place
            .qila(&[&args[..], &[script]].concat())
            .env("API_KEY", &secret)
            .output()
            .unwrap();
        assert!(!out(&output).contains(&secret), "{}", out(&output));
        let twin = place.write(
            "pass.yaml",
            "version: 1\nextends: offline\nenvironment:\n  pass: [API_KEY]\n",
        );
        let args = [
            "run",
            "-q",
            "--policy",
            twin.to_str().unwrap(),
            "--isolation",
            tier,
            "--",
            "env",
        ];
        let output = place.qila(&args).env("API_KEY", &secret).output().unwrap();
        assert!(out(&output).contains(&secret), "{}", err(&output));
    });
}
