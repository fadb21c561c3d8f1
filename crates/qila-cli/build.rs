//! Links `qila` statically where that can be had.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a build script ends the build by panicking"
)]

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

fn main() {
    let out = PathBuf::from(env::var("OUT_DIR").unwrap());
    link_statically(&out);
}

/// Links `qila` statically and at a fixed place, where the C library can be had that way: loading and relocating shared
/// libraries is a third of the start of a process that lives for milliseconds.
///
/// `crt-static` would do that, but cargo then wants a target to be named, or proc macros do not build. So the libraries that
/// the compiler asks for by name are answered by linker scripts which lead to the static ones.
fn link_statically(out: &Path) {
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|v| v == value);
    let here = env::var("HOST") == env::var("TARGET");
    if !(here && is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu")) {
        return;
    }
    let file = |name: &str| {
        let output = Command::new("cc")
            .arg(format!("-print-file-name={name}"))
            .output()
            .ok()?;
        let path = PathBuf::from(String::from_utf8(output.stdout).ok()?.trim());
        path.is_absolute().then_some(path)
    };
    let (Some(c), Some(m), Some(gcc), Some(eh)) = (
        file("libc.a"),
        file("libm.a"),
        file("libgcc.a"),
        file("libgcc_eh.a"),
    ) else {
        return;
    };
    let dir = out.join("static");
    std::fs::create_dir_all(&dir).unwrap();
    let group = format!(
        "GROUP ( \"{}\" \"{}\" \"{}\" \"{}\" )\n",
        c.display(),
        m.display(),
        gcc.display(),
        eh.display()
    );
    for name in ["c", "m", "gcc_s", "util", "rt", "pthread", "dl"] {
        std::fs::write(dir.join(format!("lib{name}.so")), &group).unwrap();
    }
    for arg in [format!("-L{}", dir.display()), "-static".into(), "-no-pie".into()] {
        println!("cargo::rustc-link-arg-bins={arg}");
    }
}
