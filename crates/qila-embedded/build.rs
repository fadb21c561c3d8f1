//! Builds the guest, a small static program, and leaves it where `src/lib.rs` embeds it from.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a build script ends the build by panicking"
)]

use std::env;
use std::path::PathBuf;
use std::process::Command;

fn main() {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").unwrap()).join("../..");
    let out = PathBuf::from(env::var("OUT_DIR").unwrap());
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
    let program = std::fs::read(built).expect("the guest was built");
    println!("cargo::rustc-env=QILA_GUEST_HASH={:016x}", hash(&program));
    std::fs::write(out.join("qila-guest"), program).expect("there is room");
}

/// FNV-1a.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)
    })
}
