//! What forks of a zygote do.
use crate::bench::Bench;
use qila_wire::served::{Answer, Ask, Say};

/// One cell, and what it answered.
fn cell(bench: &mut Bench, modules: &[&str], code: &[&str]) -> Vec<serde_json::Value> {
    let (above, zygote) = bench.zygote(modules);
    let served = bench.beneath(&above);
    let mut exec = served.exec(&["python3"]);
    exec.input = true;
    let (line, _) = served.fork(&zygote, exec);
    // All at once: a second message would have to wait for the first to be taken.
    let ask = |code: &&str| serde_json::json!({"code": code, "id": 7}).to_string() + "\n";
    line.say(&Say::Bytes(code.iter().map(ask).collect::<String>().into_bytes()));
    line.say(&Say::End);
    let said = line.finish();
    assert_eq!((said.code, said.err.as_str()), (Some(0), ""), "{said:?}");
    said.out
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect()
}

pub fn cells(bench: &mut Bench) {
    let replies = cell(
        bench,
        &["json"],
        &[
            "x = 20\nprint('hi')",
            "x + 1",
            "1/0",
            "import os; os.write(1, b'')\n",
            "no python",
        ],
    );
    assert_eq!(replies[0]["out"], "hi\n");
    assert_eq!(
        (&replies[1]["value"], &replies[1]["id"]),
        (&"21".into(), &7.into())
    );
    assert_eq!(replies[2]["error"]["name"], "ZeroDivisionError");
    assert_eq!(replies[3]["error"], serde_json::Value::Null);
    assert_eq!(replies[4]["error"]["name"], "SyntaxError");
    if bench.numpy.is_none() {
        println!("skipped: numpy in a zygote: run crates/qila-sandbox/tests/zygote/setup.sh first");
        return;
    }
    let replies = cell(
        bench,
        &["numpy"],
        &[
            "import numpy; int(numpy.arange(1000).sum())",
            "import sys; 'numpy' in sys.modules",
        ],
    );
    assert_eq!(replies[0]["value"], "499500");
}

pub fn arguments(bench: &mut Bench) {
    let (above, zygote) = bench.zygote(&["runpy"]);
    let served = bench.beneath(&above);
    let mut exec = served.exec(&[
        "python3",
        "-c",
        "import sys, os; print(sys.argv, os.environ['WORD'], os.getcwd(), sys.stdin.read()); sys.exit(3)",
        "a",
        "b",
    ]);
    exec.env.push(b"WORD=x=y".to_vec());
    exec.cwd = b"/tmp".to_vec();
    exec.input = true;
    let (line, _) = served.fork(&zygote, exec);
    line.say(&Say::Bytes(b"input".to_vec()));
    line.say(&Say::End);
    let said = line.finish();
    assert_eq!(
        (said.out.as_str(), said.code),
        ("['-c', 'a', 'b'] x=y /tmp input\n", Some(3)),
        "{said:?}"
    );
    // Files that it writes are in its own layer.
    let program = served.exec(&[
        "python3",
        "-c",
        "open('mine', 'w').write('x'); open('/home/user/s.py', 'w').write('print(__name__, __file__)')",
    ]);
    assert_eq!(served.fork(&zygote, program).0.finish().code, Some(0));
    let said = served.start(&["/bin/ls"]).finish();
    assert_eq!(said.out, "mine\ns.py\n", "{said:?}");
    let said = served.fork(&zygote, served.exec(&["python3", "s.py"])).0.finish();
    assert_eq!(said.out, "__main__ s.py\n", "{said:?}");
    assert_eq!(above.start(&["/bin/ls"]).finish().out, "");
}

pub fn ends(bench: &mut Bench) {
    let (above, zygote) = bench.zygote(&[]);
    let served = bench.beneath(&above);
    let sleep = || {
        served.exec(&[
            "python3",
            "-c",
            "import time\nprint('here', flush=True)\ntime.sleep(100)",
        ])
    };
    // Listed as any other, and signalled by its group.
    let (line, pid) = served.fork(&zygote, sleep());
    let Some(Answer::Programs(all)) = served.ask(&Ask::Programs).hear() else {
        panic!()
    };
    assert!(
        all.iter()
            .any(|p| p.pid == pid && !p.ended && p.argv[0] == b"python3")
    );
    line.say(&Say::Signal(15));
    assert_eq!(line.finish().signal, Some(15));
    // Everything is ended at once.
    let (line, _) = served.fork(&zygote, sleep());
    assert_eq!(served.ask(&Ask::Clear).hear(), Some(Answer::Done));
    assert_eq!(line.finish().signal, Some(9));
    // Another program of the sandbox may signal it, as it may every other.
    let (line, pid) = served.fork(&zygote, sleep());
    let kill = served
        .start(&["/bin/sh", "-c", &format!("kill -USR1 {pid}")])
        .finish();
    assert_eq!(
        (kill.code, line.finish().signal),
        (Some(0), Some(10)),
        "{}",
        kill.err
    );
    // With its sandbox it ends.
    let (line, _) = served.fork(&zygote, sleep());
    let namespace = std::fs::read_link(format!("/proc/{}/ns/pid", served.pid));
    drop(served);
    drop(line);
    if let Ok(namespace) = namespace {
        assert_eq!(crate::bench::in_namespace(&namespace), Vec::<i32>::new());
    }
}

/// What cannot be done is said, with the step, and nothing is left.
pub fn refused(bench: &mut Bench) {
    let (above, zygote) = bench.zygote(&["threading"]);
    let served = bench.beneath(&above);
    let mut exec = served.exec(&["python3", "-c", "pass"]);
    exec.cwd = b"/nowhere".to_vec();
    match served.asked(&zygote, exec).hear() {
        Some(Answer::Failed { what, errno: 2 }) => assert!(what.contains("/nowhere"), "{what}"),
        other => panic!("{other:?}"),
    }
    // A sandbox that was not made beneath the zygote's.
    let (other, _) = bench.zygote(&[]);
    match other
        .asked(&zygote, other.exec(&["python3", "-c", "pass"]))
        .hear()
    {
        Some(Answer::Failed { what, errno }) => {
            assert_eq!((what.as_str(), errno), ("entering the sandbox", 1))
        }
        other => panic!("{other:?}"),
    }
    // The zygote goes on.
    assert_eq!(
        served
            .fork(&zygote, served.exec(&["python3", "-c", "pass"]))
            .0
            .finish()
            .code,
        Some(0)
    );
    let Some(Answer::Programs(all)) = served.ask(&Ask::Programs).hear() else {
        panic!()
    };
    assert_eq!(all, []);
}

/// Forks are not alike in what was to be random.
pub fn random(bench: &mut Bench) {
    let numpy = bench.numpy.is_some();
    let (above, zygote) = bench.zygote(&[
        "random",
        "ssl",
        "uuid",
        "tempfile",
        if numpy { "numpy.random" } else { "json" },
    ]);
    let code = "import random, ssl, uuid, tempfile, sys\nprint(random.random(), ssl.RAND_bytes(8).hex(), uuid.uuid4(), next(tempfile._get_candidate_names()))\nif 'numpy' in sys.modules:\n import numpy\n print(numpy.random.rand())";
    let said = |bench: &mut Bench| {
        let served = bench.beneath(&above);
        served
            .fork(&zygote, served.exec(&["python3", "-c", code]))
            .0
            .finish()
            .out
    };
    let (one, two) = (said(bench), said(bench));
    let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(&one).len(), 4 + usize::from(numpy), "{one}");
    for (a, b) in words(&one).iter().zip(words(&two)) {
        assert_ne!(*a, b);
    }
}

/// What one fork was asked is not in the memory of the next.
pub fn forgets(bench: &mut Bench) {
    let (above, zygote) = bench.zygote(&["re"]);
    let (one, two) = (bench.beneath(&above), bench.beneath(&above));
    let look = "import re\nn = 0\nfor l in open('/proc/self/maps'):\n  a, b = [int(x, 16) for x in l.split()[0].split('-')]\n  if 'rw' in l:\n    m = open('/proc/self/mem', 'rb'); m.seek(a)\n    n += len(re.findall(b'zebr[a]-crossing', m.read(b - a)))\nprint(n)";
    let found = |served: &crate::bench::Served, word: Option<&str>| {
        let mut exec = served.exec(&["python3", "-c", look]);
        // Of all lengths, so that some of it would stay where nothing else is put.
        let words = |w: &str| {
            (0..400)
                .map(|n| format!("W{n}={}{w}", "x".repeat(n)))
                .collect::<Vec<_>>()
        };
        exec.env
            .extend(word.iter().flat_map(|w| words(w)).map(String::into_bytes));
        served.fork(&zygote, exec).0.finish().out
    };
    assert_ne!(
        found(&one, Some("zebra-crossing")),
        "0\n",
        "it is not even in its own"
    );
    for _ in 0..3 {
        assert_eq!(found(&two, None), "0\n");
    }
}
