//! Templates and policies.
use crate::common::{err, out};
use crate::daemon::{Daemon, code};

#[test]
fn templates_and_policies_are_the_daemons() {
    let daemon = Daemon::start();
    let policy = daemon
        .place
        .write("ws/policy.yaml", "version: 1\nextends: offline\n");
    let policy = policy.to_str().unwrap();
    assert_eq!(
        daemon.said(&[
            "template",
            "put",
            "mine",
            "--policy",
            policy,
            "--name",
            "alias",
            "--start",
            "echo hi > started"
        ]),
        "mine"
    );
    let list = daemon.json(&["template", "list", "--json"]);
    assert!(
        list.iter().any(|t| t["id"] == "mine" && t["state"] == "ready"),
        "{list:?}"
    );
    assert!(daemon.said(&["template", "list"]).contains("alias"));
    assert!(
        daemon
            .said(&["template", "show", "alias"])
            .contains("extends: offline")
    );
    let done = daemon.done(&[
        "run",
        "-q",
        "--template",
        "alias",
        "--",
        "sh",
        "-c",
        "until test -s started; do sleep 0.05; done; cat started",
    ]);
    assert_eq!(out(&done), "hi\n", "{}", err(&done));
    daemon.said(&["template", "remove", "mine"]);
    for args in [["template", "show", "mine"], ["template", "remove", "mine"]] {
        assert_ne!(code(&daemon.done(&args)), 0, "{args:?}");
    }
    let done = daemon.done(&["run", "-q", "--template", "mine", "--", "true"]);
    assert_eq!(code(&done), 125, "{}", err(&done));

    // The same words for the same policies, here and there.
    let wrong = daemon.place.write(
        "ws/wrong.yaml",
        "version: 1\nextends: offline\nlimits:\n  memroy: 1GiB\n",
    );
    for (policy, expected) in [(policy, 0), ("coding-agent", 0), (wrong.to_str().unwrap(), 1)] {
        for more in [&[][..], &["--json"]] {
            let args = [&["policy", "check", policy], more].concat();
            let (there, here) = (daemon.done(&args), daemon.place.qila(&args).output().unwrap());
            assert_eq!(code(&there), expected, "{}", err(&there));
            assert_eq!(
                (code(&here), out(&here), err(&here)),
                (code(&there), out(&there), err(&there))
            );
        }
    }
    daemon.is_empty();
}
