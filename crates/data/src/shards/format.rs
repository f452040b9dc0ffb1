//! Constants, token types and file names of Megatron's indexed dataset.

use std::path::{Path, PathBuf};

use crate::paths::with_suffix;

pub(super) const MAGIC: &[u8; 9] = b"MMIDIDX\0\0";
pub(super) const VERSION: u64 = 1;
pub(super) const HEADER: usize = 34;

/// Integer type of the tokens in a `.bin` file. Megatron's other types (i8 and floats) don't contain tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenType {
    U8,
    I16,
    I32,
    I64,
    U16,
}

impl TokenType {
    pub(super) fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            1 => Self::U8,
            3 => Self::I16,
            4 => Self::I32,
            5 => Self::I64,
            8 => Self::U16,
            _ => return None,
        })
    }

    pub(super) fn code(self) -> u8 {
        match self {
            Self::U8 => 1,
            Self::I16 => 3,
            Self::I32 => 4,
            Self::I64 => 5,
            Self::U16 => 8,
        }
    }

    pub(super) fn width(self) -> usize {
        match self {
            Self::U8 => 1,
            Self::I16 | Self::U16 => 2,
            Self::I32 => 4,
            Self::I64 => 8,
        }
    }

    /// Returns the type that Megatron selects for a vocabulary (`DType.optimal_dtype`).
    pub(super) fn for_vocab(size: usize) -> Self {
        if size < 65_500 { Self::U16 } else { Self::I32 }
    }
}

pub(super) fn bin_path(prefix: &Path) -> PathBuf {
    with_suffix(prefix, ".bin")
}

pub(super) fn idx_path(prefix: &Path) -> PathBuf {
    with_suffix(prefix, ".idx")
}
