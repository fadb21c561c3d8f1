//! A base that is several layers laid over each other, looked at without mounting it.
use crate::error::HostError;
use qila_image::Stack;
use qila_plan::RootEntry;
use std::path::Path;

/// The layers, opened.
pub(crate) struct Piled {
    stack: Stack,
}

impl Piled {
    /// Opens layers, the uppermost first.
    pub(crate) fn open(layers: &[String]) -> Result<Piled, HostError> {
        let stack = Stack::open(layers).map_err(|e| HostError::Unreadable {
            path: layers.first().map(Into::into).unwrap_or_default(),
            source: e.into(),
        })?;
        Ok(Piled { stack })
    }

    /// Which of these directories are at its top.
    pub(crate) fn root(&self, names: &[&str]) -> Vec<RootEntry> {
        let look = |name: &&str| {
            let path = format!("/{name}");
            let found = self.stack.find(Path::new(&path), false).ok().flatten()?;
            let link = match found.link {
                Some(to) => Some(to.to_str()?.to_owned()),
                None if found.kind.is_dir() => None,
                None => return None,
            };
            Some(RootEntry { path, link })
        };
        names.iter().filter_map(look).collect()
    }

    /// Where it has this file, links resolved, as it will be seen inside.
    pub(crate) fn file(&self, path: &str) -> Option<String> {
        let found = self.stack.find(Path::new(path), true).ok().flatten()?;
        found.path.to_str().map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn what_is_seen_of_layers() {
        let dir = tempfile::tempdir().unwrap();
        let at = |path: &str| dir.path().join(path);
        for path in [
            "low/usr/bin",
            "low/etc/ssl",
            "low/opt/x",
            "high/usr/lib",
            "high/etc",
            "high/run",
        ] {
            std::fs::create_dir_all(at(path)).unwrap();
        }
        symlink("usr/bin", at("low/bin")).unwrap();
        symlink("/run/resolv.conf", at("low/etc/resolv.conf")).unwrap();
        symlink("../../../outside", at("high/etc/hosts")).unwrap();
        std::fs::write(at("high/run/resolv.conf"), "").unwrap();
        std::fs::write(at("outside"), "").unwrap();
        std::fs::write(at("low/etc/ssl/cert.pem"), "").unwrap();
        std::fs::write(at("high/opt"), "a file over a directory").unwrap();
        let layers = ["high", "low"].map(|l| at(l).to_str().unwrap().to_owned());
        let piled = Piled::open(&layers).unwrap();
        let entry = |path: &str, link: Option<&str>| RootEntry {
            path: path.into(),
            link: link.map(str::to_owned),
        };
        assert_eq!(
            piled.root(&["bin", "etc", "lib", "opt", "usr"]),
            [
                entry("/bin", Some("usr/bin")),
                entry("/etc", None),
                entry("/usr", None)
            ]
        );
        assert_eq!(
            piled.file("/etc/resolv.conf").as_deref(),
            Some("/run/resolv.conf")
        );
        assert_eq!(
            piled.file("/etc/ssl/cert.pem").as_deref(),
            Some("/etc/ssl/cert.pem")
        );
        // Nothing above the root.
        assert_eq!(piled.file("/etc/hosts"), None);
        assert_eq!(piled.file("/opt/x"), None);
        assert!(Piled::open(&[at("none").to_str().unwrap().to_owned()]).is_err());
    }
}
