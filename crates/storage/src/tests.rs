//! Tests against a directory: the same code paths as with a cloud store, except for its client.

use std::path::Path;
use std::time::Duration;

use fineline_layout::{MANIFEST_FILE, step_name};

use super::*;

const SOON: Duration = Duration::from_secs(20);

/// Creates a run directory with a checkpoint of each of these steps.
fn run(root: &Path, steps: &[u64]) {
    fs_err::create_dir_all(root.join("items")).unwrap();
    fs_err::write(root.join("run.json"), "{}\n").unwrap();
    fs_err::write(root.join("metrics.jsonl"), "{\"step\":1}\n").unwrap();
    fs_err::write(root.join("items/step-00000001.parquet"), "items").unwrap();
    for &step in steps {
        checkpoint(root, step, &format!("weights of step {step}"));
    }
}

fn checkpoint(root: &Path, step: u64, weights: &str) {
    let dir = root.join("checkpoints").join(step_name(step));
    fs_err::create_dir_all(&dir).unwrap();
    fs_err::write(dir.join("weights"), weights).unwrap();
    let blake3 = blake3::hash(weights.as_bytes()).to_hex().to_string();
    let manifest =
        serde_json::json!({"schema": 1, "files": {"weights": {"bytes": weights.len(), "blake3": blake3}}});
    fs_err::write(dir.join(MANIFEST_FILE), manifest.to_string()).unwrap();
}

fn store(path: &Path) -> Store {
    Store::open(path.to_str().unwrap()).unwrap()
}

fn start_uploader(root: &Path, remote: &Path, keep: usize) -> Uploader {
    let outdated = move |steps: &[u64]| steps[..steps.len().saturating_sub(keep)].to_vec();
    Uploader::start(store(remote), UploaderOptions { root: root.to_owned(), outdated: Box::new(outdated) })
        .unwrap()
}

fn path_of(root: &Path, step: u64) -> std::path::PathBuf {
    root.join("checkpoints").join(step_name(step))
}

#[test]
fn a_run_comes_back_as_it_was() {
    let temp = tempfile::tempdir().unwrap();
    let (root, remote, back) =
        (temp.path().join("run"), temp.path().join("remote"), temp.path().join("back"));
    fs_err::create_dir_all(&back).unwrap();
    run(&root, &[3, 5]);
    let uploader = start_uploader(&root, &remote, 9);
    for step in [3, 5] {
        uploader.upload_checkpoint(step, &path_of(&root, step)).unwrap();
        assert!(uploader.wait_until_idle(SOON));
    }
    let copied: Vec<u64> = uploader
        .take_updates()
        .iter()
        .map(|update| match update {
            UploadUpdate::Uploaded { step, .. } => *step,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(copied, [3, 5]);

    let there = RemoteRun::new(store(&remote));
    assert_eq!(there.identity().unwrap().unwrap(), b"{}\n");
    assert_eq!(there.steps().unwrap(), [3, 5]);
    there.fetch_files(&back).unwrap();
    there.fetch_checkpoint(5, &back).unwrap();
    for (name, text) in [
        ("metrics.jsonl", "{\"step\":1}\n"),
        ("items/step-00000001.parquet", "items"),
        ("weights", "weights of step 5"),
    ] {
        assert_eq!(fs_err::read_to_string(back.join(name)).unwrap(), text);
    }
    // The store has the layout of a run directory.
    assert_eq!(fs_err::read_to_string(remote.join("checkpoints/latest")).unwrap(), "step-00000005\n");
}

#[test]
fn old_ones_go_once_a_newer_one_is_whole() {
    let temp = tempfile::tempdir().unwrap();
    let (root, remote) = (temp.path().join("run"), temp.path().join("remote"));
    run(&root, &[1, 2, 3]);
    let uploader = start_uploader(&root, &remote, 2);
    for step in [1, 2, 3] {
        uploader.upload_checkpoint(step, &path_of(&root, step)).unwrap();
        assert!(uploader.wait_until_idle(SOON));
    }
    let updates = uploader.take_updates();
    assert!(matches!(&updates[2], UploadUpdate::Uploaded { step: 3, removed, .. } if removed == &[1]));
    assert_eq!(RemoteRun::new(store(&remote)).steps().unwrap(), [2, 3]);
    assert!(!remote.join("checkpoints/step-00000001/weights").exists());

    uploader.abandon_after(2);
    assert!(uploader.wait_until_idle(SOON));
    assert_eq!(RemoteRun::new(store(&remote)).steps().unwrap(), [2]);
    assert!(remote.join("checkpoints/step-00000003/weights").exists(), "what it holds stays");
}

#[test]
fn a_checkpoint_that_loses_its_name_is_copied_all_the_same() {
    let temp = tempfile::tempdir().unwrap();
    let (root, remote) = (temp.path().join("run"), temp.path().join("remote"));
    run(&root, &[1]);
    let mut upload = checkpoint_upload::CheckpointUpload::open(1, &path_of(&root, 1)).unwrap();
    fs_err::remove_dir_all(path_of(&root, 1)).unwrap();
    upload.send(&store(&remote)).unwrap();
    assert_eq!(RemoteRun::new(store(&remote)).steps().unwrap(), [1]);
}

/// A file in place of the store's directory makes every attempt fail until it is removed.
#[test]
fn what_fails_is_told_and_tried_again() {
    let temp = tempfile::tempdir().unwrap();
    let (root, remote) = (temp.path().join("run"), temp.path().join("remote"));
    run(&root, &[1, 2, 3]);
    fs_err::write(&remote, "in the way").unwrap();
    let uploader = start_uploader(&root, &remote, 9);
    uploader.upload_checkpoint(1, &path_of(&root, 1)).unwrap();
    let mut updates = Vec::new();
    while updates.is_empty() {
        let _ = uploader.wait_until_idle(Duration::from_millis(20));
        updates = uploader.take_updates();
    }
    assert!(
        matches!(&updates[0], UploadUpdate::Failed { what, attempts: 1, .. } if what.contains("step 1")),
        "{updates:?}"
    );
    uploader.upload_checkpoint(2, &path_of(&root, 2)).unwrap();
    for removed in [1, 2] {
        fs_err::remove_dir_all(path_of(&root, removed)).unwrap();
    }
    uploader.upload_checkpoint(3, &path_of(&root, 3)).unwrap();
    fs_err::remove_file(&remote).unwrap();
    assert!(uploader.wait_until_idle(SOON));
    let updates = uploader.take_updates();
    for step in [1, 2] {
        let is_superseded = |update: &UploadUpdate| match update {
            UploadUpdate::Superseded { step: superseded, .. } => *superseded == step,
            _ => false,
        };
        assert!(updates.iter().any(is_superseded), "{step}: {updates:?}");
    }
    assert!(
        updates.iter().any(|update| matches!(update, UploadUpdate::Uploaded { step: 3, .. })),
        "{updates:?}"
    );
    assert_eq!(*RemoteRun::new(store(&remote)).steps().unwrap().last().unwrap(), 3);
}

#[test]
fn damage_is_noticed() {
    let temp = tempfile::tempdir().unwrap();
    let (root, remote, back) =
        (temp.path().join("run"), temp.path().join("remote"), temp.path().join("back"));
    run(&root, &[1]);
    checkpoint_upload::CheckpointUpload::open(1, &path_of(&root, 1)).unwrap().send(&store(&remote)).unwrap();
    fs_err::create_dir_all(&back).unwrap();
    fs_err::write(remote.join("checkpoints/step-00000001/weights"), "weights of step 2").unwrap();
    let error = RemoteRun::new(store(&remote)).fetch_checkpoint(1, &back).unwrap_err().to_string();
    assert!(error.contains("checkpoints/step-00000001/weights") && error.contains("BLAKE3"), "{error}");
    assert!(!back.join(MANIFEST_FILE).exists());
}

#[test]
fn large_files_go_in_parts() {
    let temp = tempfile::tempdir().unwrap();
    let (root, remote, back) =
        (temp.path().join("run"), temp.path().join("remote"), temp.path().join("back"));
    run(&root, &[]);
    checkpoint(&root, 1, &"0123456789abcdef".repeat((40 << 20) / 16 + 1));
    checkpoint_upload::CheckpointUpload::open(1, &path_of(&root, 1)).unwrap().send(&store(&remote)).unwrap();
    fs_err::create_dir_all(&back).unwrap();
    RemoteRun::new(store(&remote)).fetch_checkpoint(1, &back).unwrap();
    assert_eq!(fs_err::metadata(back.join("weights")).unwrap().len(), (40 << 20) + 16);
}

#[test]
fn what_is_no_address_is_refused() {
    for address in ["", "ftp://host/x", "s3://", "nonsense://bucket/prefix", "http://host/bucket"] {
        let error = Store::open(address).map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("expected s3://bucket/prefix"), "{error}");
    }
}
