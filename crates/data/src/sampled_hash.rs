//! Hashes of large files from evenly spaced parts.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use fs_err::File;

use crate::error::Result;

/// Takes a file into a hash: of one larger than [`SAMPLED`] bytes its length and evenly spaced parts, so that a run over terabytes starts
/// at once.
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

/// Bytes of a file that its fingerprint reads at most.
const SAMPLED: u64 = 64 << 20;
const PARTS: u64 = 64;
