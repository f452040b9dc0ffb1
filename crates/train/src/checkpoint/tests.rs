//! Tests of checkpoints as a whole: they are complete and exact, and failures are handled.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use fineline_model::LlamaConfig;
use fineline_ranks::SingleRank;
use serde_json::{Value, json};

use super::*;
use crate::testing::{
    Masked, RandomRows, Reports, config, device, numbers, optimizer_bits, recipe, run, trainer, undivided,
    weight_bits,
};
use crate::{
    CheckpointProblem, Observer, ObserverError, Session, SessionOutcome, StepReport, StepView, StopReason,
    StopSignal, TrainError, TrainerControl,
};

fn every(every_steps: u64, keep_last: usize) -> CheckpointConfig {
    CheckpointConfig { every_steps, keep_last, ..CheckpointConfig::default() }
}

fn identity() -> CheckpointIdentity {
    CheckpointIdentity {
        seed: 11,
        config_hash: "c0ffee".to_owned(),
        data_fingerprint: "da7a".to_owned(),
        files: BTreeMap::from([("tokenizer.json".to_owned(), b"{}".to_vec())]),
        ..CheckpointIdentity::default()
    }
}

fn checkpointer(directory: &Path, config: CheckpointConfig, step: u64) -> Checkpointer {
    Checkpointer::open(CheckpointDirectory::new(directory), config, identity(), step, &SingleRank).unwrap()
}

fn load(directory: &Path, step: u64) -> Checkpoint {
    let path = CheckpointDirectory::new(directory).checkpoint(step);
    verify_checkpoint(&path).unwrap();
    Checkpoint::load(&path, &config(), &undivided(), &device()).unwrap()
}

/// Requests a control after one step.
struct RequestAt(u64, TrainerControl);

impl Observer for RequestAt {
    fn on_step(&mut self, report: &StepReport, _: &StepView<'_>) -> Result<TrainerControl, ObserverError> {
        Ok(if report.step == self.0 { self.1 } else { TrainerControl::Continue })
    }
}

/// Returns the files of a directory with their bytes.
fn contents(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = fs_err::read_dir(directory).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| (entry.file_name().into_string().unwrap(), fs_err::read(entry.path()).unwrap()))
        .collect()
}

#[test]
fn resuming_equals_never_having_stopped() {
    let temp = tempfile::tempdir().unwrap();
    let [unbroken, broken] = ["unbroken", "broken"].map(|name| temp.path().join(name));
    // A skipped step before the break, so that steps and updates differ.
    let rows = Masked(2..=2);

    let mut whole = trainer(recipe());
    let (outcome, whole_reports) = run(&mut whole, &rows, Some(checkpointer(&unbroken, every(100, 3), 0)));
    assert_eq!(outcome.unwrap(), SessionOutcome::Finished);

    let mut first = trainer(recipe());
    let (mut reports, mut stop) = (Reports::default(), RequestAt(3, TrainerControl::Stop));
    let session = Session {
        rows: &rows,
        observers: vec![&mut reports, &mut stop],
        checkpointer: Some(checkpointer(&broken, every(100, 3), 0)),
        stop: StopSignal::default(),
        ranks: &SingleRank,
        clock: Arc::default(),
    };
    assert_eq!(session.run(&mut first).unwrap(), SessionOutcome::Stopped(StopReason::Observer));

    let found = CheckpointDirectory::new(&broken).newest_complete().unwrap();
    assert!(found.damaged.is_empty());
    let checkpoint =
        Checkpoint::load(&found.newest_complete.unwrap(), &config(), &undivided(), &device()).unwrap();
    assert_eq!((checkpoint.state.progress.step, checkpoint.state.updates), (3, 2));
    let mut second = checkpoint.into_trainer(recipe()).unwrap();
    let (outcome, later_reports) = run(&mut second, &rows, Some(checkpointer(&broken, every(100, 3), 3)));
    assert_eq!(outcome.unwrap(), SessionOutcome::Finished);

    let reports = [reports.0, later_reports].concat();
    assert_eq!(numbers(&reports), numbers(&whole_reports));
    assert_eq!(weight_bits(second.model()), weight_bits(whole.model()));
    assert_eq!(optimizer_bits(&second), optimizer_bits(&whole));
    assert_eq!(second.progress(), whole.progress());
    assert_eq!(contents(&broken.join("step-00000007")), contents(&unbroken.join("step-00000007")));
}

#[test]
fn a_checkpoint_is_a_hugging_face_directory_with_state() {
    let temp = tempfile::tempdir().unwrap();
    let mut trainer = trainer(recipe());
    run(&mut trainer, &RandomRows, Some(checkpointer(temp.path(), every(3, 9), 0))).0.unwrap();
    assert_eq!(CheckpointDirectory::new(temp.path()).steps().unwrap(), [3, 6, 7]);
    assert_eq!(fs_err::read_to_string(temp.path().join("latest")).unwrap(), "step-00000007\n");

    let path = temp.path().join("step-00000007");
    let files: Vec<String> = contents(&path).into_keys().collect();
    assert_eq!(
        files,
        [
            "config.json",
            "generation_config.json",
            "manifest.json",
            "model.safetensors",
            "optimizer.safetensors",
            "state.json",
            "tokenizer.json"
        ]
    );
    let state: Value = serde_json::from_slice(&fs_err::read(path.join("state.json")).unwrap()).unwrap();
    let guard = &state["guard"];
    assert_eq!(guard["losses"].as_array().unwrap().len(), 7);
    assert_eq!(
        state,
        json!({
            "schema": 1, "step": 7, "tokens": 7 * 48, "consecutive_skips": 0, "updates": 7, "guard": guard,
            "seed": 11, "config_hash": "c0ffee",
            "data_fingerprint": "da7a", "observers": {}
        })
    );
    let reloaded = fineline_model::load(&path, &device()).unwrap();
    assert_eq!(reloaded.config().parameters(), config().parameters());
    assert_eq!(weight_bits(&reloaded), weight_bits(trainer.model()));
}

#[test]
fn values_of_observers_are_stored_and_loaded() {
    struct Counter(u64);
    impl Observer for Counter {
        fn on_step(&mut self, _: &StepReport, _: &StepView<'_>) -> Result<TrainerControl, ObserverError> {
            self.0 += 1;
            Ok(TrainerControl::Continue)
        }

        fn before_checkpoint(
            &mut self,
            view: &StepView<'_>,
        ) -> Result<Option<(String, Value)>, ObserverError> {
            assert_eq!(view.step, self.0, "observers are called before the checkpoint of the step");
            Ok(Some(("counter".to_owned(), json!({ "steps": self.0 }))))
        }
    }
    let temp = tempfile::tempdir().unwrap();
    let (mut counter, mut ask) = (Counter(0), RequestAt(2, TrainerControl::Checkpoint));
    let session = Session {
        rows: &RandomRows,
        observers: vec![&mut counter, &mut ask],
        checkpointer: Some(checkpointer(temp.path(), every(5, 9), 0)),
        stop: StopSignal::default(),
        ranks: &SingleRank,
        clock: Arc::default(),
    };
    session.run(&mut trainer(recipe())).unwrap();
    assert_eq!(CheckpointDirectory::new(temp.path()).steps().unwrap(), [2, 5, 7]);
    assert_eq!(load(temp.path(), 5).state.observers["counter"], json!({ "steps": 5 }));
}

/// Records the checkpoints that are reported.
#[derive(Default)]
struct Announced(Vec<SavedCheckpoint>);

impl Observer for Announced {
    fn on_checkpoint(&mut self, saved: &SavedCheckpoint) -> Result<(), ObserverError> {
        assert_eq!(contents(&saved.path).values().map(|file| file.len() as u64).sum::<u64>(), saved.bytes);
        self.0.push(saved.clone());
        Ok(())
    }
}

#[test]
fn the_last_few_are_kept_and_announced() {
    let temp = tempfile::tempdir().unwrap();
    let mut announced = Announced::default();
    let retention =
        CheckpointConfig { every_steps: 1, keep_last: 2, keep_every: Some(3), ..CheckpointConfig::default() };
    let session = Session {
        rows: &RandomRows,
        observers: vec![&mut announced],
        checkpointer: Some(checkpointer(temp.path(), retention, 0)),
        stop: StopSignal::default(),
        ranks: &SingleRank,
        clock: Arc::default(),
    };
    session.run(&mut trainer(recipe())).unwrap();
    assert_eq!(CheckpointDirectory::new(temp.path()).steps().unwrap(), [3, 6, 7]);
    assert_eq!(announced.0.iter().map(|saved| saved.step).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(announced.0.iter().flat_map(|saved| saved.removed.clone()).collect::<Vec<_>>(), [1, 2, 4, 5]);
}

#[test]
fn a_damaged_checkpoint_is_reported_and_abandoned() {
    type Spoil = fn(&Path);
    let spoils: [(&str, Spoil); 4] = [
        ("model.safetensors", |path| {
            let mut bytes = fs_err::read(path.join("model.safetensors")).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            fs_err::write(path.join("model.safetensors"), bytes).unwrap();
        }),
        ("optimizer.safetensors", |path| {
            let bytes = fs_err::read(path.join("optimizer.safetensors")).unwrap();
            fs_err::write(path.join("optimizer.safetensors"), &bytes[..bytes.len() / 2]).unwrap();
        }),
        ("manifest.json", |path| fs_err::remove_file(path.join("manifest.json")).unwrap()),
        ("state.json", |path| fs_err::remove_file(path.join("state.json")).unwrap()),
    ];
    for (file, spoil) in spoils {
        let temp = tempfile::tempdir().unwrap();
        run(&mut trainer(recipe()), &RandomRows, Some(checkpointer(temp.path(), every(4, 9), 0))).0.unwrap();
        spoil(&temp.path().join("step-00000007"));
        fs_err::create_dir(temp.path().join(".writing-step-00000009")).unwrap();
        fs_err::write(temp.path().join(".writing-step-00000009/model.safetensors"), "half").unwrap();

        let found = CheckpointDirectory::new(temp.path()).newest_complete().unwrap();
        assert_eq!(found.newest_complete.unwrap(), temp.path().join("step-00000004"));
        assert_eq!(found.damaged.len(), 1);
        assert!(found.damaged[0].to_string().contains(file), "{}", found.damaged[0]);

        let mut resumed = load(temp.path(), 4).into_trainer(recipe()).unwrap();
        run(&mut resumed, &RandomRows, Some(checkpointer(temp.path(), every(4, 9), 4))).0.unwrap();
        assert_eq!(CheckpointDirectory::new(temp.path()).steps().unwrap(), [4, 7]);
        assert!(temp.path().join("abandoned-step-00000007").exists());
        assert!(!temp.path().join(".writing-step-00000009").exists());
        let mut unbroken = trainer(recipe());
        run(&mut unbroken, &RandomRows, None).0.unwrap();
        assert_eq!(weight_bits(resumed.model()), weight_bits(unbroken.model()));
    }
}

#[test]
fn a_checkpoint_of_a_different_model_is_refused() {
    let temp = tempfile::tempdir().unwrap();
    run(&mut trainer(recipe()), &RandomRows, Some(checkpointer(temp.path(), every(9, 1), 0))).0.unwrap();
    let path = temp.path().join("step-00000007");
    let refusal = |change: fn(&mut LlamaConfig)| {
        let mut other = config();
        change(&mut other);
        Checkpoint::load(&path, &other, &undivided(), &device()).map(|_| ()).unwrap_err().to_string()
    };
    let message = refusal(|config| config.hidden_size = 16);
    assert!(message.contains("hidden_size") && message.contains('8') && message.contains("16"), "{message}");
    let message = refusal(|config| config.rope_theta = 5e5);
    assert!(message.contains("rope_theta"), "{message}");
    let message = refusal(|config| config.num_key_value_heads = None);
    assert!(message.contains("num_key_value_heads is 1"), "{message}");
    // Keys that don't affect what the model computes may differ.
    let wider = LlamaConfig { max_position_embeddings: 9, initializer_range: 1.0, ..config() };
    Checkpoint::load(&path, &wider, &undivided(), &device()).unwrap();
}

/// A link to itself can't be read even by root.
#[cfg(unix)]
#[test]
fn an_unreadable_checkpoint_is_an_error() {
    let temp = tempfile::tempdir().unwrap();
    run(&mut trainer(recipe()), &RandomRows, Some(checkpointer(temp.path(), every(4, 9), 0))).0.unwrap();
    let weights = temp.path().join("step-00000007/model.safetensors");
    fs_err::rename(&weights, temp.path().join("elsewhere")).unwrap();
    fs_err::os::unix::fs::symlink("model.safetensors", &weights).unwrap();
    let error = CheckpointDirectory::new(temp.path()).newest_complete().unwrap_err();
    assert!(matches!(error, TrainError::Io(_)), "{error}");
    assert!(error.to_string().contains("step-00000007/model.safetensors"), "{error}");

    // Once it is readable again, the run resumes from it.
    fs_err::rename(temp.path().join("elsewhere"), &weights).unwrap();
    let found = CheckpointDirectory::new(temp.path()).newest_complete().unwrap();
    assert_eq!(found.newest_complete.unwrap(), temp.path().join("step-00000007"));
}

/// A directory in the place of the file `latest` only prevents writing that file.
#[test]
fn a_checkpoint_is_saved_once_it_has_its_name() {
    let temp = tempfile::tempdir().unwrap();
    let writer = checkpointer(temp.path(), every(3, 1), 0);
    fs_err::create_dir_all(temp.path().join("latest/in the way")).unwrap();
    let mut announced = Announced::default();
    let session = Session {
        rows: &RandomRows,
        observers: vec![&mut announced],
        checkpointer: Some(writer),
        stop: StopSignal::default(),
        ranks: &SingleRank,
        clock: Arc::default(),
    };
    assert_eq!(session.run(&mut trainer(recipe())).unwrap(), SessionOutcome::Finished);
    assert_eq!(announced.0.iter().map(|saved| saved.step).collect::<Vec<_>>(), [3, 6, 7]);
    assert_eq!(announced.0.iter().flat_map(|saved| saved.removed.clone()).collect::<Vec<_>>(), [3, 6]);
    assert_eq!(names_in_directory(temp.path()), ["latest", "step-00000007"]);
    verify_checkpoint(&temp.path().join("step-00000007")).unwrap();
}

#[test]
fn the_duration_of_a_write_excludes_removals() {
    let temp = tempfile::tempdir().unwrap();
    let old = temp.path().join("step-00000001");
    let fill = |directory: &Path| {
        fs_err::create_dir(directory).unwrap();
        (0..10_000).for_each(|file| fs_err::write(directory.join(file.to_string()), "").unwrap());
    };
    let reference = temp.path().join("reference");
    fill(&reference);
    let start = Instant::now();
    fs_err::remove_dir_all(reference).unwrap();
    let removal_s = start.elapsed().as_secs_f64();

    let mut writer = checkpointer(temp.path(), every(9, 1), 0);
    fill(&old);
    let mut trainer = trainer(recipe());
    run(&mut trainer, &RandomRows, None).0.unwrap();
    let start = Instant::now();
    writer.save(&trainer, BTreeMap::new(), &SingleRank).unwrap();
    let Some(WrittenCheckpoint::Saved(saved)) = writer.wait(&SingleRank).unwrap() else {
        panic!("it can be written")
    };
    let all_s = start.elapsed().as_secs_f64();
    assert_eq!(saved.removed, [1]);
    assert!(saved.write_s < all_s - removal_s / 4.0, "{} of {all_s}, {removal_s}", saved.write_s);
}

#[test]
fn a_checkpoint_being_written_is_reported_despite_an_error() {
    struct Full(u64);
    impl Observer for Full {
        fn on_step(
            &mut self,
            report: &StepReport,
            _: &StepView<'_>,
        ) -> Result<TrainerControl, ObserverError> {
            if report.step > self.0 {
                Err("no room for the log".into())
            } else {
                Ok(TrainerControl::Continue)
            }
        }
    }
    let temp = tempfile::tempdir().unwrap();
    let (mut full, mut announced) = (Full(4), Announced::default());
    let session = Session {
        rows: &RandomRows,
        observers: vec![&mut full, &mut announced],
        checkpointer: Some(checkpointer(temp.path(), every(4, 1), 0)),
        stop: StopSignal::default(),
        ranks: &SingleRank,
        clock: Arc::default(),
    };
    let error = session.run(&mut trainer(recipe())).unwrap_err();
    assert_eq!(error.to_string(), "no room for the log");
    assert_eq!(announced.0.iter().map(|saved| saved.step).collect::<Vec<_>>(), [4]);
}

#[test]
fn an_error_in_the_background_ends_the_run() {
    let temp = tempfile::tempdir().unwrap();
    let directory = temp.path().join("checkpoints");
    let writer = checkpointer(&directory, every(2, 1), 0);
    fs_err::remove_dir_all(&directory).unwrap();
    let error = run(&mut trainer(recipe()), &RandomRows, Some(writer)).0.unwrap_err();
    assert!(matches!(error, TrainError::CheckpointsDirectoryGone { .. }), "{error}");
    assert!(error.to_string().contains(directory.to_str().unwrap()), "{error}");
}

/// On a file system of 64 KiB, which has space for one checkpoint but not two.
#[test]
fn a_full_disk_leaves_earlier_checkpoints() {
    let temp = tempfile::tempdir().unwrap();
    let mount = |command: &str, arguments: &[&str]| {
        std::process::Command::new(command)
            .args(arguments)
            .arg(temp.path())
            .output()
            .is_ok_and(|o| o.status.success())
    };
    if !mount("mount", &["-t", "tmpfs", "-o", "size=64k", "tmpfs"]) {
        fineline_testing::skip("the right to mount a file system in memory");
        return;
    }
    let (outcome, reports) =
        run(&mut trainer(recipe()), &RandomRows, Some(checkpointer(temp.path(), every(3, 2), 0)));
    let left = names_in_directory(temp.path());
    let found = CheckpointDirectory::new(temp.path()).newest_complete().unwrap();
    let latest = fs_err::read_to_string(temp.path().join("latest")).unwrap();
    assert!(mount("umount", &[]));

    let error = outcome.unwrap_err().to_string();
    assert!(error.starts_with("stopped after 3 consecutive checkpoints"), "{error}");
    assert!(error.contains("step-00000007 (") && error.contains("the disk is full"), "{error}");
    assert_eq!(reports.len(), 7);
    assert_eq!(left, ["latest", "step-00000003"]);
    assert_eq!(latest, "step-00000003\n");
    assert_eq!(found.newest_complete.unwrap(), temp.path().join("step-00000003"));
}

/// A file blocks the first checkpoint and is removed before the second attempt.
#[test]
fn a_failed_checkpoint_is_reported_and_retried() {
    struct Clear(std::path::PathBuf, Vec<CheckpointProblem>, Vec<u64>);
    impl Observer for Clear {
        fn on_checkpoint_problem(&mut self, problem: &CheckpointProblem) -> Result<(), ObserverError> {
            self.1.push(problem.clone());
            fs_err::remove_file(&self.0).unwrap();
            Ok(())
        }

        fn on_checkpoint(&mut self, saved: &SavedCheckpoint) -> Result<(), ObserverError> {
            self.2.push(saved.step);
            Ok(())
        }
    }
    let temp = tempfile::tempdir().unwrap();
    let writer = checkpointer(temp.path(), every(30, 9), 0);
    let in_the_way = temp.path().join(".writing-step-00000002");
    fs_err::write(&in_the_way, "").unwrap();
    let (mut ask, mut clear) =
        (RequestAt(2, TrainerControl::Checkpoint), Clear(in_the_way, Vec::new(), Vec::new()));
    let session = Session {
        rows: &RandomRows,
        observers: vec![&mut ask, &mut clear],
        checkpointer: Some(writer),
        stop: StopSignal::default(),
        ranks: &SingleRank,
        clock: Arc::default(),
    };
    assert_eq!(session.run(&mut trainer(recipe())).unwrap(), SessionOutcome::Finished);
    let [CheckpointProblem::Failed(failed)] = &clear.1[..] else { panic!("{:?}", clear.1) };
    assert_eq!((failed.step, failed.consecutive), (2, 1));
    assert!(
        failed.path.ends_with("step-00000002") && failed.bytes > 1000 && !failed.reason.is_empty(),
        "{failed:?}"
    );
    assert_eq!(*clear.2.last().unwrap(), 7);
    assert!(clear.2[0] >= 5, "a tenth of the cadence later: {:?}", clear.2);
}

fn names_in_directory(directory: &Path) -> Vec<String> {
    let entries = fs_err::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Milestones are written and kept in addition to regular checkpoints, and have a link as long as they exist.
#[test]
#[cfg(unix)]
fn milestones_are_kept_and_named() {
    let temp = tempfile::tempdir().unwrap();
    let milestones = CheckpointMilestones::from([(2, "ckpt_000".to_owned()), (5, "ckpt_001".to_owned())]);
    let cadence = CheckpointSchedule { config: every(3, 1), milestones };
    let open = |step| {
        Checkpointer::open(
            CheckpointDirectory::new(temp.path()),
            cadence.clone(),
            identity(),
            step,
            &SingleRank,
        )
        .unwrap()
    };
    run(&mut trainer(recipe()), &RandomRows, Some(open(0))).0.unwrap();
    let directory = CheckpointDirectory::new(temp.path());
    assert_eq!(directory.steps().unwrap(), [2, 5, 7]);
    let milestone = |link: &str| CheckpointState::read(&temp.path().join(link)).map(|state| state.milestone);
    assert_eq!(milestone("ckpt_000").unwrap().as_deref(), Some("ckpt_000"));
    assert_eq!(milestone("ckpt_001").unwrap().as_deref(), Some("ckpt_001"));
    assert_eq!(milestone("step-00000007").unwrap(), None);

    // A rewind removes links to abandoned checkpoints. A link that is missing because of a kill is created.
    fs_err::remove_file(temp.path().join("ckpt_000")).unwrap();
    drop(open(2));
    assert_eq!(directory.steps().unwrap(), [2]);
    assert!(milestone("ckpt_000").is_ok() && !temp.path().join("ckpt_001").is_symlink());
}
