//! Where a credential comes from.
use super::reader::{Fields, Path, Reader, short};
use super::tree::{Node, Value};
use super::{form, keys};
use crate::error::Problem;
use crate::model::{Access, Aws, GithubApp, Oauth2, PolicyPath, SecretRef, ServiceUrl, Source, Vault};
use std::collections::{BTreeMap, BTreeSet};

/// Most arguments of a command that prints a credential.
const MAX_ARGUMENTS: usize = 64;
/// Most repositories or permissions of a GitHub App's token: what GitHub takes.
const MAX_NAMES: usize = 500;
const SOURCE: &str = "a source: `env:NAME`, `file:PATH` or a map such as `{command: [PROGRAM, ARGUMENT]}`";
const SECRET: &str = "a secret: `env:NAME`, `file:PATH` or `{command: [PROGRAM, ARGUMENT]}`";
const URL: &str =
    "a URL such as `https://vault:8200`: `https`, or `http` to loopback; without user, query or trailing `/`";
const GITHUB: &str = "https://api.github.com";
const ACCESS: &[(&str, Access)] = &[
    ("read", Access::Read),
    ("write", Access::Write),
    ("admin", Access::Admin),
];

pub(super) fn source(r: &mut Reader<'_>, node: &Node, path: &Path<'_>) -> Option<Source> {
    if !matches!(node.value, Value::Map(_)) {
        return Some(match simple(r, node, path, SOURCE, Problem::Source)? {
            SecretRef::Env(name) => Source::Env(name),
            SecretRef::File(path) => Source::File(path),
            SecretRef::Command(words) => Source::Command(words),
        });
    }
    let f = r.fields(node, path, keys::SOURCE);
    let given: Vec<&'static str> = keys::SOURCE
        .iter()
        .copied()
        .filter(|k| f.get(k).is_some())
        .collect();
    match given.as_slice() {
        [] => {
            r.problem(f.at, path, Problem::Missing { key: "command" });
            None
        }
        [key] => {
            let (node, path) = (f.get(key)?, path.key(key));
            match *key {
                "command" => command(r, node, &path).map(Source::Command),
                "vault" => vault(r, node, &path).map(Source::Vault),
                "oauth2" => oauth2(r, node, &path).map(Source::Oauth2),
                "aws" => aws(r, node, &path).map(Source::Aws),
                _ => github(r, node, &path).map(Source::GithubApp),
            }
        }
        [one, other, ..] => {
            r.problem(f.at, path, Problem::Exclusive { one, other });
            None
        }
    }
}

fn simple(
    r: &mut Reader<'_>,
    node: &Node,
    path: &Path<'_>,
    wanted: &'static str,
    problem: Problem,
) -> Option<SecretRef> {
    let text = r.text(node, path, wanted)?;
    if let Some(name) = text.strip_prefix("env:").filter(|n| form::variable(n)) {
        return Some(SecretRef::Env(name.to_owned()));
    }
    if let Some(file) = text.strip_prefix("file:").filter(|f| form::path(f)) {
        return Some(SecretRef::File(PolicyPath(file.to_owned())));
    }
    r.problem(node.at, path, problem);
    None
}

fn command(r: &mut Reader<'_>, node: &Node, path: &Path<'_>) -> Option<Vec<String>> {
    let words = r.each(Some(node), path, |r, n, p| {
        r.form(n, p, "an argument without NUL", form::argument)
    });
    let words: Vec<String> = words.into_iter().map(|(w, _)| w).collect();
    let Some(program) = words.first() else {
        r.problem(node.at, path, Problem::Empty { what: "the command" });
        return None;
    };
    if words.len() > MAX_ARGUMENTS {
        let (what, most) = ("arguments", MAX_ARGUMENTS);
        r.problem(node.at, path, Problem::TooMany { what, most });
        return None;
    }
    // A bare name is looked up in PATH; a relative path would depend on where Qila was started.
    if program.is_empty() || (program.contains('/') && !form::path(program)) {
        let (text, wanted) = (short(program), "a program: a name, an absolute path or `~/…`");
        r.problem(node.at, path, Problem::Form { text, wanted });
        return None;
    }
    Some(words)
}

/// One clause of a source: its keys, those that must be there, and what is wrong with each.
struct Part<'n, 'p> {
    fields: Fields<'n>,
    path: &'p Path<'p>,
}

impl<'n, 'p> Part<'n, 'p> {
    fn of(
        r: &mut Reader<'_>,
        node: &'n Node,
        path: &'p Path<'p>,
        keys: &[&str],
        needed: &[&'static str],
    ) -> Part<'n, 'p> {
        let fields = r.fields(node, path, keys);
        if matches!(node.value, Value::Map(_)) {
            for key in needed.iter().filter(|k| fields.get(k).is_none()) {
                r.problem(fields.at, path, Problem::Missing { key });
            }
        }
        Part { fields, path }
    }

    fn form(
        &self,
        r: &mut Reader<'_>,
        key: &str,
        wanted: &'static str,
        check: fn(&str) -> bool,
    ) -> Option<String> {
        r.form(self.fields.get(key)?, &self.path.key(key), wanted, check)
    }

    fn url(&self, r: &mut Reader<'_>, key: &str) -> Option<ServiceUrl> {
        let (node, path) = (self.fields.get(key)?, self.path.key(key));
        if r.text(node, &path, URL)?.contains('@') {
            // What stands before it may be a password.
            r.problem(node.at, &path, Problem::UrlWithUser);
            return None;
        }
        r.form(node, &path, URL, form::service_url).map(ServiceUrl)
    }

    fn secret(&self, r: &mut Reader<'_>, key: &str) -> Option<SecretRef> {
        let (node, path) = (self.fields.get(key)?, self.path.key(key));
        if !matches!(node.value, Value::Map(_)) {
            return simple(r, node, &path, SECRET, Problem::Secret);
        }
        let f = r.fields(node, &path, keys::SECRET);
        let Some(list) = f.get("command") else {
            r.problem(f.at, &path, Problem::Missing { key: "command" });
            return None;
        };
        command(r, list, &path.key("command")).map(SecretRef::Command)
    }

    fn number(&self, r: &mut Reader<'_>, key: &str) -> Option<u64> {
        let most = u64::from(u32::MAX) << 16;
        r.number(self.fields.get(key)?, &self.path.key(key), 1, most)
    }
}

fn vault(r: &mut Reader<'_>, node: &Node, path: &Path<'_>) -> Option<Vault> {
    let needed = &["address", "path", "field", "token"];
    let p = Part::of(r, node, path, keys::VAULT, needed);
    let wanted = "a path beneath `/v1/` such as `secret/data/openai`";
    let (address, secret) = (p.url(r, "address"), p.form(r, "path", wanted, form::vault_path));
    let field = p.form(r, "field", "a name of a field", form::word);
    let token = p.secret(r, "token");
    let namespace = p.form(
        r,
        "namespace",
        "a name space such as `team/one`",
        form::vault_path,
    );
    Some(Vault {
        address: address?,
        path: secret?,
        field: field?,
        token: token?,
        namespace,
    })
}

fn oauth2(r: &mut Reader<'_>, node: &Node, path: &Path<'_>) -> Option<Oauth2> {
    let p = Part::of(r, node, path, keys::OAUTH2, &["token_url", "client_id"]);
    let token_url = p.url(r, "token_url");
    let client_id = p.form(r, "client_id", "an id of a client", form::word);
    let (client_secret, refresh_token) = (p.secret(r, "client_secret"), p.secret(r, "refresh_token"));
    let scope = p.form(r, "scope", "scopes with one space between each", form::scopes);
    let revoke_url = p.url(r, "revoke_url");
    // Without a secret a client can only refresh.
    if p.fields.get("client_secret").is_none() && p.fields.get("refresh_token").is_none() {
        let key = "client_secret";
        r.problem(p.fields.at, path, Problem::Missing { key });
        return None;
    }
    Some(Oauth2 {
        token_url: token_url?,
        client_id: client_id?,
        client_secret,
        scope,
        refresh_token,
        revoke_url,
    })
}

fn aws(r: &mut Reader<'_>, node: &Node, path: &Path<'_>) -> Option<Aws> {
    let needed = &["access_key_id", "secret_access_key", "region", "service"];
    let p = Part::of(r, node, path, keys::AWS, needed);
    let (access_key_id, secret_access_key) = (p.secret(r, "access_key_id"), p.secret(r, "secret_access_key"));
    let session_token = p.secret(r, "session_token");
    let region = p.form(r, "region", "a region such as `eu-central-1`", form::aws_word);
    let service = p.form(r, "service", "a service such as `s3`", form::aws_word);
    Some(Aws {
        access_key_id: access_key_id?,
        secret_access_key: secret_access_key?,
        session_token,
        region: region?,
        service: service?,
    })
}

fn github(r: &mut Reader<'_>, node: &Node, path: &Path<'_>) -> Option<GithubApp> {
    let needed = &["app_id", "installation_id", "private_key"];
    let p = Part::of(r, node, path, keys::GITHUB_APP, needed);
    let (app_id, installation_id) = (p.number(r, "app_id"), p.number(r, "installation_id"));
    let private_key = p.secret(r, "private_key");
    let api = match p.fields.get("api") {
        Some(_) => p.url(r, "api"),
        None => Some(ServiceUrl(GITHUB.to_owned())),
    };
    let repositories = r.each(
        p.fields.get("repositories"),
        &path.key("repositories"),
        |r, n, p| {
            r.form(
                n,
                p,
                "a name of a repository, without its owner",
                form::repository,
            )
        },
    );
    let repositories: BTreeSet<String> = repositories.into_iter().map(|(name, _)| name).collect();
    let permissions = match p.fields.get("permissions") {
        Some(node) => permissions(r, node, &path.key("permissions")),
        None => BTreeMap::new(),
    };
    // An empty list would ask for everything.
    for (key, what, empty) in [
        (
            "repositories",
            "the list of repositories",
            repositories.is_empty(),
        ),
        ("permissions", "the map of permissions", permissions.is_empty()),
    ] {
        if let Some(node) = p.fields.get(key)
            && empty
        {
            r.problem(node.at, &path.key(key), Problem::Empty { what });
        }
    }
    if repositories.len() > MAX_NAMES {
        let (what, most) = ("repositories", MAX_NAMES);
        r.problem(p.fields.at, path, Problem::TooMany { what, most });
    }
    Some(GithubApp {
        app_id: app_id?,
        installation_id: installation_id?,
        private_key: private_key?,
        api: api?,
        repositories,
        permissions,
    })
}

fn permissions(r: &mut Reader<'_>, node: &Node, path: &Path<'_>) -> BTreeMap<String, Access> {
    let mut out = BTreeMap::new();
    for entry in r.entries(node, path) {
        let own = path.key(&entry.key);
        if !form::permission(&entry.key) {
            let (text, wanted) = (short(&entry.key), "a name of a permission such as `contents`");
            r.problem(entry.key_at, &own, Problem::Form { text, wanted });
        } else if let Some(access) = r.word(&entry.value, &own, ACCESS) {
            out.insert(entry.key.clone(), access);
        }
    }
    out
}
