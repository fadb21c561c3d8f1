//! Programs that get in the way of the guest that looks after them.
use crate::bench::{Bench, Served};
use qila_wire::served::{Answer, Ask};

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
