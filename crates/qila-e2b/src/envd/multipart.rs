//! Files as a form: each part is one, and its file name the path.
use super::access::Access;
use super::form::Form;
use super::limit;
use super::upload::{Written, write as put};
use bytes::Bytes;
use futures_util::stream;
use qila_api::{ApiError, Result, Writer};
use std::io;
use tokio::sync::mpsc;
use tokio_util::io::StreamReader;

/// Writes the files of a form, one after the other. `path`: where the only file goes, whatever it is called.
pub(super) async fn write(
    access: &Access,
    kind: &str,
    path: Option<&str>,
    body: Writer,
) -> Result<Vec<Written>> {
    let mut form = Form::new(kind, body).ok_or_else(|| ApiError::invalid("the form has no boundary"))?;
    let path = path.filter(|p| !p.is_empty());
    let most = if path.is_some() { 1 } else { limit::FILES };
    let mut written = Vec::new();
    while let Some(part) = form.next().await.map_err(|_| broken())? {
        if part.name != "file" {
            return Err(ApiError::invalid("the parts of the form are called `file`"));
        }
        if written.len() >= most {
            return Err(ApiError::invalid(format!(
                "this form has more than {most} file(s)"
            )));
        }
        let to = match path.or(part.file.as_deref()) {
            Some(to) if !to.is_empty() => to.to_owned(),
            _ => return Err(ApiError::invalid("a file has no name, and there is no `path`")),
        };
        written.push(one(access, &to, &mut form).await?);
    }
    if written.is_empty() {
        return Err(ApiError::invalid("the form has no file"));
    }
    Ok(written)
}

fn broken() -> ApiError {
    ApiError::invalid("the form is malformed, or broke off")
}

/// Writes one file while its part is read. A part that breaks off is an error to whoever writes, so that no half of a file is
/// taken for a whole.
async fn one(access: &Access, to: &str, form: &mut Form) -> Result<Written> {
    let (give, take) = mpsc::channel::<io::Result<Bytes>>(1);
    let passing = async move {
        loop {
            let piece = match form.piece().await {
                Ok(Some(bytes)) => Ok(bytes),
                Ok(None) => return Ok(()),
                Err(_) => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
            };
            let last = piece.is_err();
            // If it takes no more, whoever writes says why.
            if give.send(piece).await.is_err() {
                return Ok(());
            }
            if last {
                return Err(broken());
            }
        }
    };
    let pieces = stream::unfold(take, async |mut take| Some((take.recv().await?, take)));
    let writing = put(access, to, Box::pin(StreamReader::new(Box::pin(pieces))));
    let (passed, entry) = tokio::join!(passing, writing);
    passed?;
    Ok(entry?.into())
}
