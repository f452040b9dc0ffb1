//! Downloading data sets from a local hub, and evaluating tasks on them.

use crate::server::Server;
use crate::support::{Finished, Workplace};

const RECORDS: &str =
    "{\"q\":\"One\",\"a\":\"two\"}\n{\"q\":\"Red\",\"a\":\"blue\"}\n{\"q\":\"No\",\"a\":\"yes\"}\n";

fn fetch(place: &Workplace, server: &Server, arguments: &[&str]) -> Finished {
    let mut all = vec!["data", "fetch", "--out", "data"];
    all.extend(arguments);
    let mut command = place.command(&all);
    command.env("HF_ENDPOINT", &server.endpoint).env_remove("HF_TOKEN").env_remove("HF_HUB_OFFLINE");
    Finished::of(&mut command)
}

#[test]
fn data_of_a_suite_is_fetched_and_found() {
    let place = Workplace::new();
    let server = Server::start(&[("words/test.jsonl", RECORDS), ("words/train.jsonl", RECORDS)]);
    let task = "name = \"words\"\ndomain = \"d\"\nkind = \"greedy_match\"\ndata = \"elsewhere.jsonl\"\n\
               context = \"{{q}}\"\nchoices = [\"{{a}}\"]\n";
    place.write(
        "probes/words.toml",
        &format!("{task}[hub]\nrepo = \"org/data\"\nconfig = \"words\"\nsplit = \"test\"\n"),
    );
    place.write("probes/here.toml", &task.replace("\"words\"", "\"here\"").replace("elsewhere", "here"));
    place.write("probes/here.jsonl", RECORDS);
    place.write("probes/suite.toml", "tasks = [\"words.toml\", \"here.toml\"]");
    let fetched = fetch(&place, &server, &["--suite", "probes/suite.toml"]).success();
    assert_eq!(fetched.stdout(), "org/data words/test at c0ffeec0: 66 bytes, downloaded\n");
    let said = fetched.stderr();
    assert!(said.contains("not on the Hub in a format that these tasks can read: here"), "{said}");
    assert!(!place.path("data/org__data/words/train.jsonl").exists());
    let again = fetch(&place, &server, &["--suite", "probes/suite.toml"]).success();
    assert!(again.stdout().ends_with("up to date\n"), "{}", again.stdout());

    place.train(&["probes=[]"]);
    let probe = ["probe", "run", "--suite", "probes/suite.toml", "--data-dir", "data"];
    let shown = place.run(&probe).success().stdout();
    assert!(shown.contains("- words|") && shown.contains("95 % interval"), "{shown}");
    let shown = place.run(&[&probe[..], &["--format", "lm-eval"]].concat()).success().stdout();
    assert!(shown.starts_with("| Tasks  |") && !shown.contains("95 %"), "{shown}");
}

#[test]
fn one_data_set_is_fetched_by_its_name() {
    let place = Workplace::new();
    let server = Server::start(&[("words/test.jsonl", RECORDS), ("other/test.jsonl", RECORDS)]);
    fetch(&place, &server, &["org/data", "--config", "words", "--split", "test"]).success();
    assert_eq!(fs_err::read_to_string(place.path("data/org__data/words/test.jsonl")).unwrap(), RECORDS);
    for (arguments, expected) in [
        (&["org/data"][..], "org/data: several configurations; select one of other, words"),
        (&["org/data", "--config", "word"], "did you mean `words`?"),
        (&["no name"], "`no name` isn't a valid repository name"),
        (&["--suite", "tinyworld"], "no task of `tinyworld` says where on the Hub its data is"),
    ] {
        let text = fetch(&place, &server, arguments).fails_with(2).stderr();
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn released_weights_are_fetched_by_their_address() {
    let place = Workplace::new();
    let server =
        Server::start(&[("config.json", "{}"), ("model.safetensors", "weights"), ("README.md", "# M")]);
    let fetch = |arguments: &[&str]| {
        let mut command = place.command(&[&["weights", "fetch"], arguments].concat());
        command.env("HF_ENDPOINT", &server.endpoint).env_remove("HF_TOKEN").env_remove("HF_HUB_OFFLINE");
        Finished::of(&mut command)
    };
    let shown = fetch(&["hf://org/data@ckpt_1", "hf://org/data"]).success().stdout();
    assert_eq!(
        shown,
        "models/org__data/ckpt_1: org/data at c0ffeec0, 2 files, 9 bytes, downloaded\n\
         models/org__data/main: org/data at c0ffeec0, 2 files, 9 bytes, downloaded\n"
    );
    let object: serde_json::Value =
        serde_json::from_str(&fetch(&["hf://org/data", "--json"]).success().stdout()).unwrap();
    assert_eq!(object["models"][0]["outcome"], "up to date");
    assert_eq!(object["models"][0]["model"]["files"][1]["path"], "model.safetensors");
    for (address, expected) in [
        ("hf://org/data@ckpt_2", "org/data: no revision `ckpt_2`"),
        ("hf://org/data@../x", "`hf://org/data@../x` isn't a valid repository name"),
    ] {
        let text = fetch(&[address]).fails_with(2).stderr();
        assert!(text.contains(expected), "{text}");
    }
}
