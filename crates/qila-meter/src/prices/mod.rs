//! Prices and limits of models, and what calls cost by them.
mod book;
mod cost;
mod glob;
#[cfg(test)]
mod tests;

pub use book::{Hosted, Price, PricesError, Rates};
pub use cost::{Settled, Unbounded, Worst};

/// The prices that come with Qila.
const EMBEDDED: &str = include_str!("../../prices.yaml");

/// What is known of models: the operator's entries before those that come with Qila.
#[derive(Debug, Clone)]
pub struct Prices {
    /// Books in the order in which they are asked.
    books: Vec<book::Book>,
}

impl Prices {
    /// The prices that come with Qila. An error here is a fault of the build, which a test finds.
    pub fn embedded() -> Result<Prices, PricesError> {
        Ok(Prices {
            books: vec![book::Book::parse(EMBEDDED)?],
        })
    }

    /// No prices at all: only tokens can be counted.
    pub fn none() -> Prices {
        Prices { books: Vec::new() }
    }

    /// Puts an operator's file before what is known so far: where one of its patterns matches, it decides, however short.
    pub fn with(mut self, yaml: &str) -> Result<Prices, PricesError> {
        self.books.insert(0, book::Book::parse(yaml)?);
        Ok(self)
    }

    /// The entry for a model: of the first file that has one, the entry with the longest matching pattern.
    pub fn find(&self, model: &str) -> Option<&Price> {
        self.books.iter().find_map(|book| book.find(model))
    }
}
