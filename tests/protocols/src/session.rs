//! One tier, one user: the whole matrix inside one run of `qila`, then the hunt and the sum of what models cost.
use crate::judge::{self, Trace};
use crate::place::{self, Stage};
use crate::row::{self, Row};
use crate::rule::{self, CREDENTIALS, NAMES, Rule};
use crate::secret::{self, Search};
use crate::server::{ENCODINGS, LIAR, ODD, Record, Server};
use crate::table::{Line, Outcome};
use crate::{cost, hunt};
use qila_agents::host::Mode;
use qila_agents::qila::{Finished, Qila, finish};
use qila_agents::skip::Skip;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

/// What is judged beside the rows.
pub const EXTRA: [&str; 4] = [
    "all/any/secrets/credential",
    "hunt/any/secrets/credential",
    "hunt/any/odd-spellings/credential",
    "models/any/cost/credential",
];

/// What is wanted of a session.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// `process` or `container`.
    pub tier: String,
    /// As whom.
    pub mode: Mode,
    /// Rows by pattern.
    pub only: String,
    /// Exchanges of the hunt; none for 0.
    pub hunt: usize,
}

/// A session in the making.
pub struct Session {
    /// What is wanted.
    pub wanted: Wanted,
    /// Its directories.
    pub stage: Stage,
    /// Its server.
    pub server: Server,
    /// Its command.
    pub qila: Qila,
    /// Real values: variable, value.
    pub keys: Vec<(String, String)>,
    /// The rules that this build has.
    pub rules: Vec<Rule>,
    /// Why it has not the others.
    pub unknown: BTreeMap<Rule, String>,
}

impl Session {
    /// Prepares everything.
    pub fn begin(wanted: Wanted) -> Result<Session, Skip> {
        wanted.mode.available()?;
        let binary = place::qila()?;
        wanted.mode.reaches(&binary)?;
        let stage = Stage::set();
        let keys: Vec<(String, String)> = CREDENTIALS
            .iter()
            .map(|(.., variable)| ((*variable).to_owned(), secret::random()))
            .collect();
        let by_host: Vec<(&str, &str)> = CREDENTIALS
            .iter()
            .zip(&keys)
            .map(|((_, host, ..), (_, key))| (*host, key.as_str()))
            .collect();
        let server = Server::start(&NAMES, &by_host).map_err(|e| Skip::because(format!("no server: {e}")))?;
        std::fs::write(stage.path("in/ca.pem"), &server.authority).unwrap();
        let qila = Qila {
            binary,
            mode: wanted.mode,
            state: stage.path("state"),
            home: stage.path("home"),
            directory: stage.path("work"),
        };
        let mut session = Session {
            wanted,
            stage,
            server,
            qila,
            keys,
            rules: Vec::new(),
            unknown: BTreeMap::new(),
        };
        session.wanted.mode.own(session.stage.scratch.path());
        session.learn();
        Ok(session)
    }

    /// Finds out which kinds of rule this build knows and enforces.
    fn learn(&mut self) {
        for rule in Rule::ALL {
            let file = self.write_policy(&[rule], "probe.yaml");
            self.wanted.mode.own(&file);
            let mut command = self.qila.command();
            command
                .envs(self.keys.iter().map(|(n, v)| (n, v)))
                .args(["run", "--plan", "--isolation", &self.wanted.tier, "--policy"])
                .arg(&file)
                .args(["--", "true"]);
            let done = finish(command);
            if done.status.success() {
                self.rules.push(rule);
            } else {
                let why = done.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
                self.unknown.insert(rule, why.chars().take(300).collect());
            }
        }
    }

    fn write_policy(&self, rules: &[Rule], name: &str) -> PathBuf {
        let read = [place::tools(), self.stage.path("in")].map(|p| p.display().to_string());
        let read: Vec<String> = read
            .into_iter()
            .filter(|p| std::path::Path::new(p).exists())
            .collect();
        let node = place::tools().join("node");
        let path = self.stage.path(name);
        std::fs::write(&path, rule::policy(rules, &read, &node.display().to_string())).unwrap();
        path
    }

    /// Runs a command inside, under all rules.
    pub fn run(&self, argv: &[String]) -> Finished {
        let policy = self.write_policy(&self.rules, "policy.yaml");
        let prices = self.stage.path("prices.yaml");
        std::fs::write(&prices, cost::prices()).unwrap();
        self.wanted.mode.own(self.stage.scratch.path());
        let mut command = self.qila.command();
        command
            .envs(self.keys.iter().map(|(n, v)| (n, v)))
            .args(["run", "--json", "--isolation", &self.wanted.tier, "--policy"])
            .arg(policy);
        for name in NAMES {
            let secure = if name == LIAR {
                self.server.liar
            } else {
                self.server.tls
            };
            command.args(["--upstream", &format!("{name}:443={secure}")]);
            command.args(["--upstream", &format!("{name}:80={}", self.server.clear)]);
        }
        command
            .arg("--prices")
            .arg(prices)
            .arg("--upstream-ca")
            .arg(self.stage.path("in/ca.pem"))
            .arg("--")
            .args(argv);
        finish(command)
    }

    /// For whoever searches.
    pub fn search(&self) -> Search {
        Search::of(&self.keys)
    }

    /// The whole session.
    pub fn all(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        let rows: Vec<Row> = row::all()
            .into_iter()
            .filter(|r| crate::pending::fits(&self.wanted.only, &r.id()))
            .collect();
        let (groups, skipped) = self.groups(&rows);
        let plan = json!({"at_once": 3, "patience": 150, "groups": groups});
        std::fs::write(self.stage.path("in/plan.json"), plan.to_string()).unwrap();
        let script = self.stage.path("in/drive.py").display().to_string();
        let plan = self.stage.path("in/plan.json").display().to_string();
        let done = self.run(&["/usr/bin/python3".into(), script, plan]);
        if std::env::var_os("QILA_MATRIX_SHOW").is_some() {
            eprintln!("{}", done.text());
        }
        let shown: HashMap<String, Value> = done
            .stdout
            .lines()
            .filter_map(|l| serde_json::from_str::<Value>(l).ok())
            .filter_map(|v| Some((v["case"].as_str()?.to_owned(), v)))
            .collect();
        let ended = match shown.is_empty() && !rows.is_empty() {
            true => Some(done.stderr.chars().take(600).collect::<String>()),
            false => None,
        };
        let records = self.server.records();
        let mut by_case: HashMap<&str, Vec<&Record>> = HashMap::new();
        for record in &records {
            by_case.entry(&record.case).or_default().push(record);
        }
        for row in &rows {
            for deny in [false, true] {
                if deny && !row.has_deny() {
                    continue;
                }
                let word = if deny { "deny" } else { "allow" };
                let case = format!("{}/{word}", row.id());
                let outcome = if let Some(why) = skipped.get(row.client.script) {
                    Outcome::Skipped(why.clone())
                } else if let Some(why) = self.unknown.get(&row.rule) {
                    Outcome::Bad(format!("this build does not take the rule: {why}"))
                } else if let Some(why) = &ended {
                    Outcome::Bad(format!("nothing ran: {why}"))
                } else {
                    let op = row::case(row, deny, "");
                    let trace = Trace {
                        shown: shown.get(&case),
                        seen: by_case.get(case.as_str()).cloned().unwrap_or_default(),
                        key: self.key(&op),
                    };
                    let verdict = match deny {
                        false => judge::allowed(row, op["size"].as_u64().unwrap_or(0) as usize, &trace),
                        true => judge::denied(row, &trace),
                    };
                    Outcome::of(verdict)
                };
                lines.push(self.line(&row.id(), word, outcome));
            }
        }
        lines.extend(self.extras(&done, &records, ended.is_none()));
        lines
    }

    fn extras(&self, done: &Finished, records: &[Record], ran: bool) -> Vec<Line> {
        let mut lines = Vec::new();
        if !ran {
            return lines;
        }
        let everything = crate::pending::fits(&self.wanted.only, EXTRA[0]);
        if everything {
            let verdict = hunt::nothing_astray(&self.search(), records).and_then(|()| {
                match self.search().find(done.text().as_bytes()) {
                    Some(name) => Err(format!("the real value of {name} came out of the sandbox")),
                    None => Ok(()),
                }
            });
            lines.push(self.line(EXTRA[0], "deny", Outcome::of(verdict)));
        }
        if crate::pending::fits(&self.wanted.only, EXTRA[3]) {
            lines.push(self.line(EXTRA[3], "allow", Outcome::of(cost::agrees(self, done))));
        }
        let hunts: [(&str, &[&str], usize); 2] = [
            (EXTRA[1], &ENCODINGS, self.wanted.hunt),
            (EXTRA[2], &ODD, self.wanted.hunt.min(40)),
        ];
        for (row, encodings, count) in hunts {
            if count == 0 || !crate::pending::fits(&self.wanted.only, row) {
                continue;
            }
            let outcome = match place::runner("hunt.py", self.wanted.mode) {
                Ok(python) => Outcome::of(hunt::in_parts(self, &python[0], count, encodings)),
                Err(skip) => Outcome::Skipped(skip.0),
            };
            lines.push(self.line(row, "deny", outcome));
        }
        lines
    }

    fn line(&self, row: &str, case: &'static str, outcome: Outcome) -> Line {
        let user = if self.wanted.mode == Mode::Root {
            "root"
        } else {
            "user"
        };
        Line {
            row: row.to_owned(),
            case,
            column: format!("{}, {user}", self.wanted.tier),
            outcome: outcome.against(crate::pending::reason(row, case)),
        }
    }

    /// The real key of the host that a case goes to.
    fn key(&self, op: &Value) -> &str {
        let base = op["base"].as_str().unwrap_or_default();
        let host = base.rsplit('/').next().unwrap_or_default();
        let at = CREDENTIALS
            .iter()
            .position(|(_, h, ..)| *h == host && host != LIAR);
        at.map_or("", |i| self.keys[i].1.as_str())
    }

    /// The clients with their cases, and those that cannot run here.
    fn groups(&self, rows: &[Row]) -> (Vec<Value>, BTreeMap<&'static str, String>) {
        let authority = self.stage.path("in/ca.pem").display().to_string();
        let mut groups: BTreeMap<&'static str, Vec<Value>> = BTreeMap::new();
        let mut skipped = BTreeMap::new();
        for row in rows.iter().filter(|r| self.rules.contains(&r.rule)) {
            let ops = groups.entry(row.client.script).or_default();
            ops.push(row::case(row, false, &authority));
            if row.has_deny() {
                ops.push(row::case(row, true, &authority));
            }
        }
        let mut out = Vec::new();
        for (script, ops) in groups {
            match place::runner(script, self.wanted.mode) {
                Err(skip) => drop(skipped.insert(script, skip.0)),
                Ok(mut command) => {
                    command.push(self.stage.path("in").join(script).display().to_string());
                    // Many requests, one process each: in parts, side by side.
                    let size = if script == "curl_client.py" {
                        ops.len().div_ceil(2)
                    } else {
                        ops.len()
                    };
                    for part in ops.chunks(size.max(1)) {
                        out.push(json!({"command": command, "ops": part}));
                    }
                }
            }
        }
        (out, skipped)
    }
}
