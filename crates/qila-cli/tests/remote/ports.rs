//! Ports of sandboxes.
use crate::daemon::{Daemon, signal, wait};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;
use std::time::{Duration, Instant};

fn http(port: &str, head: &str) -> String {
    let mut stream = TcpStream::connect(port).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(stream, "{head}connection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    answer
}

#[test]
fn a_port_is_reached_through_loopback() {
    let daemon = Daemon::start();
    let id = daemon.create();
    // Answers with what it was asked; becomes an echo where an upgrade is wanted.
    let program = r#"
import socket, threading
s = socket.socket(); s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1); s.bind(('127.0.0.1', 8000)); s.listen()
def one(c):
    head = b''
    while b'\r\n\r\n' not in head: head += c.recv(4096)
    if b'upgrade: echo' in head.lower():
        c.sendall(b'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n')
        while True:
            data = c.recv(4096)
            if not data: break
            c.sendall(data.upper())
    else:
        c.sendall(b'HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n' % len(head) + head)
    c.close()
while True: threading.Thread(target=one, args=(s.accept()[0],)).start()
"#;
    daemon.said(&["sandbox", "exec", &id, "--detach", "--", "python3", "-c", program]);
    let mut child = daemon
        .qila(&["sandbox", "port-forward", &id, "0:8000"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap())
        .read_line(&mut line)
        .unwrap();
    let port = line
        .strip_prefix("http://")
        .unwrap()
        .split(' ')
        .next()
        .unwrap()
        .to_owned();
    assert!(line.trim_end().ends_with(&format!("-> {id}:8000")), "{line}");
    let end = Instant::now() + Duration::from_secs(15);
    let answer = loop {
        let head = "GET /a?b=c HTTP/1.1\r\nhost: localhost\r\nx-mine: 1\r\nqila-sandbox: other\r\nqila-port: 1\r\n\
                    e2b-sandbox-id: other\r\nx-api-key: stolen\r\n";
        let answer = http(&port, head);
        if answer.starts_with("HTTP/1.1 200") || Instant::now() > end {
            break answer;
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    assert!(
        answer.contains("GET /a?b=c HTTP/1.1") && answer.contains("x-mine: 1"),
        "{answer}"
    );
    for never in ["stolen", &daemon.key, "qila-sandbox", "other"] {
        assert!(!answer.contains(never), "{never}: {answer}");
    }
    // A page whose name was made to lead here.
    let answer = http(&port, "GET / HTTP/1.1\r\nhost: evil.example\r\n");
    assert!(answer.starts_with("HTTP/1.1 421"), "{answer}");
    // Both ways, as a WebSocket would.
    let mut stream = TcpStream::connect(&port).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    write!(
        stream,
        "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n"
    )
    .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(
        head.starts_with(b"HTTP/1.1 101"),
        "{}",
        String::from_utf8_lossy(&head)
    );
    for _ in 0..3 {
        stream.write_all(b"hello").unwrap();
        let mut echo = [0; 5];
        stream.read_exact(&mut echo).unwrap();
        assert_eq!(&echo, b"HELLO");
    }
    drop(stream);
    // It is for a loopback address alone, and ends when it is told to.
    let number = port.rsplit_once(':').unwrap().1;
    assert_eq!(port, format!("127.0.0.1:{number}"));
    signal(&child, rustix::process::Signal::INT);
    assert_eq!(wait(&mut child, Duration::from_secs(10)), 0);
    assert!(TcpStream::connect(&port).is_err());
    daemon.said(&["kill", &id]);
    daemon.is_empty();
}
