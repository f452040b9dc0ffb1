use fineline_data::*;
use std::time::Instant;
fn main() {
    let m = "/work/shared/materials";
    let out = std::path::Path::new("/tmp/scratch-data");
    let s = |name: &str, path: String| SourceConfig {
        name: name.into(),
        path,
        field: "text".into(),
        weight: 1.0,
    };
    let big = std::env::args().nth(1);
    let mut mix = vec![
        s("shakespeare", format!("{m}/corpora/tinyshakespeare.txt")),
        s("docs", format!("{m}/corpora/python-docs-rst.txt.gz")),
        s("war", format!("{m}/corpora/war-and-peace.txt")),
        s("ja", format!("{m}/corpora/wagahaiwa_nekodearu.ja.txt")),
        s("arxiv", format!("{m}/corpora/arxiv_sample.jsonl")),
    ];
    if let Some(big) = big {
        mix = vec![s("big", big)];
    }
    let data = DataConfig { mix, cache: out.into(), seq_len: 1024, ..Default::default() };
    let t = Instant::now();
    let tk =
        Tokenizer::open(&TokenizerConfig { train_vocab_size: 4096, ..Default::default() }, &data).unwrap();
    println!("train {:?} {}", t.elapsed(), tk.path().display());
    for f in [
        "",
        "llama2-spm/tokenizer.json",
        "mistral/tokenizer_v1.json",
        "gpt-neox/allenai_eleuther-ai-gpt-neox-20b-pii-special.json",
        "gpt2/tokenizer.json",
    ] {
        let t = Instant::now();
        let tk = if f.is_empty() {
            tk.clone()
        } else {
            Tokenizer::from_file(format!("{m}/tokenizers/{f}")).unwrap()
        };
        println!("load {f} {:?}", t.elapsed());
        let t = Instant::now();
        let d = Dataset::open(&data, &tk, 1, &mut |_| ()).unwrap();
        let s = d.sources();
        let bytes: u64 = s.iter().map(|s| s.text_bytes.unwrap()).sum();
        println!(
            "open {:?} = {:.2} MB/s, tokens {}",
            t.elapsed(),
            bytes as f64 / 1e6 / t.elapsed().as_secs_f64(),
            s.iter().map(|s| s.tokens).sum::<u64>()
        );
        for (v, s) in d.validation().iter().zip(&s) {
            let b: u64 = (0..v.rows()).map(|i| v.row(i).target_bytes).sum();
            println!(
                "  {} val bytes {b} ({:.4}) val tokens {:.4} rows {} docs {}",
                v.name(),
                b as f64 / s.text_bytes.unwrap() as f64,
                s.validation_tokens as f64 / s.tokens as f64,
                v.rows(),
                s.documents
            );
        }
        let t = Instant::now();
        let d2 = Dataset::open(&data, &tk, 1, &mut |_| ()).unwrap();
        println!("reopen {:?}", t.elapsed());
        let t = Instant::now();
        let n = (0..20000).map(|i| d2.row(i).tokens[5] as u64).sum::<u64>();
        println!("row {:?} ({n})", t.elapsed() / 20000);
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    println!("{}", status.lines().find(|l| l.starts_with("VmHWM")).unwrap());
}
