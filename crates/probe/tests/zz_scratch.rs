#![allow(missing_docs, clippy::unwrap_used, clippy::disallowed_methods)]
use burn::tensor::Device;
use fineline_data::Tokenizer;
use fineline_model::load;
use fineline_probe::*;
use std::path::PathBuf;
#[test]
fn scratch() {
    let m = PathBuf::from("/work/shared/materials");
    let catalog = Catalog { folders: vec!["/work/main/configs/probes".into()], data: vec![m.join("eval")], ..Catalog::default() };
    let tokenizer = Tokenizer::from_file(m.join("tokenizers/stories260k/tokenizer.json")).unwrap();
    let model = load(&m.join("models/stories260K/hf"), &Device::flex()).unwrap();
    let max_len = model.config().max_position_embeddings;
    let options = SuiteOptions { tokenizer: &tokenizer, max_len, items: Some(100), tasks: &[] };
    let start = std::time::Instant::now();
    let suite = Suite::load(&catalog, "benchmarks", options).unwrap();
    eprintln!("load {:?} bos {:?} max_len {max_len}", start.elapsed(), tokenizer.marks());
    let results = suite.run(&model, &|| false).unwrap();
    let rows: Vec<ItemRow> = results.iter().flat_map(|r| r.items.clone()).collect();
    write_items(&PathBuf::from("/tmp/probe-dev/items.parquet"), &rows).unwrap();
    let mut history = History::new();
    let lines: Vec<_> = results.iter().map(|r| history.record(0, 0, r)).collect();
    std::fs::write("/tmp/probe-dev/probes.json", serde_json::to_string_pretty(&lines).unwrap()).unwrap();
    for r in &results {
        eprintln!("{} n {} {:.2}s rows {} truncated {}", r.task, r.n, r.seconds, r.items.len(), r.truncated);
    }
}
