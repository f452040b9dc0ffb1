//! Datasets of mixtures and of chunks.

use std::collections::BTreeSet;
use std::path::Path;

use fineline_diagnostics::{Classified, ErrorClass};
use proptest::prelude::*;

use fineline_testing::materials;

use super::*;
use crate::config::DataConfig;
use crate::config::{Packing, SourceConfig, TokenizerConfig};
use crate::error::Result;
use crate::testing::{source, tiny_tokenizer};

/// A mixture of two texts, `many` short documents with `weights[0]` and one long document with `weights[1]`.
fn config(dir: &Path, weights: [f64; 2], packing: Packing, validation_share: f64) -> DataConfig {
    let (many, one) = (dir.join("many.jsonl"), dir.join("one.txt"));
    let lines: Vec<String> = (0..300).map(|i| format!("{{\"text\": \"short document {i}\"}}\n")).collect();
    fs_err::write(&many, lines.concat()).unwrap();
    let lines: Vec<String> = (0..400).map(|i| format!("line {i} of a long text\n")).collect();
    fs_err::write(&one, lines.concat()).unwrap();
    let mut mix = vec![source("many", &many), source("one", &one)];
    mix.iter_mut().zip(weights).for_each(|(source, weight)| source.weight = weight);
    DataConfig {
        seq_len: 32,
        packing,
        validation_share,
        mix,
        cache_dir: dir.join("cache"),
        ..Default::default()
    }
}

fn open(config: &DataConfig, seed: u64, dir: &Path) -> Dataset {
    open_with(config, &tiny_tokenizer(dir), seed).unwrap()
}

fn open_with(config: &DataConfig, tokenizer: &Tokenizer, seed: u64) -> Result<Dataset> {
    let options = DatasetOptions { seed, global_batch_size: 4 };
    Dataset::open(&Corpus::find(config)?, tokenizer, options, &mut |_| ())
}

fn dataset(packing: Packing, validation_share: f64) -> (tempfile::TempDir, Dataset) {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), [0.7, 0.3], packing, validation_share);
    let dataset = open(&config, 5, dir.path());
    (dir, dataset)
}

#[test]
fn an_epoch_has_every_row_once_and_the_next_another_order() {
    for packing in [Packing::Stream, Packing::Rows] {
        let (_dir, dataset) = dataset(packing, 0.1);
        for stats in dataset.sources() {
            let mut epochs = vec![Vec::new(); 3];
            for index in 0.. {
                let origin = dataset.origin(index);
                if origin.epoch == 3 && origin.source == stats.name {
                    break;
                }
                if origin.source == stats.name {
                    epochs[origin.epoch as usize].push(origin.row);
                }
            }
            for rows in &epochs {
                let distinct: BTreeSet<u64> = rows.iter().copied().collect();
                assert!(distinct.into_iter().eq(0..stats.rows), "{} in {packing:?}", stats.name);
                assert_eq!(rows.len() as u64, stats.rows);
            }
            assert!(epochs[0] != epochs[1] && epochs[1] != epochs[2]);
        }
    }
}

#[test]
fn ranks_together_see_the_rows_of_one_in_any_order_of_access() {
    let (_dir, dataset) = dataset(Packing::Stream, 0.1);
    let (batch, steps) = (16_u64, 6_u64);
    let alone: Vec<Row> = (0..batch * steps).map(|index| dataset.row(index)).collect();
    for ranks in [1, 2, 8] {
        let mut together = vec![Row::default(); alone.len()];
        // Ranks run independently, and later steps may be requested first.
        for rank in (0..ranks).rev() {
            for step in (0..steps).rev() {
                for i in rank * batch / ranks..(rank + 1) * batch / ranks {
                    let index = step * batch + i;
                    together[index as usize] = dataset.row(index);
                }
            }
        }
        assert!(together == alone, "{ranks} ranks");
    }
}

#[test]
fn origins_say_what_the_row_holds() {
    for packing in [Packing::Stream, Packing::Rows] {
        let (_dir, dataset) = dataset(packing, 0.1);
        for index in 0..200 {
            let (row, origin) = (dataset.row(index), dataset.origin(index));
            let source = dataset.parts.sources.iter().find(|source| source.name == origin.source).unwrap();
            for (number, part) in origin.documents.iter().enumerate() {
                let first = source.tokens.document(part.document).tokens.start;
                let mut tokens = Vec::new();
                source.tokens.copy(first + part.tokens.start..first + part.tokens.end, &mut tokens);
                assert_eq!(row.tokens[part.at.clone()], tokens);
                let inputs = part.at.start..part.at.end.min(32);
                assert!(row.documents[inputs].iter().all(|&document| document == number as u32));
            }
        }
    }
}

#[test]
fn seed_and_mixture_change_the_rows_but_not_the_validation() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), [0.7, 0.3], Packing::Stream, 0.1);
    let [a, same, other] = [1, 1, 2].map(|seed| open(&config, seed, dir.path()));
    let rows = |dataset: &Dataset| (0..40).map(|index| dataset.row(index)).collect::<Vec<_>>();
    assert_eq!((a.fingerprint(), rows(&a)), (same.fingerprint(), rows(&same)));
    assert!(a.fingerprint() != other.fingerprint() && rows(&a) != rows(&other));
    let held_out = |dataset: &Dataset| dataset.validation()[0].row(1);
    assert_eq!(held_out(&a), held_out(&other));
    let reweighted = DataConfig { mix: config.mix.iter().rev().cloned().collect(), ..config.clone() };
    assert_ne!(open(&reweighted, 1, dir.path()).fingerprint(), a.fingerprint());
}

#[test]
fn validation_covers_its_bytes_and_training_never_meets_it() {
    for (packing, share) in [(Packing::Stream, 0.1), (Packing::Rows, 0.1), (Packing::Stream, 0.0)] {
        let (dir, dataset) = dataset(packing, share);
        assert_eq!(dataset.validation().len(), if share > 0.0 { 2 } else { 0 });
        let tokenizer = tiny_tokenizer(dir.path());
        for held_out in dataset.validation() {
            let rows: Vec<_> = (0..held_out.rows()).map(|number| held_out.row(number)).collect();
            let counted = |row: &Row| {
                let targets = row.tokens[1..].iter().zip(&row.target_mask).filter(|(_, counts)| **counts);
                targets.map(|(&id, _)| id).filter(|&id| id > 2).collect::<Vec<u32>>()
            };
            // The tokenizer has one token per byte.
            let bytes: usize = rows.iter().map(|row| counted(&row.row).len()).sum();
            assert_eq!(rows.iter().flat_map(|row| &row.target_bytes).sum::<u32>(), bytes as u32);
            for row in &rows {
                let targets = row.row.tokens[1..].iter().zip(&row.row.target_mask);
                let with_bytes = targets.map(|(&id, &counts)| u32::from(counts && id > 2));
                assert!(with_bytes.eq(row.target_bytes.iter().copied()), "special tokens have no bytes");
            }
            let stats = dataset.sources().into_iter().find(|stats| stats.name == held_out.name()).unwrap();
            let share = stats.validation_tokens as f64 / stats.tokens as f64;
            assert!((share - 0.1).abs() < 0.01, "{share}");
            if held_out.name() == "many" {
                let text: String =
                    rows.iter().map(|row| tokenizer.decode(&counted(&row.row)).unwrap()).collect();
                let seen: Vec<&str> = text.split("short document ").skip(1).collect();
                assert_eq!(seen.len(), 30, "whole documents");
                let trained: String =
                    (0..600).map(|index| tokenizer.decode(&dataset.row(index).tokens).unwrap()).collect();
                let whole = seen.iter().filter(|number| trained.contains(&format!("document {number}short")));
                assert_eq!(whole.count(), 0);
            }
        }
    }
}

#[test]
fn too_little_text_is_said() {
    let dir = tempfile::tempdir().unwrap();
    fs_err::write(dir.path().join("a.txt"), "short").unwrap();
    let mix = vec![source("notes", &dir.path().join("a.txt"))];
    let config = DataConfig { mix, cache_dir: dir.path().join("cache"), ..Default::default() };
    let error = open_with(&config, &tiny_tokenizer(dir.path()), 0).unwrap_err();
    insta::assert_snapshot!(error, @r"
    data source `notes`: 5 tokens of training text are fewer than the 1025 of one row; add text, or lower `data.seq_len`
    ");
}

fn shards_config(prefix: &Path) -> DataConfig {
    DataConfig {
        seq_len: 8,
        validation_share: 0.0,
        mix: vec![source("a", prefix)],
        cache_dir: prefix.with_file_name("cache"),
        ..Default::default()
    }
}

#[test]
fn shards_of_another_tokenizer_are_refused_and_foreign_ones_read() {
    let dir = tempfile::tempdir().unwrap();
    let tokenizer = tiny_tokenizer(dir.path());
    fs_err::write(dir.path().join("a.txt"), "some text for a row or two").unwrap();
    let prefix = dir.path().join("shard");
    crate::preparation::prepare(&source("a", &dir.path().join("a.txt")), &tokenizer, &prefix, &mut |_| ())
        .unwrap();
    let config = shards_config(&prefix);
    let dataset = open_with(&config, &tokenizer, 0).unwrap();
    assert_eq!(dataset.sources()[0].text_bytes, Some(26));
    let documents = [Ok("ab ab ab".to_owned())].into_iter();
    let other = crate::train_bpe(documents, 260, &dir.path().join("other.json")).unwrap();
    let error = open_with(&config, &other, 0).unwrap_err().to_string();
    assert!(error.contains("made with another tokenizer"), "{error}");
    fs_err::remove_file(crate::paths::with_suffix(&prefix, ".fineline.json")).unwrap();
    let foreign = open_with(&config, &other, 0).unwrap();
    let largest = foreign.max_token_id().unwrap();
    assert_eq!((largest, foreign.sources()[0].text_bytes), (dataset.max_token_id().unwrap(), None));
    assert_eq!(foreign.row(3), dataset.row(3));
}

#[test]
fn a_dir_of_prepared_shards_is_a_source() {
    let dir = tempfile::tempdir().unwrap();
    let tokenizer = tiny_tokenizer(dir.path());
    fs_err::write(dir.path().join("a.txt"), "some text for a row or two").unwrap();
    let text = source("a", &dir.path().join("a.txt"));
    let shards = dir.path().join("shards");
    for name in ["s1", "s2.v1"] {
        crate::preparation::prepare(&text, &tokenizer, &shards.join(name), &mut |_| ()).unwrap();
    }
    for spec in [shards.clone(), shards.join("*"), shards.join("s*")] {
        let config = shards_config(&spec);
        let config = DataConfig { cache_dir: dir.path().join("cache"), ..config };
        let stats = open_with(&config, &tokenizer, 0).unwrap().sources();
        assert_eq!((stats[0].documents, stats[0].text_bytes), (2, Some(52)), "{}", spec.display());
    }
}

#[test]
fn shards_with_other_marks_are_refused_by_key() {
    let dir = tempfile::tempdir().unwrap();
    let with_marks = tiny_tokenizer(dir.path());
    let policy = |add_bos, add_eos| {
        let policy = TokenizerConfig { add_bos, add_eos, ..TokenizerConfig::default() };
        with_marks.with_policy(&policy).unwrap()
    };
    fs_err::write(dir.path().join("a.txt"), "some text for a row or two").unwrap();
    let prefix = dir.path().join("shard");
    let text: SourceConfig = source("a", &dir.path().join("a.txt"));
    crate::preparation::prepare(&text, &policy(true, false), &prefix, &mut |_| ()).unwrap();
    let config = shards_config(&prefix);
    open_with(&config, &policy(true, false), 0).unwrap();
    let errors = [(true, true), (false, true)].map(|(bos, eos)| {
        let error = open_with(&config, &policy(bos, eos), 0).unwrap_err();
        assert_eq!(error.class(), ErrorClass::Configuration);
        error.to_string().replace(dir.path().to_str().unwrap(), "DIR")
    });
    insta::assert_snapshot!(errors.join("\n"), @r"
    data source `a`: `DIR/shard.fineline.json`: made with BOS 1 and EOS none around each document, but this run is configured for BOS 1 and EOS 2; set tokenizer.add_eos to false, or prepare the text again
    data source `a`: `DIR/shard.fineline.json`: made with BOS 1 and EOS none around each document, but this run is configured for BOS none and EOS 2; set tokenizer.add_bos to true and set tokenizer.add_eos to false, or prepare the text again
    ");
}

#[test]
fn a_foreign_shard_is_read_whole_once() {
    let dir = tempfile::tempdir().unwrap();
    let tokenizer = tiny_tokenizer(dir.path());
    fs_err::write(dir.path().join("a.txt"), "some text for a row or two").unwrap();
    let prefix = dir.path().join("shard");
    crate::preparation::prepare(&source("a", &dir.path().join("a.txt")), &tokenizer, &prefix, &mut |_| ())
        .unwrap();
    fs_err::remove_file(crate::paths::with_suffix(&prefix, ".fineline.json")).unwrap();
    let config = shards_config(&prefix);
    let largest = open_with(&config, &tokenizer, 0).unwrap().max_token_id().unwrap();
    let kept: Vec<_> =
        fs_err::read_dir(&config.cache_dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(fs_err::read_to_string(&kept[0]).unwrap(), format!("{largest}\n"));
    // The cache is trusted, so the shard isn't read again. Content that isn't a number is ignored.
    for (content, expected) in [("77\n", 77), ("x", largest)] {
        fs_err::write(&kept[0], content).unwrap();
        assert_eq!(open_with(&config, &tokenizer, 0).unwrap().max_token_id().unwrap(), expected);
    }
}

#[test]
fn text_is_hashed_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.txt");
    fs_err::write(&path, "some text").unwrap();
    let text = crate::TextSource::open(&source("a", &path)).unwrap().unwrap();
    let first = text.fingerprint().unwrap().to_owned();
    fs_err::write(&path, "some other text").unwrap();
    assert_eq!(text.fingerprint().unwrap(), first, "the files aren't read again");
}

#[test]
fn a_run_without_a_tokenizer_trains_one_and_finds_it_again() {
    let dir = tempfile::tempdir().unwrap();
    let data = config(dir.path(), [1.0, 1.0], Packing::Stream, 0.0);
    let corpus = Corpus::find(&data).unwrap();
    let config = TokenizerConfig { train_vocab_size: 300, ..TokenizerConfig::default() };
    let first = Tokenizer::open(&config, &corpus).unwrap();
    let stamp = fs_err::metadata(first.path()).unwrap().modified().unwrap();
    let again = Tokenizer::open(&config, &corpus).unwrap();
    assert_eq!((first.path(), first.fingerprint()), (again.path(), again.fingerprint()));
    assert_eq!(fs_err::metadata(again.path()).unwrap().modified().unwrap(), stamp);
    let larger = TokenizerConfig { train_vocab_size: 310, ..config };
    assert_ne!(Tokenizer::open(&larger, &corpus).unwrap().path(), first.path());
}

#[test]
fn real_corpora_make_a_mixture() {
    let Some(tokenizer) = materials("tokenizers/llama2-spm/tokenizer.json") else { return };
    let names = ["arxiv_sample.jsonl", "wikitext-2/valid.txt"];
    let dir = tempfile::tempdir().unwrap();
    let mut mix = Vec::new();
    for name in names {
        let Some(path) = materials(&format!("corpora/{name}")) else { return };
        mix.push(source(name, &path));
    }
    let config = DataConfig { seq_len: 256, cache_dir: dir.path().join("cache"), mix, ..Default::default() };
    let tokenizer = Tokenizer::from_file(tokenizer).unwrap();
    let dataset = open_with(&config, &tokenizer, 1).unwrap();
    let text = tokenizer.decode(&dataset.row(0).tokens).unwrap();
    assert!(!text.is_empty());
    for (stats, held_out) in dataset.sources().iter().zip(dataset.validation()) {
        let bytes: u32 = (0..held_out.rows()).flat_map(|number| held_out.row(number).target_bytes).sum();
        let share = f64::from(bytes) / stats.text_bytes.unwrap() as f64;
        assert!((0.005..0.02).contains(&share), "{}: {share}", stats.name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    /// For any weights, the first rows contain the fraction of each source, and every row has the right
    /// lengths.
    #[test]
    fn rows_are_well_formed(first in 0.01..10.0_f64, second in 0.01..10.0_f64, start in 0_u64..1 << 40) {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path(), [first, second], Packing::Rows, 0.05);
        let dataset = open(&config, 3, dir.path());
        for index in start..start + 20 {
            let row = dataset.row(index);
            prop_assert_eq!(row.tokens.len(), 33);
            prop_assert_eq!((row.target_mask.len(), row.documents.len()), (32, 32));
            prop_assert!(row.target_mask.iter().any(|&counts| counts));
        }
        let share = first / (first + second);
        let epochs = dataset.epochs(1 << 20);
        let rows = epochs[0] * dataset.sources()[0].rows as f64;
        prop_assert!((rows - share * f64::from(1 << 20)).abs() <= 1.5);
    }
}

/// Files of rows whose ids encode their chunk and line.
fn chunk_files(dir: &Path, rows: &[u32]) -> DataConfig {
    let path = dir.join("chunks");
    fs_err::create_dir(&path).unwrap();
    for (chunk, &rows) in (0..).zip(rows) {
        let line = |row: u32| format!("{{\"token_ids\": [{}, {}, 2, 7, 7]}}\n", 100 + chunk, 20 + row);
        let name = format!("train_{chunk:03}.jsonl");
        fs_err::write(path.join(name), (0..rows).map(line).collect::<String>()).unwrap();
    }
    let chunks = serde_json::json!({ "path": path, "count": rows.len() });
    let chunks = serde_json::from_value(chunks).unwrap();
    DataConfig { seq_len: 4, chunks: Some(chunks), cache_dir: dir.join("cache"), ..Default::default() }
}

#[test]
fn chunks_come_one_after_another_in_whole_batches() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = chunk_files(dir.path(), &[9, 4, 6, 11]);
    let chunks = config.chunks.as_mut().unwrap();
    chunks.skip = vec![1];
    chunks.replace = vec![crate::Replacement { chunk: 2, with: 0 }];
    fs_err::write(dir.path().join("chunks/valid_web.jsonl"), "{\"token_ids\": [9, 2, 9, 9, 9]}\n").unwrap();
    let dataset = open(&config, 3, dir.path());
    let spans: Vec<_> = dataset.chunks().iter().map(|chunk| (chunk.number, chunk.rows.clone())).collect();
    assert_eq!(spans, [(0, 0..8), (2, 8..16), (3, 16..24)]);
    let read: Vec<u32> = (0..24).map(|index| dataset.row(index).tokens[0]).collect();
    assert_eq!(read, [[100; 8], [100; 8], [103; 8]].concat());
    let lines =
        |rows: std::ops::Range<u64>| rows.map(|index| dataset.row(index).tokens[1]).collect::<Vec<_>>();
    assert_ne!(lines(0..8), lines(8..16), "the same rows in another order");
    for index in 0..24 {
        let (row, origin) = (dataset.row(index), dataset.origin(index));
        assert_eq!((u64::from(row.tokens[1] - 20), &row.target_mask[..]), (origin.row, &[true; 4][..]));
        assert_eq!(origin.source, format!("chunk {}", row.tokens[0] - 100));
        assert_eq!(origin.documents.len(), 2, "what ends with EOS, and what follows");
    }
    assert_eq!(dataset.validation()[0].row(0).row.tokens, [9, 2, 9, 9, 9]);
    assert_eq!(dataset.max_token_id().unwrap(), 103);
    let again = open(&config, 3, dir.path());
    assert_eq!((again.row(17), again.fingerprint()), (dataset.row(17), dataset.fingerprint()));
    let numpy = config.chunks.as_mut().unwrap();
    numpy.shuffle = crate::ChunkShuffle::Numpy;
    let numpy = open(&config, 3, dir.path());
    assert_ne!(numpy.fingerprint(), dataset.fingerprint());
    let order = fineline_random::numpy_permutation(3 + 3, 11);
    assert!((16..24).all(|index| numpy.origin(index).row == u64::from(order[index as usize - 16])));
}

#[test]
fn chunks_that_cannot_be_trained_on_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let config = chunk_files(dir.path(), &[4, 3]);
    let error = || {
        let error = open_with(&config, &tiny_tokenizer(dir.path()), 0).unwrap_err();
        error.to_string().replace(dir.path().to_str().unwrap(), "DIR")
    };
    let small = error();
    fs_err::write(dir.path().join("chunks/train_001.jsonl"), "\n").unwrap();
    let empty = error();
    fs_err::remove_file(dir.path().join("chunks/train_001.jsonl")).unwrap();
    let missing = error();
    let error =
        crate::Tokenizer::open(&TokenizerConfig::default(), &Corpus::find(&config).unwrap()).unwrap_err();
    let tokenizer = error.to_string().replace(dir.path().to_str().unwrap(), "DIR");
    insta::assert_snapshot!([small, empty, missing, tokenizer].join("\n"), @r"
    `DIR/chunks/train_001.jsonl`: has 3 rows, fewer than one batch (train.global_batch_size is 4), so none of them would be trained on; get the file again, list its number in `data.chunks.skip`, or lower `train.global_batch_size`
    `DIR/chunks/train_001.jsonl`: contains no rows; get the file again, or list its number in `data.chunks.skip`
    `DIR/chunks`: chunk 1 is missing; expected `train_001.jsonl` (or .jsonl.gz, .jsonl.zst); add the file, or list 1 in `data.chunks.skip`
    `tokenizer.path` is missing: source `DIR/chunks` contains token ids, from which no tokenizer can be trained; set it to the tokenizer that produced them
    ");
}

#[test]
fn chunks_are_made_of_a_mixture() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = config(dir.path(), [1.0, 1.0], Packing::Stream, 0.0);
    config.chunks =
        Some(serde_json::from_value(serde_json::json!({ "count": 5, "validation_rows": 2 })).unwrap());
    let dataset = open(&config, 3, dir.path());
    assert_eq!(dataset.chunks().len(), 5);
    let names: Vec<_> =
        dataset.validation().iter().map(|held_out| (held_out.name(), held_out.rows())).collect();
    assert_eq!(names, [("many", 2), ("one", 2)]);
    let last = dataset.chunks()[4].rows.end;
    assert_eq!(dataset.epochs(last).len(), 5);
    assert_eq!(open(&config, 3, dir.path()).fingerprint(), dataset.fingerprint());
}

/// The rows of a step are adjacent: step `b` of `B` rows reads the stream from `b B S` to `(b + 1) B S`, both
/// included, as in EasyLM.
#[test]
fn a_sequential_source_is_one_stream() {
    let dir = tempfile::tempdir().unwrap();
    let shuffled = config(dir.path(), [1.0, 1.0], Packing::Stream, 0.0);
    let mix = vec![shuffled.mix[0].clone()];
    let config = DataConfig { mix, order: RowOrder::Sequential, ..shuffled.clone() };
    let dataset = open(&config, 3, dir.path());
    let stats = &dataset.sources()[0];
    let mut stream = Vec::new();
    dataset.parts.sources[0].tokens.copy(0..stats.tokens, &mut stream);
    assert_eq!(stream[0], 1);
    for index in 0..2 * stats.rows {
        let start = (index % stats.rows) as usize * 32;
        let row = dataset.row(index);
        assert_eq!(row.tokens, stream[start..start + 33]);
        assert!(row.target_mask.iter().zip(&row.tokens[1..]).all(|(&counts, &id)| counts == (id != 1)));
        assert_eq!(dataset.origin(index).epoch, index / stats.rows);
        let started = dataset.epochs_started(index..index + 1);
        assert_eq!(!started.is_empty(), index == stats.rows, "the first epoch begins silently");
    }
    assert_eq!(dataset.epochs_started(stats.rows - 1..stats.rows + 3), [("many".to_owned(), 1)]);
    let other = DataConfig { order: RowOrder::Shuffled, ..config };
    assert_ne!(open(&other, 3, dir.path()).fingerprint(), dataset.fingerprint());
}

/// Fingerprints and cache names as they were when first released. Runs and caches that exist depend on them.
#[test]
fn fingerprints_and_cache_names_are_stable() {
    let dir = tempfile::tempdir().unwrap();
    let names = |cache: &Path, suffix: &str| {
        let entries = fs_err::read_dir(cache).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.ends_with(suffix)).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    };
    let mixture = config(dir.path(), [0.7, 0.3], Packing::Stream, 0.1);
    let fingerprint = |config: &DataConfig, seed| open(config, seed, dir.path()).fingerprint().to_owned();
    assert_eq!(fingerprint(&mixture, 5), "1514309b18c62c2d65a10ae5d2a94166d6bc0e3e35ebeb727c89b576198abeb2");
    assert_eq!(names(&mixture.cache_dir, ".idx"), ["many-57f63c02f0e08c5f.idx", "one-e13f74e8760cf6f6.idx"]);
    let sequential = DataConfig { order: RowOrder::Sequential, packing: Packing::Rows, ..mixture.clone() };
    assert_eq!(
        fingerprint(&sequential, 5),
        "8d77941c2d8bf29522e59d677e857761f19f156b16e86a4fee006c10fc27af4f"
    );
    let chunks = serde_json::from_value(serde_json::json!({ "count": 5, "validation_rows": 2 })).unwrap();
    let chunked =
        DataConfig { cache_dir: dir.path().join("chunks"), chunks: Some(chunks), ..mixture.clone() };
    assert_eq!(fingerprint(&chunked, 3), "0b5e3388fb141c3112b4389f052cb46fbbb6c6a7500d48f5429afa14e2c4bb99");
    assert_eq!(names(&chunked.cache_dir, "3a57c"), ["chunks-b9dcbb6e13a3a57c"]);
    assert_eq!(names(&chunked.cache_dir, "65.idx"), ["chunk-train_000-a6446bcf6fb2d365.idx"]);
    let trained = TokenizerConfig { train_vocab_size: 300, ..TokenizerConfig::default() };
    let tokenizer = Tokenizer::open(&trained, &Corpus::find(&mixture).unwrap()).unwrap();
    assert_eq!(tokenizer.fingerprint(), "05d1d4c03776eec10f0a703bf121dbea8dd5afbb3fc5622ed6c8952eac7d6277");
    assert!(tokenizer.path().ends_with("tokenizer-920a6dae38eea4f3/tokenizer.json"));
}
