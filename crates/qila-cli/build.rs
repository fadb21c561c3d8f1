//! Builds the guest, a small static program, and leaves it where `src/guest.rs` embeds it from.
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
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").unwrap()).join("../..");
    let out = PathBuf::from(env::var("OUT_DIR").unwrap());
    link_statically(&out);
    let target = env::var("TARGET").unwrap();
    for path in [
        "crates/qila-guest",
        "crates/qila-wire",
        "crates/qila-sys",
        "Cargo.lock",
        "Cargo.toml",
    ] {
        println!("cargo::rerun-if-changed={}", root.join(path).display());
    }
    // A target directory of its own: the outer build holds the lock of the usual one.
    let dir = out.join("guest-build");
    // Static, so that it runs in any view; without relocations, so that it starts without work.
    let mut flags = "-C target-feature=+crt-static -C relocation-model=static".to_owned();
    let mut cargo = Command::new(env::var("CARGO").unwrap());
    cargo
        .current_dir(&root)
        .args(["build", "--quiet", "--profile", "guest", "-p", "qila-guest"])
        .args(["--target", &target, "--target-dir"])
        .arg(&dir);
    if env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|a| a == "x86_64") {
        // Without a C library: it brings its own beginning.
        cargo.arg("--no-default-features");
        flags.push_str(" -C link-arg=-nostartfiles");
    }
    let status = cargo
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("CARGO_BUILD_TARGET_DIR")
        .env_remove("CARGO_TARGET_DIR")
        .env("RUSTFLAGS", flags)
        .status()
        .expect("cargo runs");
    assert!(status.success(), "the guest does not build");
    let built = dir.join(&target).join("guest").join("qila-guest");
    std::fs::copy(built, out.join("qila-guest")).expect("the guest was built");
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
