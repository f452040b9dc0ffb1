//! Hashes of large files from evenly spaced parts.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use fs_err::File;

use crate::error::Result;

/// Updates a hash with a file.
///
/// Of a file larger than [`SAMPLED`] bytes, only the length and evenly spaced parts are hashed, so that a run
/// over terabytes of data starts without delay.
pub(crate) fn hash_sampled(path: &Path, hasher: &mut blake3::Hasher) -> Result<()> {
    let mut file = File::open(path)?;
    let len = file.metadata()?.len();
    hasher.update(&len.to_le_bytes());
    if len <= SAMPLED {
        hasher.update_reader(file)?;
        return Ok(());
    }
    for part in 0..PARTS {
        let start = u128::from(len - SAMPLED / PARTS) * u128::from(part) / u128::from(PARTS - 1);
        file.seek(SeekFrom::Start(start as u64))?;
        hasher.update_reader(file.by_ref().take(SAMPLED / PARTS))?;
    }
    Ok(())
}

/// Largest number of bytes of a file that are hashed.
const SAMPLED: u64 = 64 << 20;
/// Number of parts of a larger file that are hashed.
const PARTS: u64 = 64;
