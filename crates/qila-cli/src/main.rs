#![allow(warnings, clippy::all)]
//! spike
mod fail; mod facts; mod guest; mod home;
use qila_plan::*; use qila_policy::{*, model::*}; use qila_types::*;
use rustix::fd::AsFd;
fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let tier = Tier::from_name(&args[0]).unwrap();
    let net = args[1] == "net";
    let home = home::Home::open().unwrap();
    home.subdir("runs").unwrap();
    let policy = Policy { isolation: Some(tier), resources: Resources { memory: Some(MemoryLimit{bytes: Bytes(1<<30), hard:false}), processes: Some(256), open_files: Some(1024), disk: Some(DiskLimit{bytes:Bytes(1<<30),hard:false}), cpu: Some(Cpus(1000)), ..Default::default() },
      filesystem: Filesystem { base: Base::Host, workspace: WorkspaceMode::Layer, read: vec![], write: vec![], hide: vec![PolicyPath("/etc/shadow".into())] },
      network: Network { allow: if net { vec![NetRule{host: HostPattern::parse("a.test").unwrap(), ports: vec![443], methods: None, paths: None, credential: None, rate: None}] } else { vec![] }, rates: Default::default(), loopback: true }, credentials: vec![], syscalls: Syscalls { base: SyscallBase::Default, allow: vec![], deny: vec![] }, environment: Environment::default() };
    let permit = Permit::grant(policy, &Constitution::default());
    let cwd = std::env::current_dir().unwrap().to_str().unwrap().to_owned();
    let mut rnd = [0u8; 8]; getrandom::fill(&mut rnd).unwrap();
    let run = RunId::from_parts(1_795_000_000_000, u64::from_ne_bytes(rnd)).to_string();
    let run_dir = format!("{}/runs/{run}", home.path().display());
    for d in ["", "/layer", "/layer/upper", "/layer/work"] { std::fs::create_dir(format!("{run_dir}{d}")).unwrap(); }
    let uhome = std::env::var("HOME").ok();
    let wanted = wanted_paths(&permit, uhome.as_deref(), Some(&cwd));
    let facts = facts::collect(&facts::Look { base: std::path::Path::new("/"), paths: &wanted, storage: &[] });
    let caller = Caller { argv: args[2..].iter().map(|a| a.clone().into_bytes()).collect(), env: vec![], cwd: cwd.clone(), home: uhome, workspace: Some(cwd), run_dir: run_dir.clone(), run, terminal: None };
    let req = Request { permit: &permit, facts: &facts, caller: &caller, placeholders: &[], allow_unenforced: &[] };
    let chosen = choose(&qila_backends::capabilities(), &req).unwrap();
    let guest = guest::open(&home).unwrap();
    let stdio = qila_sandbox::Stdio { input: rustix::io::dup(rustix::stdio::stdin()).unwrap(), output: rustix::io::dup(rustix::stdio::stdout()).unwrap(), error: rustix::io::dup(rustix::stdio::stderr()).unwrap() };
    let b = qila_backends::backend(tier).unwrap();
    let t0 = std::time::Instant::now();
    let mut s = b.launch(&chosen.plan, guest.as_fd(), stdio).unwrap();
    if net { let l = s.listeners().unwrap(); std::mem::forget(l); }
    let t1 = t0.elapsed();
    if let Err(e) = s.go(b"") { eprintln!("{e}"); return; }
    let t2 = t0.elapsed();
    s.start(&chosen.plan, None).unwrap();
    let t3 = t0.elapsed();
    let r = s.next();
    let t4 = t0.elapsed();
    if std::env::var("T").is_ok() { eprintln!("{r:?} spawn {t1:?} go {t2:?} start {t3:?} end {t4:?}"); }
    let f = s.end();
    if !f.is_empty() { eprintln!("{f:?}"); }
    if std::env::var("T").is_ok() { eprintln!("all {:?}", t0.elapsed()); }
    std::fs::remove_dir_all(&run_dir).ok();
}
