use std::path::Path;

use fineline_files::{create_directory, write_atomically};

use crate::error::Result;
use crate::shards::shard::Shard;

/// The largest token id of a shard that others made. It is read whole for that, once: the answer is kept in the cache under the
/// shard's fingerprint.
pub(crate) fn max_token_id(prefix: &Path, fingerprint: &blake3::Hash, cache: &Path) -> Result<u32> {
    let known = cache.join(format!("max-token-id-{}", &fingerprint.to_hex()[..16]));
    // What isn't a number is made again, as all in the cache.
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
