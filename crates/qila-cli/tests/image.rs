//! An OCI image as the base: what is in it is there, and nothing of the host's.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure here is the test's"
)]
mod common;
#[path = "../../qila-image/tests/common/mod.rs"]
mod layouts;
use common::{Place, err, everywhere, out};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;

/// Prints what it finds in files that images and hosts have, or in those that it is given.
const PROGRAM: &str = r#"#include <stdio.h>
int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        char line[80] = "none";
        FILE *f = fopen(argv[i], "r");
        if (f) fgets(line, sizeof line, f);
        printf("%s %s\n", argv[i], line);
    }
    if (argc > 1) return 0;
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

fn image(place: &Place, more: &[layouts::Item<'_>]) -> Option<PathBuf> {
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
        (b"bin/hello", b'0', b"", 0o4755, &bytes),
        (b"opt/own/greet", b'1', b"bin/hello", 0o755, b""),
    ]);
    let etc = layouts::tar(&[(b"etc/motd", b'0', b"", 0o644, b"of the image")]);
    let config = "{\"config\":{\"Env\":[\"PATH=/opt/own\",\"OTHER=x\"],\"User\":\"12345\",\"Entrypoint\":[\"/none\"]}}";
    let mut layers = vec![("tar+gzip", layouts::gzip(&system)), ("tar", etc)];
    if !more.is_empty() {
        layers.push(("tar", layouts::tar(more)));
    }
    let at = layouts::layout_of(&place.path(""), config, &layers);
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
        let Some(at) = image(place, &[]) else { return };
        let base = format!("filesystem: {{base: {{oci_layout: '{}:one'}}}}", at.display());
        let policy = place.policy("image.yaml", &base);
        let mut seen = Vec::new();
        // By the image's own PATH, and not by the caller's.
        for name in ["/bin/hello", "greet"] {
            let done = place.run(&policy, tier, &[name]).output().unwrap();
            let expected =
                "/etc/motd of the image\n/etc/passwd none\n/usr/bin/env none\n/bin/hello there\nread only\n";
            assert_eq!(out(&done), expected, "{}", err(&done));
            let kept = unpacked(place);
            assert_eq!(kept.len(), 2, "one directory for each layer: {kept:?}");
            let root = kept
                .iter()
                .map(|k| k.join("tree"))
                .find(|t| t.join("bin/hello").exists())
                .unwrap();
            seen.push((
                root.metadata().unwrap().ino(),
                root.metadata().unwrap().ctime_nsec(),
            ));
            let program = root.join("bin/hello").metadata().unwrap();
            assert_eq!(program.mode() & 0o7777, 0o755, "no set-id bit");
        }
        assert_eq!(seen.first(), seen.last(), "unpacked once");
        let by_hosts = place.run(&policy, tier, &["hello"]).output().unwrap();
        assert_eq!(by_hosts.status.code(), Some(127), "{}", err(&by_hosts));
        let rest = format!("{base}\nenvironment: {{set: {{PATH: /bin}}}}");
        let policy = place.policy("path.yaml", &rest);
        let by_policy = place.run(&policy, tier, &["hello"]).output().unwrap();
        assert_eq!(by_policy.status.code(), Some(0), "{}", err(&by_policy));
        let explained = place.qila(&["policy", "explain", &policy]).output().unwrap();
        assert!(
            out(&explained).contains("can read and run the image in"),
            "{}",
            out(&explained)
        );
    });
}

fn unpacked(place: &Place) -> Vec<PathBuf> {
    let layers = std::fs::read_dir(place.path("state/images/layers"));
    layers.into_iter().flatten().flatten().map(|e| e.path()).collect()
}

#[test]
fn an_image_cannot_point_at_the_host() {
    everywhere(|place, tier| {
        let secret = place.path("secret");
        std::fs::create_dir(&secret).unwrap();
        std::fs::write(secret.join("canary"), "of the host").unwrap();
        std::fs::write(place.path("ws/canary"), "of the workspace").unwrap();
        let (dir, file) = (secret.to_str().unwrap(), secret.join("canary"));
        let (file, ws) = (file.to_str().unwrap(), place.path("ws"));
        let link = |path: &'static str, to| (path.as_bytes(), b'2', to, 0o777, &b""[..]);
        let links = [
            link("usr", dir.as_bytes()),
            link("lib64", b"../../../../../../../../../.."),
            link("sbin", b"/proc/1/root"),
            link("etc/canary", file.as_bytes()),
            link("etc/resolv.conf", file.as_bytes()),
            link("etc/ws", b"/proc/self/cwd/canary"),
            link("etc/ssl", dir.as_bytes()),
        ];
        let Some(at) = image(place, &links) else { return };
        let base = format!("filesystem: {{base: {{oci_layout: '{}'}}}}", at.display());
        let policy = place.policy("image.yaml", &base);
        let at_lib = format!("/lib64{file}");
        let at_sbin = format!("/sbin{file}");
        let wanted = [
            "/usr/canary",
            &at_lib,
            &at_sbin,
            "/etc/canary",
            "/etc/ssl/canary",
            "/etc/ws",
        ];
        let run = [&["/bin/hello"][..], &wanted].concat();
        let done = place.run(&policy, tier, &run).output().unwrap();
        let (out, err) = (out(&done), err(&done));
        assert!(!out.contains("of the host"), "{out}{err}");
        // The twin: what the policy does show is read by the same program.
        assert!(
            ws.exists() && out.contains("/etc/ws of the workspace"),
            "{out}{err}"
        );
    });
}

#[test]
fn an_image_with_another_byte_is_refused() {
    everywhere(|place, tier| {
        let Some(at) = image(place, &[]) else { return };
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
        let said = err(&done);
        let digest = largest.file_name().unwrap().to_str().unwrap();
        assert!(
            said.contains("filesystem.base") && said.contains(digest),
            "{said}"
        );
        assert!(said.contains("other bytes than its digest says"), "{said}");
        assert!(unpacked(place).is_empty() && place.runs().is_empty());
    });
}

#[test]
fn layers_are_laid_over_each_other() {
    everywhere(|place, tier| {
        let Some(at) = image(place, &[]) else { return };
        let program = std::fs::read(place.path("hello")).unwrap();
        let file = |path: &'static [u8], body: &'static [u8]| (path, b'0', &b""[..], 0o644, body);
        // More layers than one string of mount options holds.
        let mut layers = vec![
            vec![(&b"bin/hello"[..], b'0', &b""[..], 0o755, program.as_slice())],
            vec![
                file(b"etc/gone", b"hidden"),
                file(b"etc/kept", b"of the lowest"),
                file(b"opt/o/old", b"hidden"),
            ],
        ];
        let names: Vec<String> = (0..40).map(|n| format!("etc/n{n}")).collect();
        layers.extend(
            names
                .iter()
                .map(|n| vec![(n.as_bytes(), b'0', &b""[..], 0o644, n.as_bytes())]),
        );
        layers.push(vec![
            (b"etc/", b'5', b"", 0o755, b""),
            file(b"etc/.wh.gone", b""),
            file(b"etc/n7", b"changed"),
            (b"opt/o/", b'5', b"", 0o755, b""),
            file(b"opt/o/.wh..wh..opq", b""),
            file(b"opt/o/new", b"of the uppermost"),
        ]);
        let layers: Vec<_> = layers.iter().map(|l| ("tar", layouts::tar(l))).collect();
        std::fs::remove_dir_all(at).unwrap();
        let at = layouts::layout_of(&place.path(""), "{}", &layers);
        let base = format!("filesystem: {{base: {{oci_layout: '{}'}}}}", at.display());
        let policy = place.policy("layers.yaml", &base);
        let wanted = [
            "/etc/gone",
            "/etc/kept",
            "/etc/n7",
            "/etc/n39",
            "/opt/o/old",
            "/opt/o/new",
        ];
        let done = place
            .run(&policy, tier, &[&["/bin/hello"][..], &wanted].concat())
            .output()
            .unwrap();
        let expected = "/etc/gone none\n/etc/kept of the lowest\n/etc/n7 changed\n/etc/n39 etc/n39\n/opt/o/old none\n\
            /opt/o/new of the uppermost\n";
        assert_eq!(out(&done), expected, "{}", err(&done));
        assert_eq!(unpacked(place).len(), layers.len());
        // Nothing is written to the layers: each is as it was, and so is the next run.
        let again = place
            .run(&policy, tier, &["/bin/hello", "/etc/n7"])
            .output()
            .unwrap();
        assert_eq!(out(&again), "/etc/n7 changed\n", "{}", err(&again));
    });
}
