//! Which operation of a document runs, and its root fields.
use super::document::{Document, Selection};
use super::{GraphqlError, MAX_FIELDS, Operation};
use std::collections::{HashMap, HashSet};

/// How far the walk through a fragment has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Walked {
    Within,
    Through,
}

/// Chooses the operation and follows its root.
pub(super) fn select(document: &Document<'_>, wanted: Option<&str>) -> Result<Operation, GraphqlError> {
    let mut fragments = HashMap::new();
    for (name, root) in &document.fragments {
        if fragments.insert(*name, root.as_slice()).is_some() {
            return Err(GraphqlError::Duplicate);
        }
    }
    let mut names = HashSet::new();
    for operation in &document.operations {
        let alone = operation.name.is_some() || document.operations.len() == 1;
        if !alone || !names.insert(operation.name) {
            return Err(GraphqlError::Duplicate);
        }
    }
    let chosen = match (wanted, document.operations.as_slice()) {
        (None, [only]) => only,
        (Some(name), all) => {
            let mut named = all.iter().filter(|operation| operation.name == Some(name));
            named.next().ok_or(GraphqlError::Choice)?
        }
        _ => return Err(GraphqlError::Choice),
    };
    let mut walk = Walk {
        fragments,
        walked: HashMap::new(),
        fields: Vec::new(),
        seen: HashSet::new(),
    };
    walk.all(&chosen.root)?;
    Ok(Operation {
        kind: chosen.kind,
        name: chosen.name.map(str::to_owned),
        fields: walk.fields,
    })
}

struct Walk<'d, 'a> {
    fragments: HashMap<&'a str, &'d [Selection<'a>]>,
    walked: HashMap<&'a str, Walked>,
    fields: Vec<String>,
    seen: HashSet<&'a str>,
}

impl<'d, 'a> Walk<'d, 'a> {
    /// Goes through a root. Each fragment is walked through once: what it adds a second time is there already. A stack of its
    /// own: there may be as many fragments within each other as there are fragments.
    fn all(&mut self, root: &'d [Selection<'a>]) -> Result<(), GraphqlError> {
        let mut stack = vec![(None, root.iter())];
        while let Some((name, rest)) = stack.last_mut() {
            match rest.next() {
                Some(Selection::Field(field)) => self.field(field)?,
                Some(Selection::Spread(fragment)) => match self.walked.get(fragment) {
                    Some(Walked::Through) => {}
                    Some(Walked::Within) => return Err(GraphqlError::Cycle),
                    None => {
                        let root = self.fragments.get(fragment).ok_or(GraphqlError::Fragment)?;
                        self.walked.insert(fragment, Walked::Within);
                        stack.push((Some(*fragment), root.iter()));
                    }
                },
                None => {
                    if let Some(name) = *name {
                        self.walked.insert(name, Walked::Through);
                    }
                    stack.pop();
                }
            }
        }
        Ok(())
    }

    fn field(&mut self, field: &'a str) -> Result<(), GraphqlError> {
        if self.seen.insert(field) {
            if self.fields.len() >= MAX_FIELDS {
                return Err(GraphqlError::Many);
            }
            self.fields.push(field.to_owned());
        }
        Ok(())
    }
}
