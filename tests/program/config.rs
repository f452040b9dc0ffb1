//! Configurations: resolved, explained, compared.

use crate::support::Workplace;

#[test]
fn show_tells_where_each_value_came_from() {
    let place = Workplace::new();
    place.write("child.toml", "extends = [\"tiny.toml\"]\n\n[optim]\nlr = 0.5\n");
    let shown = place.run(&["config", "show", "child.toml", "--set", "run.seed=9"]).success().stdout();
    let line = |start: &str| shown.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
    assert!(line("lr = 0.5").ends_with("# child.toml:4"), "{shown}");
    assert!(line("seed = 9").ends_with("# --set"), "{shown}");
    assert!(line("hidden_size = 32").contains("# tiny.toml:"), "{shown}");
    assert!(line("eps = ").ends_with("# default"), "{shown}");
}

#[test]
fn what_show_prints_resolves_to_itself() {
    let place = Workplace::new();
    let shown = place.run(&["config", "show", "tiny.toml"]).success().stdout();
    place.write("again.toml", &shown);
    assert_eq!(place.run(&["config", "diff", "tiny.toml", "again.toml"]).success().stdout(), "");
    let hash = |file| place.run(&["config", "show", file, "--json"]).success().json()["hash"].clone();
    assert_eq!(hash("tiny.toml"), hash("again.toml"));
}

#[test]
fn diff_shows_both_values() {
    let place = Workplace::new();
    place.write(
        "other.toml",
        "extends = [\"tiny.toml\"]\n[train]\nsteps = 99\n[checkpoint]\nkeep_every = 10\n",
    );
    let diff = place.run(&["config", "diff", "tiny.toml", "other.toml"]).success().stdout();
    insta::assert_snapshot!(diff, @r"
    + checkpoint.keep_every = 10
    - train.steps = 12
    + train.steps = 99
    ");
}

#[test]
fn a_preset_lies_beneath_what_the_section_says() {
    let place = Workplace::new();
    place.write(
        "big.toml",
        "[run]\nname = \"big\"\ndir = \"big\"\n[model]\npreset = \"llama-7b\"\nvocab_size = 50000\n\
         [data]\nseq_len = 2048\n[[data.mix]]\nname = \"a\"\npath = \"a\"\n[train]\ntokens = \"1T\"\n\
             global_batch_size = 2048\nmicro_batch_size = 1\n",
    );
    let shown = place.run(&["config", "show", "big.toml", "--json"]).success().json();
    assert_eq!(shown["config"]["model"]["hidden_size"], 4096);
    assert_eq!(shown["config"]["model"]["vocab_size"], 50000);
    assert_eq!(shown["origins"]["model.hidden_size"], "preset llama-7b");
    let plan = place.run(&["plan", "big.toml", "--json", "--memory", "80"]).success().json();
    assert_eq!(plan["steps"], 1_000_000_000_000_u64 / (2048 * 2048));
    assert_eq!(plan["fits"], false);
    assert_eq!(plan["days"], serde_json::Value::Null, "no speed was stated");
}

#[test]
fn shipped_configurations_are_good() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut seen = 0;
    for entry in fs_err::read_dir(root.join("configs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            Workplace::new().run(&["config", "show", path.to_str().unwrap()]).success();
            seen += 1;
        }
    }
    assert!(seen >= 2);
}

/// Nobody wants questions about a world that the corpus doesn't tell of.
#[test]
fn a_corpus_of_ones_own_is_not_asked_about_the_generated_world() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let config = root.join("configs/local-text.toml");
    let shown =
        Workplace::new().run(&["config", "show", config.to_str().unwrap(), "--json"]).success().json();
    assert_eq!(shown["config"].get("probes"), None, "{}", shown["config"]);
    assert_eq!(shown["config"]["validation"]["every_steps"], 200, "the rest is inherited");
}
