//! Shards as Megatron writes them, as fineline writes them, and damaged ones.

use std::path::PathBuf;

use super::format::{MAGIC, bin_path, idx_path};
use super::*;
use crate::error::DataError;

/// `struct.pack("<9sQBQQ", b"MMIDIDX\0\0", 1, 8, 3, 3) + pack("<3i", 3, 2, 1) + pack("<3q", 0, 6, 10) +
/// pack("<3q", 0, 2, 3)`: three sequences of u16 tokens, of which the first two are one document.
const GOLDEN_IDX: &[u8] = b"MMIDIDX\0\0\
    \x01\0\0\0\0\0\0\0\
    \x08\
    \x03\0\0\0\0\0\0\0\
    \x03\0\0\0\0\0\0\0\
    \x03\0\0\0\x02\0\0\0\x01\0\0\0\
    \0\0\0\0\0\0\0\0\x06\0\0\0\0\0\0\0\x0A\0\0\0\0\0\0\0\
    \0\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0";
/// `struct.pack("<6H", 1, 500, 2, 65000, 3, 7)`.
const GOLDEN_BIN: &[u8] = b"\x01\0\xF4\x01\x02\0\xE8\xFD\x03\0\x07\0";

fn write(idx: &[u8], bin: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let prefix = dir.path().join("a.b");
    fs_err::write(idx_path(&prefix), idx).unwrap();
    fs_err::write(bin_path(&prefix), bin).unwrap();
    (dir, prefix)
}

fn tokens(shard: &Shard) -> Vec<u32> {
    let mut out = Vec::new();
    shard.copy(0..shard.tokens(), &mut out);
    out
}

#[test]
fn a_megatron_shard_made_by_hand_is_read() {
    let (_dir, prefix) = write(GOLDEN_IDX, GOLDEN_BIN);
    let shard = Shard::open(&prefix).unwrap();
    assert_eq!(tokens(&shard), [1, 500, 2, 65000, 3, 7]);
    assert_eq!((shard.documents(), shard.document_start(1), shard.document_start(2)), (2, 5, 6));
    assert_eq!(shard.max_token_id(), 65000);
}

#[test]
fn what_is_written_is_megatrons_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let prefix = dir.path().join("sub/a.b");
    let mut writer = ShardWriter::create(&prefix, 32_000).unwrap();
    for document in [&[1, 500, 2][..], &[65_000, 3], &[7]] {
        writer.push(document).unwrap();
    }
    let written = writer.finish().unwrap();
    assert_eq!((written.documents, written.tokens, written.max_token_id), (3, 6, 65_000));
    assert_eq!(fs_err::read(bin_path(&prefix)).unwrap(), GOLDEN_BIN);
    // Each sequence is a document of its own here, so there is one more document start.
    let mut expected = GOLDEN_IDX[..GOLDEN_IDX.len() - 24].to_vec();
    expected[26] = 4;
    expected.extend([0_i64, 1, 2, 3].into_iter().flat_map(i64::to_le_bytes));
    assert_eq!(fs_err::read(idx_path(&prefix)).unwrap(), expected);
    assert_eq!(fs_err::read_dir(prefix.parent().unwrap()).unwrap().count(), 2, "no temporary files");
}

#[test]
fn every_token_type_is_read() {
    let cases: [(u8, &[u8]); 5] = [
        (1, &[1, 200]),
        (3, &[1, 0, 200, 0]),
        (4, &[1, 0, 0, 0, 200, 0, 0, 0]),
        (5, &[1, 0, 0, 0, 0, 0, 0, 0, 200, 0, 0, 0, 0, 0, 0, 0]),
        (8, &[1, 0, 200, 0]),
    ];
    for (code, bin) in cases {
        let mut idx = [&MAGIC[..], &1_u64.to_le_bytes(), &[code]].concat();
        idx.extend([1_u64, 2].into_iter().flat_map(u64::to_le_bytes));
        idx.extend(2_i32.to_le_bytes());
        idx.extend([0_i64, 0, 1].into_iter().flat_map(i64::to_le_bytes));
        let (_dir, prefix) = write(&idx, bin);
        assert_eq!(tokens(&Shard::open(&prefix).unwrap()), [1, 200], "type {code}");
    }
}

#[test]
fn torn_and_foreign_files_are_refused_with_their_sizes() {
    let mut foreign = GOLDEN_IDX.to_vec();
    foreign[0] = b'X';
    let mut version = GOLDEN_IDX.to_vec();
    version[9] = 2;
    let mut float = GOLDEN_IDX.to_vec();
    float[17] = 6;
    let mut many = GOLDEN_IDX.to_vec();
    many[24] = 0xFF;
    let mut gap = GOLDEN_IDX.to_vec();
    gap[54] = 8;
    let mut documents = GOLDEN_IDX.to_vec();
    documents[78] = 9;
    let cases: [(&[u8], &[u8]); 10] = [
        (GOLDEN_IDX, &GOLDEN_BIN[..5]),
        (GOLDEN_IDX, &[GOLDEN_BIN, b"xx"].concat()),
        (&GOLDEN_IDX[..60], GOLDEN_BIN),
        (&GOLDEN_IDX[..20], GOLDEN_BIN),
        (&foreign, GOLDEN_BIN),
        (&version, GOLDEN_BIN),
        (&float, GOLDEN_BIN),
        (&many, GOLDEN_BIN),
        (&gap, GOLDEN_BIN),
        (&documents, GOLDEN_BIN),
    ];
    let messages = cases.map(|(idx, bin)| {
        let (dir, prefix) = write(idx, bin);
        let error: DataError = Shard::open(&prefix).unwrap_err();
        error.to_string().replace(dir.path().to_str().unwrap(), "DIR")
    });
    insta::assert_snapshot!(messages.join("\n"), @r"
    `DIR/a.b.bin`: has 5 bytes, but its index describes 12; the file is truncated or doesn't belong to it
    `DIR/a.b.bin`: has 14 bytes, but its index describes 12; the file is truncated or doesn't belong to it
    `DIR/a.b.idx`: has 60 bytes, but its index describes 94; the file is truncated or doesn't belong to it
    `DIR/a.b.idx`: has 20 bytes, but its index describes 34; the file is truncated or doesn't belong to it
    `DIR/a.b.idx`: not a valid Megatron index: it does not begin with MMIDIDX
    `DIR/a.b.idx`: not a valid Megatron index: version 2, expected 1
    `DIR/a.b.idx`: not a valid Megatron index: type code 6 is not one of token ids
    `DIR/a.b.idx`: has 94 bytes, but its index describes 861313428734607454; the file is truncated or doesn't belong to it
    `DIR/a.b.idx`: not a valid Megatron index: sequence 1 has 2 tokens at byte 8, expected at byte 6
    `DIR/a.b.idx`: not a valid Megatron index: document 2 begins at sequence 3, of 3 sequences in 2 documents
    ");
}

#[test]
fn an_index_without_its_bin_names_the_bin() {
    let (_dir, prefix) = write(GOLDEN_IDX, GOLDEN_BIN);
    fs_err::remove_file(bin_path(&prefix)).unwrap();
    assert!(Shard::open(&prefix).unwrap_err().to_string().contains("a.b.bin"));
}
