//! An OCI image as the base: what is in it is there, and nothing of the host's.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure here is the test's"
)]
mod common;
#[path = "../../qila-image/tests/common/mod.rs"]
mod layouts;
use common::{Place, err, everywhere, out};
use std::process::Command;

/// Prints what it finds in files that images and hosts have.
const PROGRAM: &str = r#"#include <stdio.h>
int main(void) {
    const char *names[] = {"/etc/motd", "/etc/passwd", "/usr/bin/env", "/bin/hello"};
    for (int i = 0; i < 4; i++) {
        char line[80] = "none";
        FILE *f = fopen(names[i], "r");
        if (f && i == 0) fgets(line, sizeof line, f);
        printf("%s %s\n", names[i], i == 0 ? line : f ? "there" : "none");
    }
    FILE *f = fopen("/etc/motd", "w");
    printf("%s\n", f ? "written" : "read only");
    return 0;
}
"#;

fn image(place: &Place) -> Option<std::path::PathBuf> {
    let source = place.write("hello.c", PROGRAM);
    let program = place.path("hello");
    let built = Command::new("cc")
        .args(["-static", "-O1", "-o"])
        .arg(&program)
        .arg(&source)
        .output()
        .unwrap();
    if !built.status.success() {
        println!("skipped: images: cc cannot link statically: {}", err(&built));
        return None;
    }
    let bytes = std::fs::read(program).unwrap();
    let system = layouts::tar(&[
        (b"bin/", b'5', b"", 0o755, b""),
        (b"bin/hello", b'0', b"", 0o755, &bytes),
    ]);
    let etc = layouts::tar(&[(b"etc/motd", b'0', b"", 0o644, b"of the image")]);
    let at = layouts::layout(
        &place.path(""),
        &[("tar+gzip", layouts::gzip(&system)), ("tar", etc)],
    );
    let all = Command::new("chmod")
        .args(["-R", "a+rX"])
        .arg(&at)
        .status()
        .unwrap();
    assert!(all.success());
    Some(at)
}

#[test]
fn an_image_is_the_whole_world() {
    everywhere(|place, tier| {
        let Some(at) = image(place) else { return };
        let base = format!("filesystem: {{base: {{oci_layout: '{}:one'}}}}", at.display());
        let policy = place.policy("image.yaml", &base);
        for _ in 0..2 {
            let done = place.run(&policy, tier, &["/bin/hello"]).output().unwrap();
            let expected =
                "/etc/motd of the image\n/etc/passwd none\n/usr/bin/env none\n/bin/hello there\nread only\n";
            assert_eq!(out(&done), expected, "{}", err(&done));
        }
        let images = std::fs::read_dir(place.path("state/images")).unwrap().flatten();
        let kept: Vec<_> = images.map(|e| e.file_name()).filter(|n| n != "lock").collect();
        assert_eq!(kept.len(), 1, "{kept:?}");
    });
}

#[test]
fn an_image_with_another_byte_is_refused() {
    everywhere(|place, tier| {
        let Some(at) = image(place) else { return };
        let blobs = std::fs::read_dir(at.join("blobs/sha256")).unwrap().flatten();
        let largest = blobs.max_by_key(|b| b.metadata().unwrap().len()).unwrap().path();
        let mut bytes = std::fs::read(&largest).unwrap();
        if let Some(byte) = bytes.last_mut() {
            *byte ^= 1;
        }
        std::fs::write(&largest, bytes).unwrap();
        let base = format!("filesystem: {{base: {{oci_layout: '{}'}}}}", at.display());
        let policy = place.policy("image.yaml", &base);
        let done = place.run(&policy, tier, &["/bin/hello"]).output().unwrap();
        assert_eq!(
            (done.status.code(), out(&done).as_str()),
            (Some(125), ""),
            "{}",
            err(&done)
        );
        assert!(err(&done).contains("filesystem.base"), "{}", err(&done));
    });
}
