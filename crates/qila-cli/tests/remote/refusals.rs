//! What cannot be, and whom the key is told.
use crate::common::{Place, Who, err, fed, out};
use crate::daemon::{Daemon, code, serve_with};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Output;

#[test]
fn what_cannot_be_says_what_to_do() {
    let daemon = Daemon::start();
    let fails = |done: Output, expected: i32, words: &[&str]| {
        let said = err(&done);
        assert_eq!(code(&done), expected, "{said}");
        for word in words {
            assert!(said.contains(word), "{word}: {said}");
        }
    };
    let wrong = |key: &str| {
        daemon
            .qila(&["run", "--", "true"])
            .env("QILA_API_KEY", key)
            .output()
            .unwrap()
    };
    fails(wrong("qila_00"), 125, &["does not know this key", "qila key new"]);
    fails(wrong(""), 2, &["no key", "QILA_API_KEY", "--key-file"]);
    // From a file.
    let file = daemon.place.write("key", &format!("{}\n", daemon.key));
    let args = [
        "--key-file",
        file.to_str().unwrap(),
        "run",
        "-q",
        "--",
        "echo",
        "by file",
    ];
    let done = daemon
        .qila(&args)
        .env("QILA_API_KEY", "qila_00")
        .output()
        .unwrap();
    assert_eq!(out(&done), "by file\n", "{}", err(&done));
    // Nobody there.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let nobody = daemon
        .qila(&["ps"])
        .env("QILA_HOST", format!("http://{closed}"))
        .output()
        .unwrap();
    fails(nobody, 125, &["cannot be reached", "qila serve"]);
    // Somebody else there.
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap();
    let answering = std::thread::spawn(move || {
        let (mut stream, _) = other.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]);
        let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 6\r\n\r\nnginx\n");
    });
    let somebody = daemon
        .qila(&["ps"])
        .env("QILA_HOST", format!("http://{address}"))
        .output()
        .unwrap();
    fails(somebody, 125, &["404", "qila serve", "version"]);
    answering.join().unwrap();
    // In the clear.
    let clear = daemon
        .qila(&["ps"])
        .env("QILA_HOST", "http://192.0.2.1:3000")
        .output()
        .unwrap();
    fails(clear, 2, &["in the clear", "https://"]);
    // What is for this host alone.
    let plan: [&[&str]; 7] = [
        &["--direct"],
        &["--plan"],
        &["--isolation", "process"],
        &["--policy", "offline"],
        &["--agent", "x"],
        &["--allow-unenforced", "limits.disk"],
        &["--upstream-ca", "x"],
    ];
    for option in plan {
        let args = [&["run"], option, &["--", "true"]].concat();
        fails(daemon.done(&args), 2, &[option[0], "try: "]);
    }
    fails(daemon.done(&["diff", "latest"]), 2, &["this host only"]);
    // And what is for daemons alone.
    let place = Place::new(Who::Me);
    for option in [
        &["-e", "A=b"][..],
        &["--timeout", "1s"],
        &["--keep"],
        &["--template", "x"],
    ] {
        let args = [&["run"], option, &["--", "true"]].concat();
        fails(place.qila(&args).output().unwrap(), 2, &["daemon", "--host"]);
    }
    for args in [&["sandbox", "list"][..], &["template", "list"]] {
        fails(place.qila(args).output().unwrap(), 2, &["--host", "QILA_HOST"]);
    }
    // What never asks a daemon does not mind that there is one.
    let done = place
        .qila(&["policy", "list"])
        .env("QILA_HOST", "http://127.0.0.1:1")
        .output()
        .unwrap();
    assert_eq!(code(&done), 0, "{}", err(&done));
    daemon.is_empty();
}

#[test]
fn with_tls_only_who_is_vouched_for_is_told_the_key() {
    let place = Place::new(Who::Me);
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let cert = place.write("cert.pem", &made.cert.pem());
    let key = place.write("key.pem", &made.signing_key.serialize_pem());
    let [cert, key] = [cert.to_str().unwrap(), key.to_str().unwrap()];
    let (child, address) = serve_with(
        &place,
        &["--listen", "127.0.0.1:0", "--tls-cert", cert, "--tls-key", key],
    );
    let daemon = Daemon::of(place, child, address);
    let port = daemon.address.rsplit_once(':').unwrap().1;
    let url = format!("https://localhost:{port}");
    let args = [
        "--host",
        &url,
        "--host-ca",
        cert,
        "run",
        "-q",
        "--",
        "sh",
        "-c",
        "cat; exit 3",
    ];
    let done = fed(daemon.qila(&args), b"over TLS");
    assert_eq!(
        (code(&done), out(&done).as_str()),
        (3, "over TLS"),
        "{}",
        err(&done)
    );
    for (url, more) in [
        (&url, &[][..]),
        (&format!("https://127.0.0.1:{port}"), &["--host-ca", cert]),
    ] {
        let args = [&["--host", url], more, &["ps"]].concat();
        let done = daemon.done(&args);
        assert_eq!(code(&done), 125);
        assert!(
            err(&done).contains("cannot be reached") && err(&done).contains("--host-ca"),
            "{}",
            err(&done)
        );
    }
}
