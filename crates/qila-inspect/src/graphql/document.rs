//! The grammar of an executable document, of which only the roots are kept.
use super::lexer::{Lexeme, Lexer};
use super::{GraphqlError, Kind, MAX_DEFINITIONS, MAX_DEPTH, MAX_DOCUMENT};

/// What stands in a selection set at a root, inline fragments opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Selection<'a> {
    Field(&'a str),
    Spread(&'a str),
}

/// An operation of a document.
#[derive(Debug)]
pub(super) struct Defined<'a> {
    pub kind: Kind,
    pub name: Option<&'a str>,
    pub root: Vec<Selection<'a>>,
}

/// A document.
#[derive(Debug, Default)]
pub(super) struct Document<'a> {
    pub operations: Vec<Defined<'a>>,
    /// Names and roots.
    pub fragments: Vec<(&'a str, Vec<Selection<'a>>)>,
}

type Check<T = ()> = Result<T, GraphqlError>;

struct Parser<'a> {
    lexer: Lexer<'a>,
    /// The token at hand.
    here: Option<Lexeme<'a>>,
}

/// Reads a document of at most [`MAX_DOCUMENT`] bytes.
pub(super) fn parse(text: &str) -> Check<Document<'_>> {
    debug_assert!(text.len() <= MAX_DOCUMENT);
    let mut parser = Parser {
        lexer: Lexer::new(text),
        here: None,
    };
    parser.step()?;
    let mut document = Document::default();
    while parser.here.is_some() {
        if document.operations.len() + document.fragments.len() >= MAX_DEFINITIONS {
            return Err(GraphqlError::Many);
        }
        parser.definition(&mut document)?;
    }
    Ok(document)
}

impl<'a> Parser<'a> {
    fn step(&mut self) -> Check {
        self.here = self.lexer.next()?.map(|token| token.lexeme);
        Ok(())
    }

    fn is(&self, mark: u8) -> bool {
        self.here == Some(Lexeme::Mark(mark))
    }

    /// Goes past a mark if it is there.
    fn eat(&mut self, mark: u8) -> Check<bool> {
        let is = self.is(mark);
        if is {
            self.step()?;
        }
        Ok(is)
    }

    fn expect(&mut self, mark: u8) -> Check {
        if self.eat(mark)? {
            Ok(())
        } else {
            Err(self.lexer.error())
        }
    }

    fn name(&mut self) -> Check<&'a str> {
        match self.here {
            Some(Lexeme::Name(name)) => {
                self.step()?;
                Ok(name)
            }
            _ => Err(self.lexer.error()),
        }
    }

    fn deeper(depth: u8) -> Check<u8> {
        depth.checked_sub(1).ok_or(GraphqlError::Depth)
    }

    fn definition(&mut self, document: &mut Document<'a>) -> Check {
        let kind = match self.here {
            Some(Lexeme::Mark(b'{')) => {
                let root = self.root()?;
                document.operations.push(Defined {
                    kind: Kind::Query,
                    name: None,
                    root,
                });
                return Ok(());
            }
            Some(Lexeme::Name("fragment")) => {
                self.step()?;
                let name = self.name()?;
                if name == "on" || self.name()? != "on" {
                    return Err(self.lexer.error());
                }
                self.name()?;
                self.directives(MAX_DEPTH)?;
                let root = self.root()?;
                document.fragments.push((name, root));
                return Ok(());
            }
            Some(Lexeme::Name("query")) => Kind::Query,
            Some(Lexeme::Name("mutation")) => Kind::Mutation,
            Some(Lexeme::Name("subscription")) => Kind::Subscription,
            _ => return Err(self.lexer.error()),
        };
        self.step()?;
        let name = match self.here {
            Some(Lexeme::Name(_)) => Some(self.name()?),
            _ => None,
        };
        if self.is(b'(') {
            self.variables()?;
        }
        self.directives(MAX_DEPTH)?;
        let root = self.root()?;
        document.operations.push(Defined { kind, name, root });
        Ok(())
    }

    fn variables(&mut self) -> Check {
        self.expect(b'(')?;
        loop {
            self.expect(b'$')?;
            self.name()?;
            self.expect(b':')?;
            self.kind(MAX_DEPTH)?;
            if self.eat(b'=')? {
                self.value(MAX_DEPTH)?;
            }
            self.directives(MAX_DEPTH)?;
            if self.eat(b')')? {
                return Ok(());
            }
        }
    }

    /// The type of a variable.
    fn kind(&mut self, depth: u8) -> Check {
        if self.eat(b'[')? {
            self.kind(Self::deeper(depth)?)?;
            self.expect(b']')?;
        } else {
            self.name()?;
        }
        self.eat(b'!').map(drop)
    }

    fn directives(&mut self, depth: u8) -> Check {
        while self.eat(b'@')? {
            self.name()?;
            self.arguments(depth)?;
        }
        Ok(())
    }

    fn arguments(&mut self, depth: u8) -> Check {
        if !self.eat(b'(')? {
            return Ok(());
        }
        loop {
            self.name()?;
            self.expect(b':')?;
            self.value(depth)?;
            if self.eat(b')')? {
                return Ok(());
            }
        }
    }

    fn value(&mut self, depth: u8) -> Check {
        match self.here {
            Some(Lexeme::Name(_) | Lexeme::Number | Lexeme::Text) => self.step(),
            Some(Lexeme::Mark(b'$')) => {
                self.step()?;
                self.name().map(drop)
            }
            Some(Lexeme::Mark(b'[')) => {
                let depth = Self::deeper(depth)?;
                self.step()?;
                while !self.eat(b']')? {
                    self.value(depth)?;
                }
                Ok(())
            }
            Some(Lexeme::Mark(b'{')) => {
                let depth = Self::deeper(depth)?;
                self.step()?;
                while !self.eat(b'}')? {
                    self.name()?;
                    self.expect(b':')?;
                    self.value(depth)?;
                }
                Ok(())
            }
            _ => Err(self.lexer.error()),
        }
    }

    fn root(&mut self) -> Check<Vec<Selection<'a>>> {
        let mut root = Vec::new();
        self.selections(MAX_DEPTH, Some(&mut root))?;
        Ok(root)
    }

    /// A selection set. What it selects is put into `root`, if it is one.
    fn selections(&mut self, depth: u8, mut root: Option<&mut Vec<Selection<'a>>>) -> Check {
        let depth = Self::deeper(depth)?;
        self.expect(b'{')?;
        loop {
            let selection = match self.here {
                Some(Lexeme::Spread) => {
                    self.step()?;
                    self.spread(depth, root.as_deref_mut())?
                }
                _ => Some(self.field(depth)?),
            };
            if let (Some(selection), Some(root)) = (selection, root.as_deref_mut()) {
                root.push(selection);
            }
            if self.eat(b'}')? {
                return Ok(());
            }
        }
    }

    /// Behind `...`: the name of a fragment, or an inline fragment, whose fields are those of its place.
    fn spread(&mut self, depth: u8, root: Option<&mut Vec<Selection<'a>>>) -> Check<Option<Selection<'a>>> {
        match self.here {
            Some(Lexeme::Name("on")) => {
                self.step()?;
                self.name()?;
            }
            Some(Lexeme::Name(name)) => {
                self.step()?;
                self.directives(depth)?;
                return Ok(Some(Selection::Spread(name)));
            }
            _ => {}
        }
        self.directives(depth)?;
        self.selections(depth, root)?;
        Ok(None)
    }

    fn field(&mut self, depth: u8) -> Check<Selection<'a>> {
        let mut name = self.name()?;
        if self.eat(b':')? {
            // That was an alias.
            name = self.name()?;
        }
        self.arguments(depth)?;
        self.directives(depth)?;
        if self.is(b'{') {
            self.selections(depth, None)?;
        }
        Ok(Selection::Field(name))
    }
}
