//! A policy with every file that it extends, to be read again elsewhere with the same result.
use crate::error::{LoadError, PolicyError};
use crate::model::Policy;
use crate::parse::{Loaded, Origin, PolicySource, parse};
use serde::{Deserialize, Serialize};

/// The texts that a policy was read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bundle {
    name: String,
    text: String,
    files: Vec<File>,
}

/// One file that another extends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    reference: String,
    from: String,
    name: String,
    text: String,
}

/// Keeps what another source loads.
struct Keeping<'a> {
    source: &'a mut dyn PolicySource,
    files: Vec<File>,
}

impl PolicySource for Keeping<'_> {
    fn load(&mut self, reference: &str, from: &Origin) -> Result<Loaded, LoadError> {
        let loaded = self.source.load(reference, from)?;
        self.files.push(File {
            reference: reference.to_owned(),
            from: from.name.clone(),
            name: loaded.name.clone(),
            text: loaded.text.clone(),
        });
        Ok(loaded)
    }
}

/// Gives what was kept, and nothing else.
struct Kept<'a>(&'a [File]);

impl PolicySource for Kept<'_> {
    fn load(&mut self, reference: &str, from: &Origin) -> Result<Loaded, LoadError> {
        let found = self
            .0
            .iter()
            .find(|f| f.reference == reference && f.from == from.name);
        found.map_or(Err(LoadError::NoFiles), |f| {
            Ok(Loaded {
                name: f.name.clone(),
                text: f.text.clone(),
            })
        })
    }
}

impl Bundle {
    /// Reads a policy and keeps every text that it is made of.
    pub fn gather(
        name: &str,
        text: &str,
        source: &mut dyn PolicySource,
    ) -> Result<(Policy, Bundle), PolicyError> {
        let mut keeping = Keeping {
            source,
            files: Vec::new(),
        };
        let policy = parse(name, text, &mut keeping)?;
        let bundle = Bundle {
            name: name.to_owned(),
            text: text.to_owned(),
            files: keeping.files,
        };
        Ok((policy, bundle))
    }

    /// Reads the policy again.
    pub fn policy(&self) -> Result<Policy, PolicyError> {
        parse(&self.name, &self.text, &mut Kept(&self.files))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Two;

    impl PolicySource for Two {
        fn load(&mut self, reference: &str, _: &Origin) -> Result<Loaded, LoadError> {
            let text = match reference {
                "./a.yaml" => "version: 1\nextends: ./b.yaml\nresources: {processes: 7}\n",
                _ => "version: 1\nextends: offline\nresources: {memory: 1GiB}\n",
            };
            Ok(Loaded {
                name: format!("/etc/{reference}"),
                text: text.to_owned(),
            })
        }
    }

    #[test]
    fn what_was_gathered_reads_the_same_without_files() {
        let (policy, bundle) = Bundle::gather("p.yaml", "version: 1\nextends: ./a.yaml\n", &mut Two).unwrap();
        let text = serde_json::to_string(&bundle).unwrap();
        let back: Bundle = serde_json::from_str(&text).unwrap();
        assert_eq!(back.policy().unwrap(), policy);
        assert_eq!(policy.resources.processes, Some(7));
        let mut short = back;
        short.files.pop();
        assert!(short.policy().is_err());
    }
}
