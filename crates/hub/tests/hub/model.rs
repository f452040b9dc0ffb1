//! Fetching models from a hub that simulates failures.

use std::path::{Path, PathBuf};

use fineline_hub::{
    Access, FetchOutcome, FetchedModel, Hub, HubConfig, HubError, ModelAddress, ModelCheck, fetch_model,
    find_model,
};
use fs_err as fs;

use crate::server::{Kind, Server};
use crate::{config, names};

const FILES: &[(&str, &str)] = &[
    ("README.md", "# A model"),
    ("config.json", "{}"),
    ("eval_arc.json", "{}"),
    ("pytorch_model-00001-of-00002.bin", "one half of the weights"),
    ("pytorch_model-00002-of-00002.bin", "the other half"),
    ("pytorch_model.bin.index.json", "{\"weight_map\": {}}"),
    ("tokenizer.model", "pieces"),
];

fn address() -> ModelAddress {
    "hf://org/data@ckpt_1".parse().expect("an address")
}

fn fetch_with(config: HubConfig, models: &Path) -> Result<(PathBuf, FetchedModel, FetchOutcome), HubError> {
    fetch_model(&Hub::new(config), &address(), models, ModelCheck::BySize, &mut |_, _, _| ())
}

#[test]
fn a_model_is_downloaded_once_and_found_without_requests() {
    let server = Server::start(FILES);
    let models = tempfile::tempdir().expect("a directory");
    let missing = find_model(&address(), models.path()).expect_err("the model is missing").to_string();
    assert!(missing.contains("hf://org/data@ckpt_1: not in"), "{missing}");
    assert!(missing.contains("fineline weights fetch hf://org/data@ckpt_1 --out"), "{missing}");

    let (directory, fetched, outcome) = fetch_with(config(&server), models.path()).expect("a model");
    assert_eq!(
        (directory.as_path(), outcome),
        (models.path().join("org__data/ckpt_1").as_path(), FetchOutcome::Fetched)
    );
    let wanted =
        FILES.iter().map(|(name, _)| *name).filter(|name| !["README.md", "eval_arc.json"].contains(name));
    let mut expected: Vec<&str> = wanted.chain(["fetched.json"]).collect();
    expected.sort_unstable();
    assert_eq!(names(&directory), expected);
    assert_eq!((fetched.commit, fetched.revision.as_str()), ("c0ffee".repeat(6), "ckpt_1"));

    server.log();
    let (_, _, outcome) = fetch_with(config(&server), models.path()).expect("a model");
    assert_eq!(outcome, FetchOutcome::UpToDate);
    assert_eq!(server.log().len(), 1, "only the listing is requested");
    let offline = HubConfig { access: Access::Offline, ..config(&server) };
    fetch_with(offline, models.path()).expect("the model is present");
    find_model(&address(), models.path()).expect("the model is present");
    assert!(server.log().is_empty(), "no requests are sent");

    server.put(&[("pytorch_model-00002-of-00002.bin", "better weights")]);
    server.set_commit(&"decade".repeat(6));
    let (directory, fetched, outcome) = fetch_with(config(&server), models.path()).expect("a model");
    assert_eq!((outcome, fetched.commit), (FetchOutcome::Fetched, "decade".repeat(6)));
    let log = server.log();
    assert!(!log.iter().any(|path| path.contains("elsewhere") && path.contains("00001-of-00002")), "{log:?}");
    let text = fs::read_to_string(directory.join("pytorch_model-00002-of-00002.bin")).expect("a file");
    assert_eq!(text, "better weights");
}

#[test]
fn a_partial_model_is_not_found_and_its_download_resumes() {
    let server = Server::start(FILES);
    let models = tempfile::tempdir().expect("a directory");
    server.trouble("00002-of-00002.bin", Kind::Status(429, "Retry-After: 0"));
    server.trouble("/elsewhere", Kind::Break(8));
    server.trouble("/elsewhere", Kind::Break(0));
    let once = HubConfig { attempts: 1, ..config(&server) };
    let error = fetch_with(once, models.path()).expect_err("the connection breaks").to_string();
    assert!(error.contains("00001-of-00002.bin"), "{error}");
    assert!(matches!(find_model(&address(), models.path()), Err(HubError::NotFetched { .. })));
    server.log();
    fetch_with(config(&server), models.path()).expect("a model");
    let log = server.log();
    assert!(log.iter().any(|line| line.ends_with("00001-of-00002.bin bytes=8-")), "{log:?}");

    let cut = models.path().join("org__data/ckpt_1/pytorch_model-00001-of-00002.bin");
    fs::write(&cut, "one").expect("a file");
    assert!(matches!(find_model(&address(), models.path()), Err(HubError::NotFetched { .. })));
    let (_, _, outcome) = fetch_with(config(&server), models.path()).expect("a model");
    assert_eq!(outcome, FetchOutcome::Fetched);
    assert_eq!(fs::read_to_string(cut).expect("a file"), "one half of the weights");
}

#[test]
fn invalid_models_are_reported() {
    let server = Server::start(&[("config.json", "{}"), ("tf_model.h5", "...")]);
    let models = tempfile::tempdir().expect("a directory");
    let error = fetch_with(config(&server), models.path()).expect_err("no weights").to_string();
    assert!(error.contains("no weights at the top level"), "{error}");
    let elsewhere: ModelAddress = "hf://org/data@ckpt_2".parse().expect("an address");
    let hub = Hub::new(config(&server));
    let error = fetch_model(&hub, &elsewhere, models.path(), ModelCheck::BySize, &mut |_, _, _| ())
        .expect_err("no such revision");
    assert_eq!(error.to_string(), "org/data: no revision `ckpt_2`");
    let server = Server::start(FILES);
    server.trouble("/elsewhere", Kind::Short(3));
    let error = fetch_with(config(&server), models.path()).expect_err("too short").to_string();
    assert!(error.contains("expected 23 bytes, found 20"), "{error}");
}

#[test]
fn changed_content_is_found_on_request() {
    let server = Server::start(FILES);
    let models = tempfile::tempdir().expect("a directory");
    let (directory, _, _) = fetch_with(config(&server), models.path()).expect("a model");
    let verified = || {
        let hub = Hub::new(config(&server));
        fetch_model(&hub, &address(), models.path(), ModelCheck::ByContent, &mut |_, _, _| ())
            .expect("a model")
            .2
    };
    assert_eq!(verified(), FetchOutcome::UpToDate);
    let half = directory.join("pytorch_model-00001-of-00002.bin");
    fs::write(&half, "one half of the Weights").expect("a file");
    assert_eq!(
        fetch_with(config(&server), models.path()).expect("a model").2,
        FetchOutcome::UpToDate,
        "the size is correct"
    );
    assert_eq!(verified(), FetchOutcome::Fetched);
    assert_eq!(fs::read_to_string(half).expect("a file"), "one half of the weights");
}

#[test]
fn a_gated_file_is_reported_with_how_to_get_access() {
    let server = Server::start(FILES);
    let models = tempfile::tempdir().expect("a directory");
    server.trouble("00001-of-00002.bin", Kind::Status(401, ""));
    let error = fetch_with(config(&server), models.path()).expect_err("the file is gated").to_string();
    assert!(error.contains("set HF_TOKEN if it is private"), "{error}");
}
