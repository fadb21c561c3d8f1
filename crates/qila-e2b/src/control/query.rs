//! What queries of URLs say.
use super::error::Refusal;
use axum::extract::FromRequestParts;
use http::request::Parts;
use percent_encoding::percent_decode_str;
use std::collections::BTreeMap;

/// The parameters of a query, in their order.
#[derive(Debug, Default)]
pub(super) struct Query(Vec<(String, String)>);

/// Most parameters of one query.
const MOST: usize = 256;

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Query, Refusal> {
        let query = parts.uri.query().unwrap_or("").as_bytes();
        let pairs: Vec<_> = form_urlencoded::parse(query)
            .into_owned()
            .take(MOST + 1)
            .collect();
        if pairs.len() > MOST {
            return Err(Refusal::bad(format!("a query has up to {MOST} parameters")));
        }
        Ok(Query(pairs))
    }
}

impl Query {
    /// The first value of a parameter; an empty one is none.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(n, v)| n == name && !v.is_empty())
            .map(|(_, v)| v.as_str())
    }

    /// All values of a parameter, those between commas each for itself.
    pub(super) fn all(&self, name: &str) -> Vec<&str> {
        let values = self
            .0
            .iter()
            .filter(|(n, _)| n == name || n.strip_suffix("[]") == Some(name));
        values
            .flat_map(|(_, v)| v.split(','))
            .filter(|v| !v.is_empty())
            .collect()
    }

    /// A number between these.
    pub(super) fn number(&self, name: &str, least: u64, most: u64, otherwise: u64) -> Result<u64, Refusal> {
        let Some(text) = self.get(name) else {
            return Ok(otherwise);
        };
        let number = text.parse().ok().filter(|n| (least..=most).contains(n));
        number.ok_or_else(|| Refusal::bad(format!("`{name}` is a number from {least} to {most}")))
    }

    /// `metadata`: a query within the query, whose names and values are written as in a URL once more.
    pub(super) fn metadata(&self) -> BTreeMap<String, String> {
        let again = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let inner = self.get("metadata").unwrap_or("");
        form_urlencoded::parse(inner.as_bytes())
            .map(|(k, v)| (again(&k), again(&v)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(query: &str) -> Result<Query, Refusal> {
        let request = http::Request::builder()
            .uri(format!("/x?{query}"))
            .body(())
            .unwrap();
        Query::from_request_parts(&mut request.into_parts().0, &()).await
    }

    #[tokio::test]
    async fn metadata_is_written_three_times_over() {
        let query = read("metadata=a%2520b%3Dc%25253Dd%26user%3Dx&state=running,paused&limit=7")
            .await
            .unwrap();
        let metadata = query.metadata();
        assert_eq!(metadata.get("a b").map(String::as_str), Some("c=d"));
        assert_eq!(metadata.get("user").map(String::as_str), Some("x"));
        assert_eq!(query.all("state"), ["running", "paused"]);
        assert_eq!(query.number("limit", 1, 100, 100).unwrap(), 7);
        assert!(query.number("limit", 8, 100, 100).is_err());
        assert!(read(&"a&".repeat(300)).await.is_err());
    }
}
