//! An object store without `async`.

use std::io::Write;
use std::path::Path as FilePath;
use std::sync::{Arc, Once};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::StreamExt;
use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, BackoffConfig, ClientOptions, GetOptions, ObjectStore, ObjectStoreExt,
    ObjectStoreScheme, PutMultipartOptions, PutOptions, RetryConfig, WriteMultipart,
};
use tokio::runtime::Runtime;
use url::Url;

use crate::error::StorageError;

/// Size of the parts of a large object. Larger for objects that would exceed the limit of 10,000 parts.
const PART: u64 = 16 << 20;
/// Number of concurrent parts of one object.
const PARTS_AT_ONCE: usize = 4;
/// Timeout of a request.
const TIMEOUT: Duration = Duration::from_mins(3);
/// Name of the metadata entry with an object's hash, in stores that keep metadata.
const HASH: &str = "blake3";

/// Objects below an address: `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`, or a path.
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    prefix: Path,
    address: String,
    keeps_metadata: bool,
    runtime: Runtime,
}

/// An entry of a listing.
#[derive(Clone, Debug)]
pub(crate) struct ListedObject {
    /// Its name, relative to the store's prefix.
    pub(crate) key: String,
    pub(crate) bytes: u64,
    pub(crate) modified: SystemTime,
}

/// Content of an object, read from beginning to end.
pub(crate) trait ObjectContent {
    /// Its size in bytes.
    fn bytes(&self) -> u64;
    /// Reads the next `length` bytes.
    fn read(&mut self, length: usize) -> std::io::Result<Bytes>;
}

impl ObjectContent for Bytes {
    fn bytes(&self) -> u64 {
        self.len() as u64
    }

    fn read(&mut self, length: usize) -> std::io::Result<Bytes> {
        Ok(self.split_to(length.min(self.len())))
    }
}

impl Store {
    /// Opens the store at an address. Sends no request yet.
    ///
    /// Credentials, region and endpoint come from environment variables, as documented by the `object_store`
    /// crate (`AWS_ACCESS_KEY_ID`, `GOOGLE_SERVICE_ACCOUNT`, `AZURE_STORAGE_ACCOUNT_KEY`, ...).
    ///
    /// # Errors
    /// Returns [`StorageError::Address`] if the address is invalid or the client rejects the settings.
    pub fn open(address: &str) -> Result<Self, StorageError> {
        install_tls();
        let (url, scheme, prefix) = parse_address(address)?;
        let objects = connect(&scheme, &url).map_err(|error| refused(address, error.to_string()))?;
        let keeps_metadata = !matches!(scheme, ObjectStoreScheme::Local);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let address =
            if keeps_metadata { address.trim_end_matches('/').to_owned() } else { url.path().to_owned() };
        Ok(Self { objects, prefix, address, keeps_metadata, runtime })
    }

    /// Checks the syntax of an address. Doesn't read the environment.
    ///
    /// # Errors
    /// Returns [`StorageError::Address`] if the address is invalid.
    pub fn check_address(address: &str) -> Result<(), StorageError> {
        parse_address(address).map(drop)
    }

    /// Returns whether a text is the URL of a store, rather than a path.
    #[must_use]
    pub fn is_url(text: &str) -> bool {
        text.contains("://")
    }

    /// Returns the full address of an object.
    #[must_use]
    pub fn url(&self, key: &str) -> String {
        if key.is_empty() { self.address.clone() } else { format!("{}/{key}", self.address) }
    }

    fn path(&self, key: &str) -> Path {
        key.split('/').filter(|part| !part.is_empty()).fold(self.prefix.clone(), Path::join)
    }

    fn failed(&self, key: &str) -> impl Fn(object_store::Error) -> StorageError {
        let url = self.url(key);
        move |source| StorageError::Store { url: url.clone(), source: Box::new(source) }
    }

    /// Writes an object atomically, with its `blake3` hash as metadata if the store keeps metadata.
    pub(crate) fn put(
        &self,
        key: &str,
        content: &mut dyn ObjectContent,
        blake3: &str,
    ) -> Result<(), StorageError> {
        let mut attributes = Attributes::new();
        if self.keeps_metadata {
            attributes.insert(Attribute::Metadata(HASH.into()), blake3.to_owned().into());
        }
        if content.bytes() <= PART {
            let options = PutOptions { attributes, ..PutOptions::default() };
            let bytes = content.read(content.bytes() as usize)?;
            let path = self.path(key);
            let put = self.objects.put_opts(&path, bytes.into(), options);
            return self.runtime.block_on(put).map(drop).map_err(self.failed(key));
        }
        self.runtime.block_on(self.put_parts(key, content, attributes))
    }

    async fn put_parts(
        &self,
        key: &str,
        content: &mut dyn ObjectContent,
        attributes: Attributes,
    ) -> Result<(), StorageError> {
        let failed = self.failed(key);
        let part = PART.max(content.bytes().div_ceil(9000)) as usize;
        let options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
        let upload = self.objects.put_multipart_opts(&self.path(key), options).await.map_err(&failed)?;
        let mut writer = WriteMultipart::new_with_chunk_size(upload, part);
        let mut left = content.bytes();
        while left > 0 {
            let sent = async {
                writer.wait_for_capacity(PARTS_AT_ONCE).await.map_err(&failed)?;
                let bytes = content.read(part)?;
                let length = bytes.len() as u64;
                writer.put(bytes);
                Ok(length)
            };
            match sent.await {
                Ok(0) => break,
                Ok(length) => left -= length.min(left),
                Err(error) => {
                    // Incomplete parts are billed. If aborting fails too, the bucket's lifecycle rules must
                    // remove them.
                    let _ = writer.abort().await;
                    return Err(error);
                }
            }
        }
        writer.finish().await.map(drop).map_err(failed)
    }

    /// Reads a small object, or returns `None` if it doesn't exist. Verifies its hash if the store has one.
    pub(crate) fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
        let mut bytes = Vec::new();
        Ok(self.download(key, &mut bytes)?.then_some(bytes))
    }

    /// Writes the content of an object to `to`, and returns whether it exists. Verifies its hash if the store
    /// has one.
    pub(crate) fn download(&self, key: &str, to: &mut dyn Write) -> Result<bool, StorageError> {
        self.runtime.block_on(async {
            let failed = self.failed(key);
            let found = match self.objects.get_opts(&self.path(key), GetOptions::default()).await {
                Err(object_store::Error::NotFound { .. }) => return Ok(false),
                found => found.map_err(&failed)?,
            };
            let expected =
                found.attributes.get(&Attribute::Metadata(HASH.into())).map(|hash| hash.as_ref().to_owned());
            let bytes = found.meta.size;
            let mut hasher = blake3::Hasher::new();
            let mut chunks = found.into_stream();
            while let Some(chunk) = chunks.next().await {
                let chunk = chunk.map_err(&failed)?;
                hasher.update(&chunk);
                to.write_all(&chunk)?;
            }
            let damaged =
                |reason: &str| Err(StorageError::Damaged { url: self.url(key), reason: reason.to_owned() });
            if hasher.count() != bytes {
                return damaged("the connection was closed before the end of the object");
            }
            match expected {
                Some(expected) if expected != hasher.finalize().to_hex().as_str() => {
                    damaged("the object differs from what was written (BLAKE3 hash mismatch)")
                }
                _ => Ok(true),
            }
        })
    }

    /// Lists all objects below a name.
    pub(crate) fn list(&self, below: &str) -> Result<Vec<ListedObject>, StorageError> {
        let path = self.path(below);
        self.runtime.block_on(async {
            let mut objects = self.objects.list((!path.as_ref().is_empty()).then_some(&path));
            let mut listed = Vec::new();
            while let Some(object) = objects.next().await {
                let object = object.map_err(self.failed(below))?;
                let Some(parts) = object.location.prefix_match(&self.prefix) else { continue };
                let key = parts.map(|part| part.as_ref().to_owned()).collect::<Vec<_>>().join("/");
                listed.push(ListedObject { key, bytes: object.size, modified: object.last_modified.into() });
            }
            Ok(listed)
        })
    }

    /// Removes an object if it exists.
    pub(crate) fn remove(&self, key: &str) -> Result<(), StorageError> {
        match self.runtime.block_on(self.objects.delete(&self.path(key))) {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            removed => removed.map_err(self.failed(key)),
        }
    }
}

fn refused(address: &str, reason: String) -> StorageError {
    StorageError::Address { address: address.to_owned(), reason }
}

/// Parses an address into URL, scheme and prefix.
fn parse_address(address: &str) -> Result<(Url, ObjectStoreScheme, Path), StorageError> {
    let url = parse_url(address).map_err(|reason| refused(address, reason))?;
    match ObjectStoreScheme::parse(&url) {
        Ok((ObjectStoreScheme::Http | ObjectStoreScheme::Memory, _)) => {
            Err(refused(address, format!("unsupported scheme {}:", url.scheme())))
        }
        Ok((scheme, prefix)) => Ok((url, scheme, prefix)),
        Err(error) => Err(refused(address, error.to_string())),
    }
}

/// Parses an address as a URL. A path becomes a file URL.
fn parse_url(address: &str) -> Result<Url, String> {
    if Store::is_url(address) {
        return Url::parse(address).map_err(|error| error.to_string());
    }
    if address.trim().is_empty() {
        return Err("the address is empty".to_owned());
    }
    let path = std::path::absolute(FilePath::new(address)).map_err(|error| error.to_string())?;
    Url::from_file_path(&path).map_err(|()| format!("{} can't be expressed as a URL", path.display()))
}

fn connect(scheme: &ObjectStoreScheme, url: &Url) -> object_store::Result<Arc<dyn ObjectStore>> {
    // Short, since the uploader retries longer failures and reports each.
    let retry = RetryConfig {
        max_retries: 2,
        retry_timeout: Duration::from_mins(2),
        backoff: BackoffConfig { max_backoff: Duration::from_secs(2), ..BackoffConfig::default() },
    };
    let options = ClientOptions::new().with_timeout(TIMEOUT).with_connect_timeout(Duration::from_secs(10));
    macro_rules! cloud {
        ($builder:ty) => {{
            let builder =
                <$builder>::new().with_client_options(options).with_retry(retry).with_url(url.as_str());
            let with_settings = std::env::vars().fold(builder, |builder, (name, value)| {
                match name.to_ascii_lowercase().parse() {
                    Ok(key) if is_cloud_setting(&name) => builder.with_config(key, value),
                    _ => builder,
                }
            });
            Arc::new(with_settings.build()?)
        }};
    }
    Ok(match scheme {
        ObjectStoreScheme::Local => Arc::new(LocalFileSystem::new().with_fsync(true)),
        ObjectStoreScheme::AmazonS3 => cloud!(AmazonS3Builder),
        ObjectStoreScheme::GoogleCloudStorage => cloud!(GoogleCloudStorageBuilder),
        ObjectStoreScheme::MicrosoftAzure => cloud!(MicrosoftAzureBuilder),
        _ => {
            return Err(object_store::Error::NotSupported {
                source: format!("unsupported scheme {}:", url.scheme()).into(),
            });
        }
    })
}

/// Returns whether an environment variable is meant for a store. Others can have the name of a setting.
fn is_cloud_setting(name: &str) -> bool {
    ["AWS_", "GOOGLE_", "AZURE_"].iter().any(|prefix| name.starts_with(prefix))
}

/// Selects ring for TLS, which the program already has for the hub. The first provider in a process is used.
fn install_tls() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // A provider that another library has installed works as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
}
