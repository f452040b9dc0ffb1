use fineline_data::*;
fn cpu() -> f64 {
    let s = std::fs::read_to_string("/proc/self/stat").unwrap();
    let f: Vec<&str> = s.rsplit(')').next().unwrap().split_whitespace().collect();
    (f[11].parse::<f64>().unwrap() + f[12].parse::<f64>().unwrap()) / 100.0
}
fn main() {
    let m = "/work/shared/materials";
    let text = std::fs::read_to_string(format!("{m}/corpora/war-and-peace.txt")).unwrap();
    for f in [
        "llama2-spm/tokenizer.json",
        "gpt-neox/allenai_eleuther-ai-gpt-neox-20b-pii-special.json",
        "gpt2/tokenizer.json",
    ] {
        let tk = Tokenizer::from_file(format!("{m}/tokenizers/{f}")).unwrap();
        let t = cpu();
        let n = tk.encode(&text).unwrap().len();
        println!("{f} whole: {:.2} MB/s of cpu, {n}", text.len() as f64 / 1e6 / (cpu() - t));
        for size in [1000, 10000, 100000] {
            let t = cpu();
            let mut n = 0;
            let mut part = String::new();
            for line in text.split_inclusive('\n') {
                part.push_str(line);
                if part.len() > size {
                    n += tk.encode(&part).unwrap().len();
                    part.clear();
                }
            }
            println!("{f} {size}: {:.2} MB/s of cpu, {n}", text.len() as f64 / 1e6 / (cpu() - t));
        }
    }
}
