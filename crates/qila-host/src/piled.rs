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
