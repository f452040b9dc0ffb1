use std::collections::BTreeMap;

use super::*;
use crate::config::TokenizerConfig;
use crate::testing::{source, tiny_tokenizer};

const SPEC: ChunkSpec = ChunkSpec { row_len: 9, chunks: 4, validation_rows: 3, seed: 5 };

struct Text {
    dir: tempfile::TempDir,
    tokenizer: Tokenizer,
    sources: Vec<SourceConfig>,
}

/// Two sources that are not in alphabetic order.
fn text() -> Text {
    let dir = tempfile::tempdir().unwrap();
    let tokenizer = tiny_tokenizer(dir.path());
    let policy = TokenizerConfig { add_bos: false, ..TokenizerConfig::default() };
    let tokenizer = tokenizer.with_policy(&policy).unwrap();
    let mut sources = Vec::new();
    for (name, documents) in [("web", 40), ("books", 23)] {
        let path = dir.path().join(format!("{name}.jsonl"));
        // No two rows are alike.
        let line = |i: u32| format!("{{\"text\": \"{name} {:x}\"}}\n", i.wrapping_mul(2_654_435_761));
        fs_err::write(&path, (0..documents).map(line).collect::<String>()).unwrap();
        sources.push(source(name, &path));
    }
    Text { dir, tokenizer, sources }
}

fn made(text: &Text, spec: &ChunkSpec, to: &str) -> Result<ChunkSetInfo> {
    make_chunks(&text.sources, &text.tokenizer, spec, &text.dir.path().join(to), &mut |_| ())
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Line {
    token_ids: Vec<u32>,
    source: String,
}

fn lines(path: &Path) -> Vec<Line> {
    let text = fs_err::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The files of a directory that aren't hidden.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs_err::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let visible = entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
    visible
        .map(|entry| (entry.file_name().into_string().unwrap(), fs_err::read(entry.path()).unwrap()))
        .collect()
}

/// The definition, one row at a time.
#[test]
fn rows_are_dealt_as_amber_data_prep_deals_them() {
    let text = text();
    let made = made(&text, &SPEC, "out").unwrap();
    let out = text.dir.path().join("out");
    let mut expected: Vec<Vec<Line>> = vec![Vec::new(); 4];
    let mut unused = 0;
    for source in ["books", "web"] {
        let path = text.dir.path().join(format!("{source}.jsonl"));
        let documents = fs_err::read_to_string(path).unwrap();
        let stream: Vec<u32> = documents
            .lines()
            .flat_map(|line| {
                let record: serde_json::Value = serde_json::from_str(line).unwrap();
                let mut ids = text.tokenizer.encode(record["text"].as_str().unwrap()).unwrap();
                ids.push(2);
                ids
            })
            .collect();
        let rows: Vec<Line> = stream
            .chunks_exact(9)
            .map(|ids| Line { token_ids: ids.to_vec(), source: source.to_owned() })
            .collect();
        let held_out = lines(&out.join(format!("valid_{source}.jsonl")));
        assert_eq!(held_out.len(), 3);
        let mut training = rows.clone();
        for row in &held_out {
            let at = training.iter().position(|other| other == row).expect("a row of the source");
            training.remove(at);
        }
        let rounds = training.len() / 4;
        unused += training.len() - rounds * 4;
        for (number, row) in training.into_iter().take(rounds * 4).enumerate() {
            expected[number % 4].push(row);
        }
    }
    for (number, expected) in expected.iter().enumerate() {
        assert_eq!(&lines(&out.join(format!("train_{number:03}.jsonl"))), expected, "chunk {number}");
        assert_eq!(made.rows, expected.len() as u64);
    }
    assert_eq!(
        (made.unused_rows, &made.sources[..]),
        (unused as u64, &["books".to_owned(), "web".to_owned()][..])
    );
    assert_eq!(files(&out).len(), 4 + 2 + 1);
    assert!(!out.join(ROWS).exists());
}

#[test]
fn what_a_kill_left_is_made_whole_and_the_same() {
    let text = text();
    made(&text, &SPEC, "whole").unwrap();
    made(&text, &SPEC, "killed").unwrap();
    let killed = text.dir.path().join("killed");
    // The state after a kill: some files are missing, one is incomplete, and the record is not final.
    fs_err::remove_file(killed.join("train_002.jsonl")).unwrap();
    fs_err::remove_file(killed.join("valid_web.jsonl")).unwrap();
    fs_err::write(killed.join(".writing-train_002.jsonl.1-1"), "{\"token_ids\"").unwrap();
    let record = fs_err::read_to_string(killed.join(RECORD)).unwrap();
    fs_err::write(killed.join(RECORD), record.replace("true", "false")).unwrap();
    made(&text, &SPEC, "killed").unwrap();
    assert_eq!(files(&killed), files(&text.dir.path().join("whole")));
    assert_eq!(fs_err::read_dir(&killed).unwrap().count(), files(&killed).len() + 1, "and the lock");

    let before = fs_err::metadata(killed.join("train_000.jsonl")).unwrap().modified().unwrap();
    made(&text, &SPEC, "killed").unwrap();
    assert_eq!(fs_err::metadata(killed.join("train_000.jsonl")).unwrap().modified().unwrap(), before);
}

#[test]
fn chunks_of_others_are_left_alone() {
    let text = text();
    made(&text, &SPEC, "out").unwrap();
    let other = ChunkSpec { validation_rows: 2, ..SPEC };
    assert!(matches!(made(&text, &other, "out"), Err(DataError::OtherChunks { .. })));
    let foreign = text.dir.path().join("foreign");
    fs_err::create_dir(&foreign).unwrap();
    fs_err::write(foreign.join("train_000.jsonl"), "").unwrap();
    assert!(matches!(made(&text, &SPEC, "foreign"), Err(DataError::OtherChunks { .. })));
    let many = ChunkSpec { chunks: 1000, ..SPEC };
    let error = made(&text, &many, "many").unwrap_err().to_string();
    assert!(error.starts_with("data source `books`: ") && error.contains("1000 chunks"), "{error}");
}

#[test]
fn the_rows_that_are_left_are_counted_without_those_held_out() {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = ShardWriter::create(&dir.path().join("s"), 300).unwrap();
    (0..10).try_for_each(|id| writer.push(&[id])).unwrap();
    writer.finish().unwrap();
    let shard = Shard::open(&dir.path().join("s")).unwrap();
    let rows = SourceRows { name: String::new(), shard, held_out: vec![0, 3, 4, 9], per_chunk: 1 };
    assert_eq!((0..6).map(|nth| rows.training_row(nth)).collect::<Vec<_>>(), [1, 2, 5, 6, 7, 8]);
}
