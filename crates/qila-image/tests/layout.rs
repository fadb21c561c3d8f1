//! Which image of a layout is taken.
#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests: a failure here is the test's"
)]
mod common;
use common::{MANIFEST, ONE, image, index, layout_of, machine, put, tar};
use qila_image::{Image, ImageError, unpack};
use std::path::{Path, PathBuf};

const LIST: &str = "\"mediaType\":\"application/vnd.oci.image.index.v1+json\"";

fn empty(dir: &Path) -> PathBuf {
    let at = dir.join("layout");
    std::fs::create_dir_all(at.join("blobs/sha256")).unwrap();
    at
}

/// An image with one file of this name, for a machine.
fn holding(at: &Path, name: &str, architecture: &str) -> String {
    let layer = tar(&[(name.as_bytes(), b'0', b"", 0o644, b"")]);
    let config = format!("{{\"os\":\"linux\",\"architecture\":\"{architecture}\"}}");
    let platform = format!("\"platform\":{{\"os\":\"linux\",\"architecture\":\"{architecture}\"}}");
    format!("{},{MANIFEST},{platform}", image(at, &config, &[("tar", layer)]))
}

fn get(at: &Path, name: Option<&str>) -> Result<Image, ImageError> {
    unpack(at, name, &at.join("../images"))
}

#[test]
fn the_image_for_this_machine_is_found_in_nested_indexes() {
    let dir = tempfile::tempdir().unwrap();
    let at = empty(dir.path());
    let unknown = format!(
        "{},{MANIFEST},\"platform\":{{\"os\":\"unknown\",\"architecture\":\"unknown\"}}}}",
        put(&at, b"{\"not\":\"read\"}")
    );
    let all = [
        holding(&at, "theirs", "s390x") + "}",
        holding(&at, "ours", machine()) + "}",
        unknown,
    ];
    let mut list = format!("{{\"manifests\":[{}]}}", all.join(","));
    for depth in 0..5 {
        let named = format!("{},{LIST},{ONE}}}", put(&at, list.as_bytes()));
        index(&at, &[named]);
        let found = get(&at, Some("one"));
        if depth < 3 {
            assert!(found.unwrap().root.join("ours").exists());
        } else {
            assert!(
                found.unwrap_err().to_string().contains("without end"),
                "depth {depth}"
            );
        }
        list = format!("{{\"manifests\":[{},{LIST}}}]}}", put(&at, list.as_bytes()));
    }
}

#[test]
fn one_of_several_needs_a_name_and_two_names_of_one_are_one() {
    let dir = tempfile::tempdir().unwrap();
    let at = empty(dir.path());
    let named = |file: &str, name: &str| {
        let annotation = format!("\"annotations\":{{\"org.opencontainers.image.ref.name\":\"{name}\"}}");
        format!("{},{annotation}}}", holding(&at, file, machine()))
    };
    index(&at, &[named("a", "first"), named("b", "second\\u001b[31m")]);
    let error = get(&at, None).unwrap_err().to_string();
    assert!(
        error.contains("first, second\\u{1b}[31m") && error.contains("PATH:NAME"),
        "{error}"
    );
    assert!(get(&at, Some("first")).unwrap().root.join("a").exists());
    index(&at, &[named("a", "first"), named("a", "latest")]);
    assert!(get(&at, None).unwrap().root.join("a").exists());
}

#[test]
fn an_image_for_another_machine_is_refused_whatever_the_index_says() {
    let dir = tempfile::tempdir().unwrap();
    let layer = || vec![("tar", tar(&[]))];
    let at = layout_of(
        dir.path(),
        "{\"os\":\"linux\",\"architecture\":\"s390x\"}",
        &layer(),
    );
    let error = get(&at, None).unwrap_err();
    assert!(
        matches!(&error, ImageError::NoImage(why) if why.contains("linux/s390x")),
        "{error}"
    );
    let at = layout_of(
        dir.path(),
        "{\"os\":\"windows\",\"architecture\":\"amd64\"}",
        &layer(),
    );
    assert!(get(&at, None).unwrap_err().to_string().contains("windows"));
    let dir = tempfile::tempdir().unwrap();
    let at = empty(dir.path());
    index(&at, &[holding(&at, "theirs", "s390x") + "}"]);
    let error = get(&at, None).unwrap_err().to_string();
    assert!(
        error.contains(&format!("no image for linux/{}", machine())),
        "{error}"
    );
}

#[test]
fn the_path_is_the_images_own() {
    for (config, path) in [
        ("{}", None),
        ("{\"config\":null}", None),
        ("{\"config\":{\"Env\":null}}", None),
        ("{\"config\":{\"Env\":[\"A=b\",\"PATH=\"]}}", None),
        ("{\"config\":{\"Env\":[\"PATH=/a\\u0000:/b\"]}}", None),
        (
            "{\"config\":{\"Env\":[\"A=b\",\"PATH=/opt/x:/bin\"],\"User\":\"1000\"}}",
            Some("/opt/x:/bin"),
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let at = layout_of(dir.path(), config, &[("tar", tar(&[]))]);
        for _ in 0..2 {
            assert_eq!(get(&at, None).unwrap().path.as_deref(), path, "{config}");
        }
    }
}

#[test]
fn blobs_of_another_size_or_kind_are_refused() {
    let made = |change: &dyn Fn(&Path)| {
        let dir = tempfile::tempdir().unwrap();
        let at = layout_of(dir.path(), "{}", &[("tar", tar(&[]))]);
        let blobs = std::fs::read_dir(at.join("blobs/sha256")).unwrap().flatten();
        let largest = blobs.max_by_key(|b| b.metadata().unwrap().len()).unwrap().path();
        change(&largest);
        get(&at, None).map(|_| ()).map_err(|e| e.to_string())
    };
    assert_eq!(made(&|_| {}), Ok(()));
    let longer = made(&|p| std::fs::write(p, tar(&[]).repeat(2)).unwrap());
    assert!(longer.unwrap_err().contains("bytes instead of"));
    let gone = made(&|p| std::fs::remove_file(p).unwrap());
    assert!(gone.unwrap_err().contains("No such file"));
    let linked = made(&|p| {
        let to = p.with_extension("moved");
        std::fs::rename(p, &to).unwrap();
        std::os::unix::fs::symlink(to, p).unwrap();
    });
    assert!(linked.unwrap_err().contains("symbolic links"));
    let dir = made(&|p| {
        std::fs::remove_file(p).unwrap();
        std::fs::create_dir(p).unwrap();
    });
    assert!(dir.unwrap_err().contains("not a regular file"));
}
