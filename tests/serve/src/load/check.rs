//! After the daemon has come back: is everything there that was promised, and nothing half?
use super::{Away, Loader};
use crate::book::Kept;
use crate::sse::Events;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// After what time an end that was told is asked for again.
const AGAIN: Duration = Duration::from_millis(20);

impl Loader {
    /// Compares all that was promised with what is there. Afterwards nothing is in doubt any more.
    pub async fn check(&mut self) {
        if self.compare_all().await.is_err() {
            self.book
                .wrong(format!("{}: the daemon went away unasked", self.name));
        }
    }

    async fn compare_all(&mut self) -> Result<(), Away> {
        let there: BTreeSet<String> = self.client.sandboxes().await.into_iter().collect();
        for id in self.book.ended.clone() {
            if there.contains(&id) {
                self.book.wrong(format!("{id} was ended, and is there"));
            }
        }
        let known: Vec<(String, Kept)> = self
            .book
            .sandboxes
            .iter()
            .map(|(id, k)| (id.clone(), k.clone()))
            .collect();
        for (id, kept) in known {
            if !there.contains(&id) {
                if !kept.ending {
                    self.book.wrong(format!("{id} was made, and is not there"));
                }
                self.book.sandboxes.remove(&id);
                self.book.ended.insert(id);
                continue;
            }
            self.compare_one(&id, &kept).await?;
        }
        self.repeat().await
    }

    async fn compare_one(&mut self, id: &str, kept: &Kept) -> Result<(), Away> {
        let path = format!("/v1/sandboxes/{id}");
        let answer = self.client.ask("GET", &path, &Value::Null).await;
        let Some(answer) = self.answered("get", answer, 200)? else {
            return Ok(());
        };
        let paused = answer.json()["state"] == "paused";
        if kept.paused.is_some_and(|known| known != paused) {
            self.book.wrong(format!(
                "{id}: paused {:?} was acknowledged, and is {paused}",
                kept.paused
            ));
        }
        if let Some(kept) = self.book.sandboxes.get_mut(id) {
            kept.paused = Some(paused);
            kept.ending = false;
        }
        if paused {
            self.change(id, false).await?;
        }
        self.come_back(id).await?;
        let names: Vec<String> = kept.files.keys().cloned().collect();
        for name in names {
            let doubt = kept.files.get(&name).is_some_and(|may| may.len() > 1);
            if doubt || self.dice.below(3) == 0 {
                self.compare(id, &name).await?;
            }
        }
        Ok(())
    }

    /// A file has one of the contents that it may have, whole, and from now on only that.
    pub(crate) async fn compare(&mut self, id: &str, name: &str) -> Result<(), Away> {
        let path = format!("/v1/sandboxes/{id}/files?path={name}");
        let Ok(answer) = self.client.ask("GET", &path, &Value::Null).await else {
            self.book.broke("read");
            return Err(Away);
        };
        let is = match answer.status {
            200 => Some(answer.body.to_vec()),
            404 => None,
            _ => {
                let said = format!("reading {name} in {id}: {} {}", answer.status, answer.text());
                self.book.wrong(said);
                return Ok(());
            }
        };
        self.book.did("read");
        let may = self
            .book
            .sandboxes
            .get(id)
            .and_then(|k| k.files.get(name).cloned())
            .unwrap_or_default();
        if may.contains(&is) {
            if let Some(kept) = self.book.sandboxes.get_mut(id) {
                kept.files.insert(name.to_owned(), vec![is]);
            }
        } else {
            let size = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(Vec::len);
            let sizes: Vec<_> = may.iter().map(size).collect();
            self.book
                .wrong(format!("{name} in {id} has {:?} bytes, of {sizes:?}", size(&is)));
        }
        Ok(())
    }

    /// What ran when the daemon was killed tells the rest, once.
    async fn come_back(&mut self, id: &str) -> Result<(), Away> {
        let running = self.book.sandboxes.get(id).and_then(|k| k.program.clone());
        let Some(program) = running else {
            return Ok(());
        };
        if !program.started {
            // Whether it began is nobody's promise; how far it came is not known.
            if let Some(kept) = self.book.sandboxes.get_mut(id) {
                kept.program = None;
            }
            return Ok(());
        }
        let path = format!("/v1/sandboxes/{id}/processes/tag:{}/stream", program.tag);
        let from = program.at.to_string();
        let answer = self
            .client
            .open("GET", &path, &[("last-event-id", &from)], &Value::Null)
            .await;
        let Ok(answer) = answer else { return Err(Away) };
        if answer.status() != 200 {
            let status = answer.status();
            self.book.wrong(format!(
                "program {} in {id}: its end is owed (heard {} of {} bytes), and coming back is answered {status}",
                program.tag,
                program.heard.len(),
                program.expected.len()
            ));
            if let Some(kept) = self.book.sandboxes.get_mut(id) {
                kept.program = None;
            }
            return Ok(());
        }
        self.listen(id, Events::of(answer.into_body())).await?;
        self.book.did("come back");
        // That it was told is said to its guest a moment after: until then it may be told again, and then no more.
        let mut said = String::new();
        for _ in 0..5 {
            match self.client.ask("GET", &path, &Value::Null).await {
                Err(_) => return Err(Away),
                Ok(answer) if answer.status == 404 => return Ok(()),
                Ok(answer) => said = format!("{} {}", answer.status, answer.text().replace('\n', " ")),
            }
            tokio::time::sleep(AGAIN).await;
        }
        self.book.wrong(format!(
            "program {} in {id}: its end was told, and is told again and again: {said}",
            program.tag
        ));
        Ok(())
    }

    /// What was asked for without an answer is asked for again: then it is there once, and works.
    async fn repeat(&mut self) -> Result<(), Away> {
        for wish in std::mem::take(&mut self.book.wishes) {
            let answer = self.send(&wish).await;
            let Some(answer) = self.answered("repeat", answer, 201)? else {
                continue;
            };
            self.enter(&answer, wish.kept.clone());
            let path = format!("/v1/sandboxes?metadata=made%3D{}", wish.key);
            let page = self.client.ask("GET", &path, &Value::Null).await;
            let Ok(page) = page else { return Err(Away) };
            let n = page.json()["items"].as_array().map_or(0, Vec::len);
            if n != 1 {
                self.book.wrong(format!(
                    "{}: asked for twice under one key, and there {n} times: {}",
                    wish.key,
                    page.text()
                ));
            }
            let id = answer.json()["id"].as_str().unwrap_or_default().to_owned();
            let body = json!({"argv": ["true"]});
            let ran = self
                .client
                .ask("POST", &format!("/v1/sandboxes/{id}/exec"), &body)
                .await;
            if let Some(ran) = self.answered("exec", ran, 200)?
                && ran.json()["exit_code"] != 0
            {
                self.book.wrong(format!("{id} was half made: {}", ran.text()));
            }
        }
        Ok(())
    }
}
