//! Blobs, hashed while they are read.
use crate::error::ImageError;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{Read, Result};

/// Names a blob.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub media_type: String,
    pub digest: String,
    pub size: u64,
    #[serde(default)]
    pub annotations: std::collections::BTreeMap<String, String>,
    #[serde(default)]
    pub platform: Option<Platform>,
}

/// For which machines an image is.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Platform {
    pub architecture: String,
    pub os: String,
}

impl Descriptor {
    /// Of a manifest that is known by its digest.
    pub(crate) fn of(digest: String, size: u64) -> Descriptor {
        Descriptor {
            media_type: String::new(),
            digest,
            size,
            annotations: std::collections::BTreeMap::new(),
            platform: None,
        }
    }

    /// The hexadecimal part of the digest: SHA-256, in lower case, and nothing that could be a path.
    pub(crate) fn hex(&self) -> std::result::Result<&str, ImageError> {
        let hex = self.digest.strip_prefix("sha256:");
        hex.filter(|h| h.len() == 64 && h.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
            .ok_or_else(|| ImageError::format(&self.digest, "only sha256 digests are read"))
    }
}

/// Opens a file of the layout; links are not followed.
pub(crate) fn open(layout: &OwnedFd, path: &str) -> std::result::Result<File, ImageError> {
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let fd = openat2(layout.as_fd(), path, flags, Mode::empty(), how)
        .map_err(ImageError::errno(format!("opening {path} of the layout")))?;
    let file = File::from(fd);
    let regular = file.metadata().map_err(ImageError::io(path))?.is_file();
    if regular {
        Ok(file)
    } else {
        Err(ImageError::format(path, "it is not a regular file"))
    }
}

/// A blob that is being read.
pub(crate) struct Blob {
    file: std::io::Take<File>,
    hash: Sha256,
    descriptor: Descriptor,
}

impl Blob {
    pub(crate) fn open(layout: &OwnedFd, descriptor: &Descriptor) -> std::result::Result<Blob, ImageError> {
        let file = open(layout, &format!("blobs/sha256/{}", descriptor.hex()?))?;
        let length = file.metadata().map_err(ImageError::io(&descriptor.digest))?.len();
        if length != descriptor.size {
            let why = format!("it has {length} bytes instead of {}", descriptor.size);
            return Err(ImageError::format(&descriptor.digest, why));
        }
        Ok(Blob {
            file: file.take(descriptor.size),
            hash: Sha256::new(),
            descriptor: descriptor.clone(),
        })
    }

    /// Bytes of the whole.
    pub(crate) fn size(&self) -> u64 {
        self.descriptor.size
    }

    /// Reads what is left, and compares.
    pub(crate) fn verify(mut self) -> std::result::Result<(), ImageError> {
        let mut buffer = vec![0u8; 64 * 1024];
        while self
            .read(&mut buffer)
            .map_err(ImageError::io(&self.descriptor.digest))?
            > 0
        {}
        let found: String = self.hash.finalize().iter().map(|b| format!("{b:02x}")).collect();
        if self.descriptor.digest.strip_prefix("sha256:") == Some(found.as_str()) {
            Ok(())
        } else {
            Err(ImageError::Digest {
                digest: self.descriptor.digest,
            })
        }
    }

    /// A whole blob that is small.
    pub(crate) fn small(
        layout: &OwnedFd,
        descriptor: &Descriptor,
        most: u64,
    ) -> std::result::Result<Vec<u8>, ImageError> {
        if descriptor.size > most {
            return Err(ImageError::format(
                &descriptor.digest,
                format!("it is larger than {most} bytes"),
            ));
        }
        let mut blob = Blob::open(layout, descriptor)?;
        let mut bytes = Vec::new();
        blob.read_to_end(&mut bytes)
            .map_err(ImageError::io(&descriptor.digest))?;
        blob.verify()?;
        Ok(bytes)
    }
}

impl Read for Blob {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let n = self.file.read(buffer)?;
        self.hash.update(buffer.get(..n).unwrap_or(&[]));
        Ok(n)
    }
}
