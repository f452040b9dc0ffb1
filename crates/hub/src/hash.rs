//! Hashes of file contents.

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// The hub's hash of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileHash {
    /// SHA-256 of the content, for large files.
    Sha256(String),
    /// Git object id of the content, for other files: SHA-1 of `blob LENGTH\0` and the content.
    GitBlob(String),
}

impl FileHash {
    /// Returns the hash in hexadecimal.
    #[must_use]
    pub fn hex(&self) -> &str {
        match self {
            Self::Sha256(hex) | Self::GitBlob(hex) => hex,
        }
    }
}

/// Computes the hub's hash and the SHA-256 of a content of known size.
pub(crate) struct ContentHasher {
    sha256: Sha256,
    git_blob: Option<Sha1>,
}

impl ContentHasher {
    pub(crate) fn new(expected: Option<&FileHash>, size: u64) -> Self {
        let git_blob = matches!(expected, Some(FileHash::GitBlob(_)))
            .then(|| Sha1::new_with_prefix(format!("blob {size}\0")));
        Self { sha256: Sha256::new(), git_blob }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.sha256.update(bytes);
        if let Some(git_blob) = &mut self.git_blob {
            git_blob.update(bytes);
        }
    }

    /// Returns the SHA-256 of the content, and the hash to compare with the hub's.
    pub(crate) fn finish(self) -> (String, String) {
        let sha256 = hex(&self.sha256.finalize());
        let compared = self.git_blob.map_or_else(|| sha256.clone(), |git_blob| hex(&git_blob.finalize()));
        (sha256, compared)
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a string can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values from `sha256sum` and `git hash-object`.
    #[test]
    fn hashes_are_those_of_the_tools() {
        let mut hasher = ContentHasher::new(Some(&FileHash::GitBlob(String::new())), 6);
        hasher.update(b"he");
        hasher.update(b"llo\n");
        let (sha256, blob) = hasher.finish();
        assert_eq!(sha256, "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03");
        assert_eq!(blob, "ce013625030ba8dba906f756967f9e9ca394464a");
        let mut hasher = ContentHasher::new(Some(&FileHash::Sha256(String::new())), 6);
        hasher.update(b"hello\n");
        assert_eq!(hasher.finish().1, sha256);
    }
}
