//! Downloads of single files, resumable and verified.

use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};

use fineline_files::{create_parent_directory, rename};
use fs_err as fs;
use ureq::Body;
use ureq::http::Response;
use ureq::http::header::{CONTENT_LENGTH, CONTENT_RANGE};

use crate::client::{AttemptError, Hub, network};
use crate::error::HubError;
use crate::hash::{ContentHasher, FileHash};
use crate::repository::{RemoteFile, Snapshot};

/// A file to download.
#[derive(Clone, Copy, Debug)]
pub struct DownloadRequest<'a> {
    /// Revision of the repository.
    pub snapshot: &'a Snapshot,
    /// One of its files.
    pub file: &'a RemoteFile,
    /// Destination path.
    pub to: &'a Path,
}

/// The received part of a file, next to its destination, in a file whose name contains the hash of the
/// complete content.
struct PartialDownload {
    path: PathBuf,
    file: fs::File,
    hasher: ContentHasher,
    bytes: u64,
}

/// Size and hash of a file as listed by the hub. A download can't be verified without them.
struct ExpectedContent<'a> {
    snapshot: &'a Snapshot,
    size: u64,
    hash: &'a FileHash,
}

impl Hub {
    /// Downloads a file, resuming an interrupted download, and verifies its size and hash. Returns the
    /// SHA-256 of its content. If the destination exists, verifies it instead. Calls `progress` with the
    /// number of bytes received.
    ///
    /// The caller must hold the lock of the directory ([`DirectoryLock`](crate::DirectoryLock)).
    ///
    /// # Errors
    /// Returns [`HubError::WrongSize`] or [`HubError::WrongHash`] if the content doesn't match the listing,
    /// in which case the partial file is removed, [`HubError::Offline`] without network access,
    /// [`HubError::Io`] if the file can't be written, and other variants if the request fails.
    pub fn download(
        &self,
        request: DownloadRequest<'_>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<String, HubError> {
        let url = self.file_url(request.snapshot, request.file);
        let expected = expected(request, &url)?;
        if request.to.is_file() {
            let (sha256, _) = Self::hash_of(request.to, &expected)?;
            if let Some(sha256) = sha256 {
                return Ok(sha256);
            }
        }
        self.refuse_offline(&url)?;
        create_parent_directory(request.to)?;
        let mut partial = PartialDownload::open(request.to, &expected)?;
        let mut furthest = partial.bytes;
        while partial.bytes < expected.size {
            // After an attempt that made progress, the number of attempts starts from one again.
            self.with_retries(&mut |attempts| match self.attempt(
                &url,
                &expected,
                &mut partial,
                attempts,
                progress,
            ) {
                Err(AttemptError::Retry { .. }) if partial.bytes > furthest => {
                    furthest = partial.bytes;
                    Ok(())
                }
                result => result,
            })?;
        }
        partial.publish(request.to, &expected, url)
    }

    /// Downloads from the end of the partial file on.
    fn attempt(
        &self,
        url: &str,
        expected: &ExpectedContent<'_>,
        partial: &mut PartialDownload,
        attempts: u32,
        progress: &mut dyn FnMut(u64),
    ) -> Result<(), AttemptError> {
        let response = self.request(url, partial.bytes, attempts)?;
        let begins = match response.status().as_u16() {
            200 => 0,
            206 => content_range(&response).map_or(partial.bytes, |(begin, _)| begin),
            status @ (401 | 403) => {
                let Snapshot { repository, commit, .. } = expected.snapshot;
                return Err(self.refusal(repository, commit, status, &response, url).into());
            }
            404 | 410 => return Err(HubError::NoFile { url: url.to_owned() }.into()),
            status => return Err(HubError::Status { url: url.to_owned(), status, attempts }.into()),
        };
        if begins != partial.bytes {
            if begins != 0 {
                let message = format!("requested bytes from {}, received bytes from {begins}", partial.bytes);
                return Err(HubError::InvalidResponse { url: url.to_owned(), message }.into());
            }
            // The server doesn't support ranges.
            partial.restart(expected)?;
        }
        if let Some(found) = total(&response, begins).filter(|total| *total != expected.size) {
            return Err(partial.wrong_size(url, expected, found)?.into());
        }
        let mut reader = response.into_body().into_with_config().limit(u64::MAX).reader();
        let mut buffer = vec![0; 1 << 17];
        loop {
            let read = match reader.read(&mut buffer) {
                Ok(0) if partial.bytes < expected.size => {
                    let broken =
                        std::io::Error::new(std::io::ErrorKind::UnexpectedEof, "the connection was closed");
                    return Err(network(url, attempts, broken.into()));
                }
                Ok(0) => return Ok(()),
                Ok(read) => read,
                Err(source) => return Err(network(url, attempts, source.into())),
            };
            partial.append(&buffer[..read])?;
            if partial.bytes > expected.size {
                let found = partial.bytes;
                return Err(partial.wrong_size(url, expected, found)?.into());
            }
            progress(partial.bytes);
        }
    }

    /// Returns the SHA-256 of a file if it has the expected content.
    fn hash_of(path: &Path, expected: &ExpectedContent<'_>) -> Result<(Option<String>, u64), HubError> {
        let mut file = fs::File::open(path)?;
        let size = file.metadata()?.len();
        if size != expected.size {
            return Ok((None, size));
        }
        let mut hasher = ContentHasher::new(Some(expected.hash), size);
        pass(&mut file, &mut hasher)?;
        let (sha256, compared) = hasher.finish();
        Ok(((compared == expected.hash.hex()).then_some(sha256), size))
    }
}

fn expected<'a>(request: DownloadRequest<'a>, url: &str) -> Result<ExpectedContent<'a>, HubError> {
    let DownloadRequest { snapshot, file, .. } = request;
    let (Some(size), Some(hash)) = (file.size, &file.hash) else {
        let message = "the hub lists no size or hash for this file, so it can't be verified".to_owned();
        return Err(HubError::InvalidResponse { url: url.to_owned(), message });
    };
    Ok(ExpectedContent { snapshot, size, hash })
}

/// Hashes the rest of a file, and returns its length.
fn pass(file: &mut fs::File, hasher: &mut ContentHasher) -> Result<u64, HubError> {
    let mut buffer = vec![0; 1 << 17];
    let mut bytes = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok(bytes);
        }
        hasher.update(&buffer[..read]);
        bytes += read as u64;
    }
}

impl PartialDownload {
    /// Opens the partial file of earlier attempts at this content, or creates one.
    fn open(to: &Path, expected: &ExpectedContent<'_>) -> Result<Self, HubError> {
        let name = to.file_name().unwrap_or_default().to_string_lossy();
        let path = to.with_file_name(format!(".{name}.{}.partial", expected.hash.hex()));
        let mut file =
            fs::OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path)?;
        let mut hasher = ContentHasher::new(Some(expected.hash), expected.size);
        let bytes = pass(&mut file, &mut hasher)?;
        let mut partial = Self { path, file, hasher, bytes };
        if bytes > expected.size {
            partial.restart(expected)?;
        }
        Ok(partial)
    }

    fn restart(&mut self, expected: &ExpectedContent<'_>) -> Result<(), HubError> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.hasher = ContentHasher::new(Some(expected.hash), expected.size);
        self.bytes = 0;
        Ok(())
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), HubError> {
        self.file.write_all(bytes)?;
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Removes the partial file, and returns the error.
    fn wrong_size(
        &self,
        url: &str,
        expected: &ExpectedContent<'_>,
        found: u64,
    ) -> Result<HubError, HubError> {
        fs::remove_file(&self.path)?;
        Ok(HubError::WrongSize { url: url.to_owned(), expected: expected.size, found })
    }

    /// Verifies the content, and renames the file to its destination.
    fn publish(self, to: &Path, expected: &ExpectedContent<'_>, url: String) -> Result<String, HubError> {
        let (sha256, found) = self.hasher.finish();
        if found != expected.hash.hex() {
            fs::remove_file(&self.path)?;
            return Err(HubError::WrongHash { url, expected: expected.hash.hex().to_owned(), found });
        }
        self.file.sync_all()?;
        rename(&self.path, to)?;
        Ok(sha256)
    }
}

/// Parses `bytes BEGIN-END/TOTAL` into begin and total.
fn content_range(response: &Response<Body>) -> Option<(u64, Option<u64>)> {
    let range = response.headers().get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?;
    let (span, total) = range.split_once('/')?;
    Some((span.split_once('-')?.0.parse().ok()?, total.parse().ok()))
}

/// Returns the total size of the file, given the first byte of the response, if the response contains it.
fn total(response: &Response<Body>, begins: u64) -> Option<u64> {
    if let Some((_, total)) = content_range(response) {
        return total;
    }
    let length: u64 = response.headers().get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()?;
    Some(begins + length)
}
