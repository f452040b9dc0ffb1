//! Fetching from a local hub that simulates failures of networks and servers.

mod model;
mod server;

use std::path::Path;
use std::time::Duration;

use fineline_hub::{
    Access, DatasetRequest, FetchOutcome, FetchedDataset, Hub, HubConfig, HubError, Repository, fetch_dataset,
};
use fs_err as fs;
use server::{Kind, Server};

const LINES: &str = "{\"q\":1}\n{\"q\":2}\n{\"q\":3}\n";

pub(crate) fn config(server: &Server) -> HubConfig {
    HubConfig { first_wait: Duration::from_millis(1), attempts: 3, ..HubConfig::at(&server.endpoint) }
}

fn request() -> DatasetRequest {
    let repository = Repository::dataset("org/data").expect("a name");
    DatasetRequest { repository, config: None, split: None, revision: None }
}

fn split(name: &str) -> DatasetRequest {
    DatasetRequest { split: Some(name.to_owned()), ..request() }
}

fn fetch_with(config: HubConfig, request: &DatasetRequest, out: &Path) -> Result<FetchedDataset, HubError> {
    fetch_dataset(&Hub::new(config), request, out, &mut |_, _, _| ())
}

fn fetch(server: &Server, request: &DatasetRequest, out: &Path) -> Result<FetchedDataset, HubError> {
    fetch_with(config(server), request, out)
}

fn outcomes(fetched: &FetchedDataset) -> Vec<(&str, FetchOutcome)> {
    fetched.splits.iter().map(|(split, outcome)| (split.split.as_str(), *outcome)).collect()
}

/// Files below a directory, without the lock.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() {
            names.extend(self::names(&path).into_iter().map(|below| format!("{name}/{below}")));
        } else if name != ".lock" {
            names.push(name);
        }
    }
    names.sort();
    names
}

#[test]
fn splits_are_laid_out_and_fetched_once() {
    let server = Server::start(&[
        ("README.md", "# A data set"),
        ("main/test-00000-of-00001.parquet", "PARQUET"),
        ("main/train-00000-of-00002.parquet", "one"),
        ("main/train-00001-of-00002.parquet", "two"),
        ("main/validation.jsonl", LINES),
    ]);
    let out = tempfile::tempdir().expect("a directory");
    let fetched = fetch(&server, &request(), out.path()).expect("a data set");
    assert_eq!(
        outcomes(&fetched),
        [
            ("test", FetchOutcome::Fetched),
            ("train", FetchOutcome::Fetched),
            ("validation", FetchOutcome::Fetched)
        ]
    );
    let directory = out.path().join("org__data");
    assert_eq!(
        names(&directory),
        [
            "fetched.json",
            "main/test.parquet",
            "main/train/00000.parquet",
            "main/train/00001.parquet",
            "main/validation.jsonl"
        ]
    );
    assert_eq!(fs::read_to_string(directory.join("main/validation.jsonl")).expect("a file"), LINES);
    let record: serde_json::Value =
        serde_json::from_slice(&fs::read(directory.join("fetched.json")).expect("a record")).expect("JSON");
    assert_eq!(record["repository"], "org/data");
    assert_eq!(record["splits"][0]["commit"], "c0ffee".repeat(6));
    assert_eq!(record["splits"][1]["files"][1]["from"], "main/train-00001-of-00002.parquet");
    assert_eq!(record["splits"][2]["files"][0]["size"], LINES.len());

    server.log();
    // A new commit with the same content doesn't cause a download. Missing files do.
    server.set_commit(&"decade".repeat(6));
    fs::remove_file(directory.join("main/test.parquet")).expect("it was there");
    let again = fetch(&server, &request(), out.path()).expect("a data set");
    assert_eq!(
        outcomes(&again),
        [
            ("test", FetchOutcome::Fetched),
            ("train", FetchOutcome::UpToDate),
            ("validation", FetchOutcome::UpToDate)
        ]
    );
    assert!(!server.log().iter().any(|path| path.contains("train") || path.contains("validation")));

    server.put(&[("main/validation.jsonl", "{\"q\":4}\n")]);
    server.remove("main/train-00001-of-00002.parquet");
    let again = fetch(&server, &request(), out.path()).expect("a data set");
    assert_eq!(
        outcomes(&again),
        [
            ("test", FetchOutcome::UpToDate),
            ("train", FetchOutcome::Fetched),
            ("validation", FetchOutcome::Fetched)
        ]
    );
    assert_eq!(
        names(&directory),
        ["fetched.json", "main/test.parquet", "main/train.parquet", "main/validation.jsonl"]
    );
}

#[test]
fn a_broken_download_resumes() {
    let server = Server::start(&[("test-00000-of-00001.parquet", LINES)]);
    for bytes in [5, 7, 3, 2] {
        server.trouble("/elsewhere", Kind::Break(bytes));
    }
    let out = tempfile::tempdir().expect("a directory");
    // Four interruptions and three attempts: each attempt made progress.
    fetch(&server, &split("test"), out.path()).expect("a split");
    let file = out.path().join("org__data/default/test.parquet");
    assert_eq!(fs::read_to_string(file).expect("a file"), LINES);
    let ranges: Vec<String> = server
        .log()
        .iter()
        .filter_map(|line| Some(line.strip_prefix("/elsewhere")?.split_once(' ')?.1.to_owned()))
        .collect();
    assert_eq!(ranges, ["bytes=5-", "bytes=12-", "bytes=15-", "bytes=17-"]);
}

#[test]
fn a_partial_file_of_a_killed_download_is_continued() {
    let server = Server::start(&[("test.jsonl", LINES)]);
    let out = tempfile::tempdir().expect("a directory");
    server.trouble("resolve", Kind::Break(10));
    server.trouble("resolve", Kind::Break(0));
    let once = HubConfig { attempts: 1, ..config(&server) };
    let error = fetch_with(once.clone(), &split("test"), out.path()).expect_err("it broke").to_string();
    assert!(error.contains("test.jsonl") && error.contains("(attempt 1)"), "{error}");
    server.log();
    fetch_with(once, &split("test"), out.path()).expect("a split");
    let log = server.log();
    assert!(log.iter().any(|line| line.ends_with("test.jsonl bytes=10-")), "{log:?}");
    assert_eq!(names(&out.path().join("org__data")), ["default/test.jsonl", "fetched.json"]);
}

#[test]
fn a_server_without_ranges_restarts_the_download() {
    let server = Server::start(&[("test.jsonl", LINES)]);
    server.trouble("test.jsonl", Kind::Break(9));
    server.trouble("test.jsonl", Kind::WholeFile);
    let out = tempfile::tempdir().expect("a directory");
    fetch(&server, &split("test"), out.path()).expect("a split");
    let file = out.path().join("org__data/default/test.jsonl");
    assert_eq!(fs::read_to_string(file).expect("a file"), LINES);
}

#[test]
fn files_that_differ_from_the_listing_are_not_kept() {
    let server = Server::start(&[("test.jsonl", LINES), ("train.parquet", LINES)]);
    let out = tempfile::tempdir().expect("a directory");
    for (name, kind, expected) in [
        ("test", Kind::Short(4), "expected 24 bytes, found 20"),
        ("test", Kind::Flip, "expected hash"),
        ("train", Kind::Flip, "expected hash"),
    ] {
        server.trouble(if name == "test" { "test.jsonl" } else { "/elsewhere" }, kind);
        let error = fetch(&server, &split(name), out.path()).expect_err("it is wrong").to_string();
        assert!(error.contains(expected) && error.contains(name), "{error}");
        assert!(names(&out.path().join("org__data")).is_empty());
    }
    fetch(&server, &split("test"), out.path()).expect("now it is right");
}

#[test]
fn requested_delays_are_respected() {
    let server = Server::start(&[("test.jsonl", LINES)]);
    server.trouble("/api/", Kind::Status(429, "Retry-After: 0"));
    server.trouble("test.jsonl", Kind::Status(503, ""));
    let out = tempfile::tempdir().expect("a directory");
    fetch(&server, &split("test"), out.path()).expect("retries succeed");
    assert_eq!(server.log().iter().filter(|line| line.contains("/api/")).count(), 2);

    server.trouble("/api/", Kind::Status(429, "Retry-After: 86400"));
    let error = fetch(&server, &split("test"), out.path()).expect_err("the delay is too long").to_string();
    assert!(error.contains("too many requests; the hub requests a delay of 86400 s"), "{error}");

    for _ in 0..3 {
        server.trouble("/api/", Kind::Status(500, ""));
    }
    let error = fetch(&server, &split("test"), out.path()).expect_err("every attempt fails").to_string();
    assert!(error.contains("the hub responded with status 500 (attempt 3)"), "{error}");
}

#[test]
fn missing_data_sets_and_splits_are_reported() {
    let server = Server::start(&[("test.jsonl", LINES)]);
    let out = tempfile::tempdir().expect("a directory");
    let refused = |request: DatasetRequest| {
        fetch(&server, &request, out.path()).expect_err("it is missing").to_string()
    };
    let revision = DatasetRequest { revision: Some("v9".into()), ..request() };
    assert_eq!(refused(revision), "org/data: no revision `v9`");
    let repository = Repository::dataset("org/other").expect("a name");
    let error = refused(DatasetRequest { repository, ..request() });
    assert!(
        error.ends_with(
            "no repository org/other, or it isn't visible without a token; set HF_TOKEN if it is private"
        ),
        "{error}"
    );
    let error = refused(DatasetRequest { config: Some("main".into()), ..request() });
    assert_eq!(error, "org/data: no configuration `main`, expected one of default");
    assert_eq!(
        refused(split("tost")),
        "org/data, configuration `default`: no split `tost` (did you mean `test`?), expected one of test"
    );
}

#[test]
fn a_token_gives_access_to_gated_data() {
    let server = Server::start(&[("test.jsonl", LINES)]);
    server.gate("hf_abc");
    let out = tempfile::tempdir().expect("a directory");
    let error = fetch(&server, &request(), out.path()).expect_err("it is closed").to_string();
    assert!(
        error.contains("accepting its terms at http://127.0.0.1:") && error.ends_with("; then set HF_TOKEN"),
        "{error}"
    );
    let known = HubConfig { token: Some("hf_abc".into()), ..config(&server) };
    fetch_with(known, &request(), out.path()).expect("it is open");
}

#[test]
fn offline_mode_uses_local_files() {
    let server = Server::start(&[("test.jsonl", LINES), ("train.jsonl", LINES)]);
    let out = tempfile::tempdir().expect("a directory");
    fetch(&server, &split("test"), out.path()).expect("a split");
    server.log();
    let offline = HubConfig { access: Access::Offline, ..config(&server) };
    let kept = fetch_with(offline.clone(), &split("test"), out.path()).expect("it is here");
    assert_eq!(outcomes(&kept), [("test", FetchOutcome::UpToDate)]);
    let error = fetch_with(offline, &split("train"), out.path()).expect_err("it isn't").to_string();
    assert_eq!(error, "org/data at `main`: not on disk, and HF_HUB_OFFLINE disables downloads; unset it");
    let commit = Some("c0ffee".repeat(6));
    let fixed = DatasetRequest { revision: commit, ..split("test") };
    fetch(&server, &fixed, out.path()).expect("a commit never changes");
    assert!(server.log().is_empty(), "no requests are sent");
}

#[test]
fn script_data_sets_are_read_from_the_parquet_conversion() {
    let server = Server::start(&[("data.py", "...")]);
    let out = tempfile::tempdir().expect("a directory");
    let error = fetch(&server, &request(), out.path()).expect_err("no readable files").to_string();
    assert!(error.ends_with("; its records are defined by a script, which isn't supported"), "{error}");
    server.put_converted("default/validation/0000.parquet", "PARQUET");
    let fetched = fetch(&server, &request(), out.path()).expect("a data set");
    assert_eq!(fetched.splits[0].0.revision, "refs/convert/parquet");
    assert!(out.path().join("org__data/default/validation.parquet").is_file());
}
