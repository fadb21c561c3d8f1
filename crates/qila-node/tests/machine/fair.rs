//! Tenants beside each other.
use crate::cases::{Bench, finish, shell};
use qila_api::{Create, Node, Tenant};

/// Where there are cgroups: two tenants that want all processors get equal parts, however many sandboxes each has.
pub async fn shares(bench: &Bench) {
    let node = bench.node().await;
    let (many, one) = (Tenant::parse("many").unwrap(), Tenant::parse("single").unwrap());
    let spin =
        "python3 -c 'import time; e = time.time() + 2.5; n = 0\nwhile time.time() < e: n += 1\nprint(n)'";
    let spin = spin.replace("\\n", "\n");
    let mut all = Vec::new();
    for (tenant, n) in [(&many, 6), (&one, 2)] {
        for _ in 0..n {
            let made = node.create(tenant, Create::from_template("base")).await.unwrap();
            all.push((tenant.clone(), made.id));
        }
    }
    let mut ratio = f64::MAX;
    for _ in 0..4 {
        let work = all.iter().map(|(tenant, id)| async {
            let process = node.exec(tenant, id, shell(&spin)).await.unwrap();
            let (_, out, err) = finish(process).await;
            (
                tenant.clone(),
                out.trim()
                    .parse::<u64>()
                    .unwrap_or_else(|_| panic!("{out} {err}")),
            )
        });
        let done = futures_util::future::join_all(work).await;
        let sum = |t: &Tenant| {
            let own = done.iter().filter(|(who, _)| who == t);
            own.map(|(_, n)| *n).sum::<u64>() as f64
        };
        ratio = sum(&many) / sum(&one);
        println!("  six sandboxes of one tenant did {ratio:.2} times the work of two of another");
        // What else the machine does is on one processor or the other for a while.
        if (0.5..2.0).contains(&ratio) || !rustix::process::geteuid().is_root() {
            break;
        }
    }
    if std::path::Path::new("/sys/fs/cgroup/cpu").exists() && rustix::process::geteuid().is_root() {
        assert!((0.5..2.0).contains(&ratio), "{ratio}");
    } else {
        println!("skipped: no cgroup of this user shares processors out");
    }
    for (tenant, id) in all {
        assert!(node.kill(&tenant, &id).await.unwrap());
    }
}
