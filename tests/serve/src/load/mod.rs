//! One client under load: what it does, one thing after another, until the daemon goes away.
mod check;

use crate::book::{Book, Kept, Program, Wish};
use crate::client::{Answer, Client};
use crate::dice::Dice;
use crate::sse::Events;
use bytes::Bytes;
use serde_json::{Value, json};

/// Most sandboxes of one client.
const MOST: usize = 5;
/// Longest file.
const LONGEST: u64 = 48 << 10;

/// The daemon went away.
pub(crate) struct Away;

/// A client that remembers.
pub struct Loader {
    name: String,
    client: Client,
    dice: Dice,
    n: u64,
    /// What it was promised.
    pub book: Book,
}

impl Loader {
    /// A new one.
    pub fn new(name: &str, client: Client, dice: Dice) -> Loader {
        Loader {
            name: name.to_owned(),
            client,
            dice,
            n: 0,
            book: Book::default(),
        }
    }

    /// Until the daemon goes away.
    pub async fn work(&mut self) {
        while self.step().await.is_ok() {}
    }

    fn fresh(&mut self, kind: &str) -> String {
        self.n += 1;
        format!("{}-{kind}{}", self.name, self.n)
    }

    /// Notes what was answered. Away: nothing was. None: it was refused, as it may be if the node is full.
    fn answered(
        &mut self,
        what: &'static str,
        answer: Result<Answer, String>,
        good: u16,
    ) -> Result<Option<Answer>, Away> {
        match answer {
            Err(_) => {
                self.book.broke(what);
                Err(Away)
            }
            Ok(answer) if answer.status == good => {
                self.book.did(what);
                Ok(Some(answer))
            }
            Ok(answer) if answer.status == 429 => Ok(None),
            Ok(answer) => {
                let said = format!("{}: {what}: {} {}", self.name, answer.status, answer.text());
                self.book.wrong(said);
                Ok(None)
            }
        }
    }

    async fn step(&mut self) -> Result<(), Away> {
        let still: Vec<String> = self
            .book
            .sandboxes
            .iter()
            .filter(|(_, k)| k.paused == Some(true))
            .map(|(id, _)| id.clone())
            .collect();
        if let Some(id) = self.dice.of(&still).cloned() {
            return self.change(&id, false).await;
        }
        let usable = self.book.usable();
        let Some(id) = self.dice.of(&usable).cloned() else {
            return self.create().await;
        };
        let many = self.book.sandboxes.len() >= MOST;
        match self.dice.below(100) {
            0..10 if !many => self.create().await,
            10..24 if !many => self.fork(&id).await,
            20..30 if many => self.kill(&id).await,
            0..35 => self.exec(&id).await,
            35..60 => self.write(&id).await,
            60..72 => self.read(&id).await,
            72..82 => self.change(&id, true).await,
            _ => self.program(&id).await,
        }
    }

    async fn create(&mut self) -> Result<(), Away> {
        let kept = Kept {
            paused: Some(false),
            ..Kept::default()
        };
        self.wish("create", "/v1/sandboxes".to_owned(), kept).await
    }

    async fn fork(&mut self, id: &str) -> Result<(), Away> {
        let files = self.book.sandboxes.get(id).map(|k| k.files.clone());
        let kept = Kept {
            files: files.unwrap_or_default(),
            paused: Some(false),
            ..Kept::default()
        };
        self.wish("fork", format!("/v1/sandboxes/{id}/fork"), kept).await
    }

    async fn wish(&mut self, what: &'static str, path: String, kept: Kept) -> Result<(), Away> {
        let wish = Wish {
            key: self.fresh(what),
            path,
            kept,
        };
        let answer = self.send(&wish).await;
        self.book.wishes.push(wish);
        let answer = self.answered(what, answer, 201)?;
        let wish = self.book.wishes.pop();
        if let (Some(answer), Some(wish)) = (answer, wish) {
            self.enter(&answer, wish.kept);
        }
        Ok(())
    }

    async fn send(&mut self, wish: &Wish) -> Result<Answer, String> {
        let body = json!({"metadata": {"made": wish.key}, "timeout_ms": 3_600_000});
        let headers = [("idempotency-key", wish.key.as_str())];
        self.client
            .raw("POST", &wish.path, &headers, Bytes::from(body.to_string()))
            .await
    }

    fn enter(&mut self, answer: &Answer, kept: Kept) {
        match answer.json()["id"].as_str() {
            Some(id) => {
                self.book.ever.insert(id.to_owned());
                self.book.sandboxes.insert(id.to_owned(), kept);
            }
            None => self.book.wrong(format!("no id: {}", answer.text())),
        }
    }

    async fn kill(&mut self, id: &str) -> Result<(), Away> {
        if let Some(kept) = self.book.sandboxes.get_mut(id) {
            kept.ending = true;
        }
        let answer = self
            .client
            .ask("DELETE", &format!("/v1/sandboxes/{id}"), &Value::Null)
            .await;
        if self.answered("kill", answer, 204)?.is_some() {
            self.book.sandboxes.remove(id);
            self.book.ended.insert(id.to_owned());
        }
        Ok(())
    }

    async fn exec(&mut self, id: &str) -> Result<(), Away> {
        let name = self.fresh("e");
        let line = format!("printf %s {name}-said | tee {name}; exit 3");
        let body = json!({"shell": line});
        let answer = self
            .client
            .ask("POST", &format!("/v1/sandboxes/{id}/exec"), &body)
            .await;
        let Some(answer) = self.answered("exec", answer, 200)? else {
            return Ok(());
        };
        let (said, text) = (answer.json(), format!("{name}-said"));
        if said["stdout"] != text.as_str() || said["exit_code"] != 3 {
            self.book.wrong(format!("exec in {id} answered {said}"));
        }
        if let Some(kept) = self.book.sandboxes.get_mut(id) {
            kept.files.insert(name, vec![Some(text.into_bytes())]);
        }
        Ok(())
    }

    async fn write(&mut self, id: &str) -> Result<(), Away> {
        let name = format!("d/f{}", self.dice.below(4));
        let size = usize::try_from(self.dice.below(LONGEST)).unwrap_or(1);
        let bytes = self.dice.bytes(size);
        if let Some(kept) = self.book.sandboxes.get_mut(id) {
            let may = kept.files.entry(name.clone()).or_insert_with(|| vec![None]);
            may.push(Some(bytes.clone()));
        }
        let path = format!("/v1/sandboxes/{id}/files?path={name}");
        let headers = [("content-type", "application/octet-stream")];
        let answer = self
            .client
            .raw("PUT", &path, &headers, Bytes::from(bytes.clone()))
            .await;
        if self.answered("write", answer, 200)?.is_some()
            && let Some(kept) = self.book.sandboxes.get_mut(id)
        {
            kept.files.insert(name, vec![Some(bytes)]);
        }
        Ok(())
    }

    async fn read(&mut self, id: &str) -> Result<(), Away> {
        let names: Vec<String> = self
            .book
            .sandboxes
            .get(id)
            .into_iter()
            .flat_map(|k| k.files.keys().cloned())
            .collect();
        let Some(name) = self.dice.of(&names).cloned() else {
            return Ok(());
        };
        self.compare(id, &name).await
    }

    async fn change(&mut self, id: &str, pause: bool) -> Result<(), Away> {
        let what = if pause { "pause" } else { "resume" };
        if let Some(kept) = self.book.sandboxes.get_mut(id) {
            kept.paused = None;
        }
        let path = format!("/v1/sandboxes/{id}/{what}");
        let body = if pause {
            Value::Null
        } else {
            json!({"timeout_ms": 3_600_000})
        };
        let answer = self.client.ask("POST", &path, &body).await;
        if self.answered(what, answer, 200)?.is_some()
            && let Some(kept) = self.book.sandboxes.get_mut(id)
        {
            kept.paused = Some(pause);
        }
        Ok(())
    }

    /// Starts a program and listens to it until its end, or the daemon's.
    async fn program(&mut self, id: &str) -> Result<(), Away> {
        let tag = self.fresh("p");
        let lines = 4 + self.dice.below(40);
        let code = i64::try_from(self.dice.below(100)).unwrap_or(0);
        let expected = (0..lines).map(|i| format!("{tag} {i}\n")).collect();
        let line = format!(
            "i=0; while [ $i -lt {lines} ]; do echo {tag} $i; i=$((i+1)); sleep 0.01; done; exit {code}"
        );
        let program = Program {
            tag: tag.clone(),
            expected,
            code,
            ..Program::default()
        };
        if let Some(kept) = self.book.sandboxes.get_mut(id) {
            kept.program = Some(program);
        }
        let body = json!({"shell": line, "tag": tag});
        let path = format!("/v1/sandboxes/{id}/exec/stream");
        match self.client.open("POST", &path, &[], &body).await {
            Err(_) => {
                self.book.broke("program");
                Err(Away)
            }
            Ok(answer) if answer.status() == 200 => self.listen(id, Events::of(answer.into_body())).await,
            Ok(answer) => {
                self.book.wrong(format!("a program in {id}: {}", answer.status()));
                Ok(())
            }
        }
    }

    /// Listens, and compares what was said once it has ended.
    pub(crate) async fn listen(&mut self, id: &str, mut events: Events) -> Result<(), Away> {
        while let Some(said) = events.next().await {
            let Some(program) = self.book.sandboxes.get_mut(id).and_then(|k| k.program.as_mut()) else {
                return Ok(());
            };
            match said.name.as_str() {
                "started" => program.started = true,
                "stdout" => program
                    .heard
                    .push_str(said.data["data"].as_str().unwrap_or_default()),
                "ended" => {
                    let program = program.clone();
                    let good = program.heard == program.expected && said.data["exit_code"] == program.code;
                    if !good {
                        self.book.wrong(format!(
                            "program {} in {id} ended with {} instead of {} and said {} of {} bytes: …{:?}",
                            program.tag,
                            said.data,
                            program.code,
                            program.heard.len(),
                            program.expected.len(),
                            program.heard.chars().rev().take(40).collect::<String>(),
                        ));
                    }
                    self.book.did("program");
                    if let Some(kept) = self.book.sandboxes.get_mut(id) {
                        kept.program = None;
                    }
                    return Ok(());
                }
                other => {
                    let what = format!("program {} in {id}: {other} {}", program.tag, said.data);
                    self.book.wrong(what);
                }
            }
            if let Some(program) = self.book.sandboxes.get_mut(id).and_then(|k| k.program.as_mut()) {
                program.at = said.id;
            }
        }
        self.book.broke("program");
        Err(Away)
    }
}
