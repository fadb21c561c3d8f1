//! The text of a policy, built from parts; every path and name is quoted.

/// A policy in the making.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    filesystem: Vec<String>,
    read: Vec<String>,
    write: Vec<String>,
    hide: Vec<String>,
    resources: Vec<String>,
    network: Vec<String>,
    allow: Vec<String>,
    credentials: Vec<String>,
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

impl Policy {
    /// Nothing but the workspace.
    pub fn new() -> Policy {
        Policy::default()
    }

    /// A line of the `filesystem` clause.
    pub fn filesystem(mut self, line: &str) -> Policy {
        self.filesystem.push(line.to_owned());
        self
    }

    /// A path that may be read.
    pub fn read(mut self, path: impl AsRef<std::path::Path>) -> Policy {
        self.read.push(quoted(&path.as_ref().to_string_lossy()));
        self
    }

    /// A path that may be written.
    pub fn write(mut self, path: impl AsRef<std::path::Path>) -> Policy {
        self.write.push(quoted(&path.as_ref().to_string_lossy()));
        self
    }

    /// A path that is hidden.
    pub fn hide(mut self, path: impl AsRef<std::path::Path>) -> Policy {
        self.hide.push(quoted(&path.as_ref().to_string_lossy()));
        self
    }

    /// A line of the `resources` clause.
    pub fn resource(mut self, line: &str) -> Policy {
        self.resources.push(line.to_owned());
        self
    }

    /// A line of the `network` clause.
    pub fn network(mut self, line: &str) -> Policy {
        self.network.push(line.to_owned());
        self
    }

    /// A rule for one host and port, with further keys in flow form (`, methods: [GET]`).
    pub fn allow(mut self, host: &str, port: u16, more: &str) -> Policy {
        self.allow
            .push(format!("{{host: {}, ports: [{port}]{more}}}", quoted(host)));
        self
    }

    /// A bearer credential `key` from `ESCAPE_KEY`, for one host.
    pub fn credential(mut self, host: &str) -> Policy {
        self.credentials.push(format!(
            "key: {{source: \"env:ESCAPE_KEY\", placement: bearer, hosts: [{}], env: [ESCAPE_KEY]}}",
            quoted(host)
        ));
        self
    }

    /// The text.
    pub fn text(&self) -> String {
        let mut out = String::from("version: 1\n");
        let mut clause = |name: &str, lines: Vec<String>| {
            if !lines.is_empty() {
                out.push_str(&format!("{name}:\n"));
                lines.iter().for_each(|l| out.push_str(&format!("  {l}\n")));
            }
        };
        clause("resources", self.resources.clone());
        let mut filesystem = self.filesystem.clone();
        for (name, paths) in [("read", &self.read), ("write", &self.write), ("hide", &self.hide)] {
            if !paths.is_empty() {
                filesystem.push(format!("{name}: [{}]", paths.join(", ")));
            }
        }
        clause("filesystem", filesystem);
        let mut network = vec!["loopback: true".to_owned()];
        network.extend(self.network.iter().cloned());
        if !self.allow.is_empty() {
            network.push("allow:".to_owned());
            network.extend(self.allow.iter().map(|rule| format!("  - {rule}")));
        }
        clause("network", network);
        clause("credentials", self.credentials.clone());
        clause("environment", vec!["pass: [LANG, TERM]".to_owned()]);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_every_part() {
        let text = Policy::new()
            .read("/a\"b")
            .hide("/h")
            .resource("processes: 4")
            .allow("x.test", 80, ", methods: [GET]")
            .text();
        assert_eq!(
            text,
            "version: 1\nresources:\n  processes: 4\nfilesystem:\n  read: [\"/a\\\"b\"]\n  hide: [\"/h\"]\nnetwork:\n  \
             loopback: true\n  allow:\n    - {host: \"x.test\", ports: [80], methods: [GET]}\nenvironment:\n  pass: [LANG, TERM]\n"
        );
    }
}
