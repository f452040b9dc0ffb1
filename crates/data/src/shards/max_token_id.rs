//! The largest token id of a shard of another tool.

use std::path::Path;

use fineline_files::{create_directory, write_atomically};

use crate::error::Result;
use crate::shards::shard::Shard;

/// Returns the largest token id of a shard of another tool. The shard is read completely, once: the result is
/// kept in the cache under the fingerprint of the shard.
pub(crate) fn max_token_id(prefix: &Path, fingerprint: &blake3::Hash, cache: &Path) -> Result<u32> {
    let known = cache.join(format!("max-token-id-{}", &fingerprint.to_hex()[..16]));
    // A damaged cache file is written again.
    if known.is_file()
        && let Ok(id) = fs_err::read_to_string(&known)?.trim().parse()
    {
        return Ok(id);
    }
    let id = Shard::open(prefix)?.max_token_id();
    create_directory(cache)?;
    write_atomically(&known, format!("{id}\n").as_bytes())?;
    Ok(id)
}
