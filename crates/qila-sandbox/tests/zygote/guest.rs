//! Programs that get in the way of the guest that looks after them.
use crate::bench::{Bench, Served};
use qila_wire::served::{Answer, Ask, Say};

/// The guest answers, and a program runs as every other.
fn goes_on(served: &Served) {
    assert_eq!(served.ask(&Ask::Clear).hear(), Some(Answer::Done));
    let said = served.start(&["/bin/echo", "on"]).finish();
    assert_eq!((said.code, said.out.as_str()), (Some(0), "on\n"));
}

/// One stops all others, and those that are not yet what they are to be.
pub fn stops_all(bench: &mut Bench) {
    let above = bench.for_zygote();
    let served = bench.beneath(&above);
    let code = "import os, signal\nprint('on', flush=True)\nwhile True:\n  try: os.kill(-1, signal.SIGSTOP)\n  except ProcessLookupError: pass";
    let mut line = served.start(&["/usr/bin/python3", "-c", code]);
    assert!(matches!(line.hear(), Some(Answer::Output { .. })));
    for _ in 0..2 {
        match served.ask(&Ask::Exec(served.exec(&["/bin/true"]))).hear() {
            Some(Answer::Started { .. } | Answer::Failed { errno: 11, .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    goes_on(&served);
}

/// What a program leaves behind says ever more in its name.
pub fn floods(bench: &mut Bench) {
    let above = bench.for_zygote();
    let served = bench.beneath(&above);
    let code = "import fcntl, os, time\nown = os.getpid()\nfcntl.fcntl(1, 1031, 1 << 20)\nos.write(1, b'x' * 200_000)\nif os.fork() == 0:\n  while os.getppid() == own: time.sleep(0.01)\n  while True: os.write(1, b'y' * 1_000_000)";
    let argv = ["/usr/bin/python3", "-c", code];
    let line = served.start(&argv);
    // What is not taken stays in the pipe, which is full by then.
    std::thread::sleep(std::time::Duration::from_secs(1));
    let said = line.finish();
    assert_eq!(said.code, Some(0), "it has an end");
    let own = said.out.trim_end_matches('y');
    assert!(
        own.bytes().all(|b| b == b'x') && own.len() == 200_000,
        "{}",
        own.len()
    );
    assert!(said.out.len() <= 200_000 + (1 << 20), "no more than was there");
    // Of one that nobody follows.
    let mut line = served.ask(&Ask::Exec(served.exec(&argv)));
    assert!(matches!(line.hear(), Some(Answer::Started { .. })));
    line.say(&Say::Leave);
    drop(line);
    goes_on(&served);
}
