//! Programs that are kept warm, and forks of them.
use crate::cases::{Bench, code, finish, run, tenant};
use crate::lives::template;
use bytes::Bytes;
use qila_api::{Create, Exec, Input, Kind, Node, Output, Template, Zygote};
use std::time::{Duration, Instant};

fn python(line: &str) -> Exec {
    Exec {
        argv: vec!["python3".into(), "-c".into(), line.into()],
        warm: true,
        ..Exec::default()
    }
}

pub async fn forks(bench: &Bench) {
    let node = bench.node().await;
    let warm = Template {
        id: "warm".into(),
        zygote: Some(Zygote {
            preload: vec!["json".into(), "decimal".into()],
        }),
        ..template()
    };
    let public = Template {
        public: true,
        ..warm.clone()
    };
    assert_eq!(
        node.put_template(&tenant(), public).await.unwrap_err().kind,
        Kind::Refused
    );
    node.put_template(&tenant(), warm).await.unwrap();
    let one = node
        .create(&tenant(), Create::from_template("warm"))
        .await
        .unwrap();
    let begun = Instant::now();
    let two = node
        .create(&tenant(), Create::from_template("warm"))
        .await
        .unwrap();
    println!("  beneath a warm program: {:?}", begun.elapsed());
    let begun = Instant::now();
    let look = "import sys, os; print('decimal' in sys.modules, os.getcwd(), os.getppid())";
    let process = node.exec(&tenant(), &one.id, python(look)).await.unwrap();
    let (status, out, err) = finish(process).await;
    println!("  a fork, run to its end: {:?}", begun.elapsed());
    assert_eq!(
        (status, out.as_str(), err.as_str()),
        (code(0), "True /home/user 1\n", "")
    );
    let process = node
        .exec(
            &tenant(),
            &two.id,
            python("open('mine', 'w').write('x'); import sys; sys.exit(4)"),
        )
        .await
        .unwrap();
    assert_eq!(finish(process).await.0, code(4));
    assert_eq!(run(&node, &one.id, "ls").await.1, "", "each has files of its own");
    assert_eq!(
        run(&node, &two.id, "ls; ps -e | wc -l").await.1,
        "mine\n5\n",
        "and processes"
    );
    // Cells, one line each.
    let cells = Exec {
        argv: vec!["python3".into()],
        input: true,
        warm: true,
        ..Exec::default()
    };
    let mut process = node.exec(&tenant(), &one.id, cells).await.unwrap();
    process
        .input
        .send(Input::Bytes(Bytes::from_static(
            b"{\"id\": 1, \"code\": \"x = 20\\nx * 2 + 2\"}\n",
        )))
        .await
        .unwrap();
    let said = match process.output.recv().await.unwrap() {
        Output::Stdout(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    };
    assert!(said.contains("\"value\": \"42\""), "{said}");
    process.input.send(Input::End).await.unwrap();
    assert_eq!(finish(process).await.0, code(0));
    let plain = node
        .create(&tenant(), Create::from_template("base"))
        .await
        .unwrap();
    let none = node.exec(&tenant(), &plain.id, python("1")).await.unwrap_err();
    assert_eq!(
        (none.kind, none.clause.as_deref()),
        (Kind::Refused, Some("template.zygote"))
    );
    // What is beneath goes on without its template; the warm program ends with the last.
    node.remove_template(&tenant(), "warm").await.unwrap();
    let process = node.exec(&tenant(), &one.id, python("print(1)")).await.unwrap();
    assert_eq!(finish(process).await.1, "1\n");
    for id in [one.id, two.id, plain.id] {
        assert!(node.kill(&tenant(), &id).await.unwrap());
    }
    let begun = Instant::now();
    while node.count().1 > 0 {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "the warm program is left"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub async fn found_again(bench: &Bench) {
    let node = bench.node().await;
    let warm = Template {
        id: "warm-again".into(),
        zygote: Some(Zygote { preload: Vec::new() }),
        ..template()
    };
    node.put_template(&tenant(), warm).await.unwrap();
    let made = node
        .create(&tenant(), Create::from_template("warm-again"))
        .await
        .unwrap();
    // One whose template is no more has no forks, and lives as long as what is beneath.
    let gone = Template {
        id: "warm-gone".into(),
        zygote: Some(Zygote { preload: Vec::new() }),
        ..template()
    };
    node.put_template(&tenant(), gone).await.unwrap();
    let orphan = node
        .create(&tenant(), Create::from_template("warm-gone"))
        .await
        .unwrap();
    node.remove_template(&tenant(), "warm-gone").await.unwrap();
    node.abandon().await;
    drop(node);
    bench.forget();
    let (node, _) = bench.start().await;
    assert_eq!(run(&node, &made.id, "echo on").await.1, "on\n");
    let begun = Instant::now();
    let process = loop {
        match node.exec(&tenant(), &made.id, python("print(7)")).await {
            Ok(process) => break process,
            Err(e) => assert!(begun.elapsed() < Duration::from_secs(10), "{e}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(finish(process).await.1, "7\n");
    assert_eq!(run(&node, &orphan.id, "echo on").await.1, "on\n");
    let none = node.exec(&tenant(), &orphan.id, python("1")).await.unwrap_err();
    assert_eq!(
        (none.kind, none.clause.as_deref()),
        (Kind::Refused, Some("template.zygote"))
    );
    node.remove_template(&tenant(), "warm-again").await.unwrap();
    assert!(node.kill(&tenant(), &made.id).await.unwrap());
    assert!(node.kill(&tenant(), &orphan.id).await.unwrap());
    let begun = Instant::now();
    while node.count() != (0, 0) {
        assert!(
            begun.elapsed() < Duration::from_secs(10),
            "{:?} are left",
            node.count()
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
