//! The peers: the same trivial command in the walls that others build.
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::scratch::{Scratch, find};
use crate::timing::Program;

/// bubblewrap with every namespace, over the host's own files read-only.
pub fn bwrap(scratch: &Scratch) -> Result<Program, String> {
    let program = find("bwrap").ok_or("bwrap is not installed")?;
    let words = "--unshare-all --ro-bind / / --dev /dev --proc /proc true";
    Ok(Program::new(
        "bwrap",
        &scratch.folder,
        words_after(program, words.split(' ')),
    ))
}

/// An OCI runtime over a root file system that holds `true` and its libraries, and nothing to slow it down.
pub fn oci(scratch: &Scratch, runtime: &'static str) -> Result<Program, String> {
    let program = find(runtime).ok_or_else(|| format!("{runtime} is not installed"))?;
    let bundle = scratch.folder.join(format!("bundle-{runtime}"));
    root_with_true(&bundle.join("rootfs")).map_err(|error| format!("cannot prepare a bundle: {error}"))?;
    let namespaces = ["pid", "ipc", "uts", "mount", "network", "cgroup"];
    let config = json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false, "user": {"uid": 0, "gid": 0}, "args": ["/bin/true"], "cwd": "/",
            "env": ["PATH=/bin"], "noNewPrivileges": true,
        },
        "root": {"path": "rootfs", "readonly": true},
        "hostname": "bench",
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
        ],
        "linux": {"namespaces": namespaces.map(|kind| json!({"type": kind}))},
    });
    std::fs::write(bundle.join("config.json"), config.to_string()).map_err(|error| error.to_string())?;
    let state = scratch.folder.join(format!("state-{runtime}"));
    // crun refuses the hybrid cgroup layout, and works there without cgroups: faster for it, which favours the peer.
    let without_cgroups = (runtime == "crun").then(|| "--cgroup-manager=disabled".to_owned());
    let words = [
        "--root".to_owned(),
        state.display().to_string(),
        "run".to_owned(),
        "--bundle".to_owned(),
        bundle.display().to_string(),
        format!("qila-bench-{}", std::process::id()),
    ];
    Ok(Program::new(
        runtime,
        &scratch.folder,
        words_after(program, without_cgroups.into_iter().chain(words)),
    ))
}

/// nono over the working folder, the network off: Landlock alone.
pub fn nono(scratch: &Scratch) -> Result<Program, String> {
    let program = find("nono").ok_or("nono is not installed")?;
    let words = "run --allow . --block-net -- true";
    Ok(Program::new(
        "nono",
        &scratch.folder,
        words_after(program, words.split(' ')),
    ))
}

/// podman over a store of this run's own, with one image that holds `true` and its libraries.
pub fn podman(scratch: &Scratch) -> Result<Program, String> {
    let program = find("podman").ok_or("podman is not installed")?;
    let archive = archive_with_true(scratch, "podman")?;
    let store = ["--root", "--runroot"].map(|option| {
        let folder = scratch.folder.join(format!("podman{option}"));
        [option.to_owned(), folder.display().to_string()]
    });
    let import = ["import".to_owned(), archive, "qila-bench".to_owned()];
    let words = store.concat();
    let imported = Command::new(&program).args(words.iter().chain(&import)).output();
    if !imported.is_ok_and(|output| output.status.success()) {
        return Err("podman import failed".to_owned());
    }
    let run = "run --rm --network none qila-bench /bin/true"
        .split(' ')
        .map(str::to_owned);
    Ok(Program::new(
        "podman",
        &scratch.folder,
        words_after(program, words.into_iter().chain(run)),
    ))
}

/// Packs what [`root_with_true`] makes; for those who import images.
pub fn archive_with_true(scratch: &Scratch, name: &str) -> Result<String, String> {
    let root = scratch.folder.join(format!("root-{name}"));
    root_with_true(&root).map_err(|error| format!("cannot prepare an image: {error}"))?;
    let archive = scratch.folder.join(format!("root-{name}.tar"));
    let mut tar = Command::new("tar");
    let packed = tar
        .arg("-C")
        .arg(&root)
        .arg("-cf")
        .arg(&archive)
        .arg(".")
        .status();
    if packed.is_ok_and(|status| status.success()) {
        Ok(archive.display().to_string())
    } else {
        Err("cannot pack an image".to_owned())
    }
}

/// Copies `true` and the libraries that it names.
pub fn root_with_true(root: &Path) -> std::io::Result<()> {
    let real = std::fs::canonicalize("/bin/true")?;
    for folder in ["bin", "proc", "dev", "sys", "tmp"] {
        std::fs::create_dir_all(root.join(folder))?;
    }
    std::fs::copy(&real, root.join("bin/true"))?;
    // For a container that stays; it needs the same libraries.
    std::fs::copy(std::fs::canonicalize("/bin/sleep")?, root.join("bin/sleep"))?;
    let listing = Command::new("ldd").arg(&real).output()?;
    for word in String::from_utf8_lossy(&listing.stdout)
        .split_whitespace()
        .filter(|word| word.starts_with('/'))
    {
        let to = root.join(word.trim_start_matches('/'));
        if let Some(folder) = to.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::copy(std::fs::canonicalize(word)?, to)?;
    }
    Ok(())
}

fn words_after<S: Into<String>>(program: PathBuf, rest: impl IntoIterator<Item = S>) -> Vec<String> {
    std::iter::once(program.display().to_string())
        .chain(rest.into_iter().map(Into::into))
        .collect()
}
