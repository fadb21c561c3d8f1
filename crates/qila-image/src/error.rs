//! What is wrong with an image, or with the place for it.
use rustix::io::Errno;

/// Why an image cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A file of the layout or of the store.
    #[error("{what}: {source}")]
    System {
        /// What was being done.
        what: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The layout does not say what a layout says.
    #[error("{what} is not of an OCI image layout: {why}")]
    Format {
        /// Which part.
        what: String,
        /// Why.
        why: String,
    },
    /// A blob is not what its digest says.
    #[error("the blob {digest} has other bytes than its digest says")]
    Digest {
        /// As the layout names it.
        digest: String,
    },
    /// No image for this machine, or of this name.
    #[error("{0}")]
    NoImage(String),
    /// What the store itself has written is not as it was written.
    #[error("{what} of the store of images: {why}")]
    Store {
        /// Which part.
        what: String,
        /// Why.
        why: String,
    },
    /// Somebody else works on the same.
    #[error("the images are in use by another process")]
    Busy,
    /// Whoever asked for it no longer waits.
    #[error("stopped before it was done")]
    Stopped,
    /// An entry of a layer.
    #[error("layer {layer}, `{path}`: {why}")]
    Entry {
        /// Which layer, counting from one.
        layer: usize,
        /// The entry, as it names itself.
        path: String,
        /// Why it is refused.
        why: String,
    },
}

impl ImageError {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> ImageError {
        let what = what.into();
        move |source| ImageError::System { what, source }
    }

    pub(crate) fn errno(what: impl Into<String>) -> impl FnOnce(Errno) -> ImageError {
        let what = what.into();
        move |errno| ImageError::System {
            what,
            source: errno.into(),
        }
    }

    pub(crate) fn format(what: &str, why: impl Into<String>) -> ImageError {
        ImageError::Format {
            what: what.chars().take(200).collect(),
            why: why.into(),
        }
    }
}
