//! Every way in which a policy can be wrong, as data.
use crate::model::HostPatternError;
use crate::parse::tree::MAX_BYTES;
use qila_types::UnitError;

/// What is wrong with one place of a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the message is the description; fields are what was written"
)]
pub enum Problem {
    #[error("{0}")]
    Syntax(String),
    #[error("the file has {bytes} bytes; a policy has at most {MAX_BYTES}")]
    TooLarge { bytes: usize },
    #[error("`version` is missing")]
    NoVersion,
    #[error("version `{0}` is not known to this Qila")]
    Version(String),
    #[error("unknown key `{key}`")]
    UnknownKey { key: String, help: String },
    #[error("key `{key}` is given twice, first on line {first_line}")]
    DuplicateKey { key: String, first_line: u32 },
    #[error("expected {wanted}, found {found}")]
    WrongType {
        wanted: &'static str,
        found: &'static str,
    },
    #[error("`{key}` is missing")]
    Missing { key: &'static str },
    #[error("`{one}` and `{other}` exclude each other")]
    Exclusive { one: &'static str, other: &'static str },
    #[error("{0}")]
    Unit(#[from] UnitError),
    #[error("`{text}` is not one of {wanted}")]
    Word {
        text: String,
        wanted: String,
        nearest: Option<String>,
    },
    #[error("`{text}` is not a whole number from {low} to {high}")]
    Number { text: String, low: u64, high: u64 },
    #[error("`{text}` is not {wanted}")]
    Form { text: String, wanted: &'static str },
    #[error(
        "not a source: expected `env:NAME`, `file:PATH`, or a map with `command`, `vault`, `oauth2`, `aws` or `github_app`"
    )]
    Source,
    #[error("not a secret's place: expected `env:NAME`, `file:PATH` or `{{command: [PROGRAM, ARGUMENT]}}`")]
    Secret,
    #[error("a URL with `@`: a user or a password is never written into a policy")]
    UrlWithUser,
    #[error("{0}")]
    Host(#[from] HostPatternError),
    #[error("header `{0}` frames or routes the request and cannot carry a credential")]
    ReservedHeader(String),
    #[error("header `{0}` is the gateway's own: it is written anew for what is sent on")]
    OwnHeader(String),
    #[error("the condition does not compile: {0}")]
    Condition(String),
    #[error("a budget bounds one quantity: `money`, `tokens`, `requests` or `bytes`")]
    NoQuantity,
    #[error("{what} is empty")]
    Empty { what: &'static str },
    #[error("{what}: more than {most}")]
    TooMany { what: &'static str, most: usize },
    #[error("there is no built-in policy `{name}`")]
    UnknownPreset { name: String, nearest: Option<String> },
    #[error("`{0}` extends itself")]
    Cycle(String),
    #[error("`extends` goes deeper than {0} files")]
    TooDeep(usize),
    #[error("cannot read `{reference}`: {cause}")]
    Load { reference: String, cause: LoadError },
    #[error("{0}")]
    Contradiction(#[from] Contradiction),
}

/// Why a file named by `extends` could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    /// There is no such file.
    #[error("no such file")]
    NotFound,
    /// This reader loads no files.
    #[error("files cannot be extended here, only built-in policies")]
    NoFiles,
    /// Larger than a policy may be.
    #[error("larger than {MAX_BYTES} bytes")]
    TooLarge,
    /// Not text.
    #[error("not UTF-8 text")]
    NotText,
    /// The system's own reason.
    #[error("{0}")]
    System(String),
}

/// Two clauses that cannot both hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "the message is the description; fields are what was written"
)]
pub enum Contradiction {
    #[error("credential `{credential}` names host `{host}`, which no rule allows")]
    HostNotAllowed { credential: String, host: String },
    #[error("credential `{credential}` is used by no rule")]
    Unused { credential: String },
    #[error("credential `{credential}` is not defined")]
    Undefined {
        credential: String,
        nearest: Option<String>,
    },
    #[error("rule for `{host}` uses credential `{credential}`, whose hosts do not cover it")]
    HostNotCovered { host: String, credential: String },
    #[error(
        "`{host}` is an address: a connection without a name cannot be intercepted, so {what} cannot be enforced"
    )]
    AddressIntercepted { host: String, what: &'static str },
    #[error("`{hidden}` is hidden, and `{path}` is {how}")]
    HiddenUsed {
        hidden: String,
        path: String,
        how: &'static str,
    },
    #[error("`{hidden}` is hidden, and it holds the workspace")]
    HiddenWorkspace { hidden: String },
    #[error("`{0}` cannot be hidden: it is the whole file system")]
    HiddenRoot(String),
    #[error("variable `{variable}` is set by credentials `{one}` and `{other}`")]
    VariableTwice {
        variable: String,
        one: String,
        other: String,
    },
    #[error("variable `{variable}` is set by credential `{credential}` and by `environment.set`")]
    VariableSet { variable: String, credential: String },
    #[error("`{pattern}` would pass on `{variable}`, the real value of credential `{credential}`")]
    VariablePassed {
        pattern: String,
        variable: String,
        credential: String,
    },
    #[error("`{path}` shows the agent `{file}`, the real value of credential `{credential}`")]
    SecretShown {
        path: String,
        file: String,
        credential: String,
    },
    #[error(
        "`{path}` lets the agent change `{file}`, the program that credential `{credential}` runs outside"
    )]
    ProgramWritable {
        path: String,
        file: String,
        credential: String,
    },
    #[error("system call `{0}` is both allowed and denied")]
    SyscallBoth(String),
    #[error("tools are named, and none of the `methods` is `tools/call`")]
    ToolsUncalled,
    #[error("`sigv4` signs with keys of AWS, and the source is another")]
    SignsWithoutKeys,
    #[error("keys of AWS are never sent: they sign")]
    KeysUnsigned,
    #[error("{what} is where the gateway places credential `{credential}`")]
    ConditionOnCredential { what: String, credential: String },
    #[error("{what}: requests of the rule's methods ({methods}) say no such thing")]
    MethodWithoutBody { what: &'static str, methods: String },
    #[error("budget at `{0}`, which no rule allows")]
    BudgetHost(String),
    #[error(
        "budget in {what} at `{host}`: a rule passes that through untouched, where only bytes are counted"
    )]
    BudgetPassed { host: String, what: &'static str },
    #[error("paths beneath the workspace are named, and `workspace` is `none`")]
    NoWorkspace,
}

impl Problem {
    /// What to do, where that follows from the problem itself.
    pub(crate) fn help(&self) -> Option<String> {
        match self {
            Problem::NoVersion => Some("begin the file with `version: 1`".to_owned()),
            Problem::Version(_) => Some("this Qila reads `version: 1`".to_owned()),
            Problem::UnknownKey { help, .. } => Some(help.clone()),
            Problem::Word {
                nearest: Some(near), ..
            } => Some(format!("did you mean `{near}`?")),
            Problem::UnknownPreset { nearest, .. } => Some(match nearest {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!(
                    "built-in policies are {}; a file is named with `./`",
                    crate::preset::names()
                ),
            }),
            Problem::OwnHeader(name) if name.eq_ignore_ascii_case("content-length") => {
                Some("bound the body with `body: 1MiB`".to_owned())
            }
            Problem::OwnHeader(name) if name.eq_ignore_ascii_case("host") => {
                Some("the rule's `host` says where a request may go".to_owned())
            }
            Problem::Condition(text) if text.contains("optional attribute") => Some(
                "ask first whether it is there: `context.query has page && context.query.page == \"1\"`"
                    .to_owned(),
            ),
            Problem::Condition(_) => Some(
                "what a condition may look at is in docs/policy.md, under `network.allow[].when`".to_owned(),
            ),
            Problem::NoQuantity => Some("add one of them, such as `money: 5 USD`".to_owned()),
            Problem::Source | Problem::Secret => {
                Some("a real value is never written into a policy, only where it is found".to_owned())
            }
            Problem::Contradiction(c) => c.help(),
            _ => None,
        }
    }
}

impl Contradiction {
    fn help(&self) -> Option<String> {
        Some(match self {
            Contradiction::HostNotAllowed { host, credential } => format!(
                "add a rule `{{host: \"{host}\", credential: {credential}}}` to network.allow, or remove the host"
            ),
            Contradiction::Unused { credential } => {
                format!("add `credential: {credential}` to a rule of network.allow, or remove it")
            }
            Contradiction::Undefined {
                nearest: Some(near), ..
            } => format!("did you mean `{near}`?"),
            Contradiction::Undefined { credential, .. } => format!("define `credentials.{credential}`"),
            Contradiction::HostNotCovered { host, credential } => {
                format!("add `{host}` to credentials.{credential}.hosts")
            }
            Contradiction::AddressIntercepted { .. } => "name the host instead of its address".to_owned(),
            Contradiction::HiddenUsed { .. } => {
                "a hidden path stays hidden: `hide` adds up over every file that is extended".to_owned()
            }
            Contradiction::VariablePassed { .. } => {
                "the agent gets a placeholder through credentials.*.env; name variables more narrowly"
                    .to_owned()
            }
            Contradiction::ToolsUncalled => "add `tools/call` to `methods`".to_owned(),
            Contradiction::SignsWithoutKeys => {
                "give it a source `{aws: {access_key_id: env:…, secret_access_key: env:…, region: …, service: …}}`"
                    .to_owned()
            }
            Contradiction::KeysUnsigned => "write `placement: sigv4`".to_owned(),
            Contradiction::ConditionOnCredential { .. } => {
                "the agent sends a placeholder there, and the real value is what is sent on".to_owned()
            }
            Contradiction::BudgetHost(host) => format!("add `{host}` to network.allow, or remove the budget"),
            Contradiction::BudgetPassed { .. } => {
                "have the rule ask for something of the request, such as `paths: [\"/**\"]`".to_owned()
            }
            Contradiction::SecretShown { file, .. } => format!("add `{file}` to filesystem.hide"),
            _ => return None,
        })
    }
}
