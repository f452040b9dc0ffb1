//! Tests of several ranks, here threads: they train as one rank does, and their checkpoints are equivalent.

use std::collections::BTreeMap;
use std::path::Path;

use std::sync::{Arc, Mutex};

use fineline_ranks::{Ranks, SingleRank, run_on_threads};

use super::*;
use crate::testing::{
    RandomRows, Reports, config, device, numbers, optimizer_bits, recipe, trainer, weight_bits,
};
use crate::{
    Checkpoint, CheckpointConfig, CheckpointDirectory, CheckpointIdentity, Checkpointer, Observer,
    ObserverError, Session, SessionOutcome, StepReport, StepView, StopSignal, TrainConfig, TrainError,
    Trainer, TrainerControl, TrainingRecipe, WrittenCheckpoint, verify_checkpoint,
};

/// Seven steps of eight rows in micro-batches of one: up to eight ranks.
fn small_batches() -> TrainingRecipe {
    TrainingRecipe { train: TrainConfig { micro_batch_size: 1, ..recipe().train }, ..recipe() }
}

fn distributed(mode: DistributedMode, deterministic: bool) -> DistributedConfig {
    DistributedConfig { mode, deterministic, bucket_mib: 1, ..DistributedConfig::default() }
}

fn division(distributed: &DistributedConfig, ranks: &dyn Ranks) -> Division {
    Division::new(distributed, &small_batches().train, &config(), ranks).unwrap()
}

/// Returns the results of `work` on each rank, in their order.
fn on_ranks<T: Send>(size: usize, work: impl Fn(&dyn Ranks) -> T + Sync) -> Vec<T> {
    on_processes(1, size, work)
}

/// The same for ranks that are threads of several processes, which are threads here, too.
fn on_processes<T: Send>(processes: usize, count: usize, work: impl Fn(&dyn Ranks) -> T + Sync) -> Vec<T> {
    let results = Mutex::new(BTreeMap::new());
    let run_one = |ranks: &dyn Ranks| {
        let result = work(ranks);
        results.lock().unwrap().insert(ranks.rank(), result);
        Ok::<(), ()>(())
    };
    let run_process = |process: &dyn Ranks| run_on_threads(count, process, run_one, run_one);
    run_on_threads(processes, &SingleRank, run_process, run_process).unwrap();
    results.into_inner().unwrap().into_values().collect()
}

type Bits = Vec<(String, Vec<u32>)>;

/// Returns the reports of a run on `size` ranks, which must be equal on each, and the final weights.
fn trained(size: usize, distributed: &DistributedConfig) -> (Vec<StepReport>, Bits) {
    trained_on(1, size, distributed)
}

fn trained_on(processes: usize, count: usize, distributed: &DistributedConfig) -> (Vec<StepReport>, Bits) {
    let mut all = on_processes(processes, count, |ranks| {
        let mut trainer = trainer(small_batches()).with_division(division(distributed, ranks));
        let reports = session(&mut trainer, ranks, None, None).unwrap().1;
        (reports, weight_bits(trainer.model()))
    });
    let first = all.swap_remove(0);
    for (reports, weights) in all {
        assert_eq!(numbers(&reports), numbers(&first.0));
        assert_eq!(weights, first.1);
    }
    first
}

struct StopAt(Option<u64>);

impl Observer for StopAt {
    fn on_step(&mut self, report: &StepReport, _: &StepView<'_>) -> Result<TrainerControl, ObserverError> {
        Ok(if self.0 == Some(report.step) { TrainerControl::Stop } else { TrainerControl::Continue })
    }
}

/// Runs to the end, or to the step at which the last rank requests a stop.
fn session(
    trainer: &mut Trainer,
    ranks: &dyn Ranks,
    checkpointer: Option<Checkpointer>,
    stop_at: Option<u64>,
) -> Result<(SessionOutcome, Vec<StepReport>), TrainError> {
    let (mut reports, mut stop) =
        (Reports::default(), StopAt(stop_at.filter(|_| ranks.rank() + 1 == ranks.size())));
    let observers: Vec<&mut dyn Observer> = vec![&mut reports, &mut stop];
    let session = Session {
        rows: &RandomRows,
        observers,
        checkpointer,
        stop: StopSignal::default(),
        clock: Arc::default(),
        ranks,
    };
    let outcome = session.run(trainer)?;
    Ok((outcome, reports.0))
}

fn close(left: f32, right: f32, relative: f32) -> bool {
    (left - right).abs() <= relative * right.abs()
}

#[test]
fn many_ranks_train_as_one_does() {
    let mut alone = trainer(small_batches());
    let reports = crate::testing::run(&mut alone, &RandomRows, None).1;
    for mode in [DistributedMode::DataParallel, DistributedMode::Zero1] {
        for size in [1, 2, 3, 4, 8] {
            let (shared, _) = trained(size, &distributed(mode, false));
            for (shared, alone) in shared.iter().zip(&reports) {
                assert!(
                    close(shared.loss, alone.loss, 1e-6),
                    "{size} ranks, {mode:?}: {shared:?}, {alone:?}"
                );
                assert!(close(shared.grad_norm, alone.grad_norm, 1e-5), "{shared:?}, {alone:?}");
            }
        }
    }
}

#[test]
fn devices_of_a_process_train_as_one_does() {
    let mut alone = trainer(small_batches());
    let reports = crate::testing::run(&mut alone, &RandomRows, None).1;
    for mode in [DistributedMode::DataParallel, DistributedMode::Zero1] {
        for (processes, count) in [(1, 2), (1, 4), (2, 2), (2, 3)] {
            let config = DistributedConfig { ranks_per_process: count, ..distributed(mode, false) };
            let (shared, _) = trained_on(processes, count, &config);
            for (shared, alone) in shared.iter().zip(&reports) {
                let case = format!("{processes} x {count}, {mode:?}: {shared:?}, {alone:?}");
                assert!(close(shared.loss, alone.loss, 1e-6), "{case}");
                assert!(close(shared.grad_norm, alone.grad_norm, 1e-5), "{case}");
            }
        }
    }
}

#[test]
fn a_fixed_tree_gives_the_same_bits_on_any_number_of_ranks() {
    let (reports, weights) = trained(1, &distributed(DistributedMode::DataParallel, true));
    assert_eq!(reports.len(), 7);
    for mode in [DistributedMode::DataParallel, DistributedMode::Zero1] {
        for size in [1, 2, 3, 4, 5, 8] {
            let (shared, its_weights) = trained(size, &distributed(mode, true));
            assert_eq!(numbers(&shared), numbers(&reports), "{size} ranks, {mode:?}");
            assert!(its_weights == weights, "{size} ranks, {mode:?}");
        }
        let two_each = DistributedConfig { ranks_per_process: 2, ..distributed(mode, true) };
        for processes in [1, 2] {
            let (shared, its_weights) = trained_on(processes, 2, &two_each);
            assert_eq!(numbers(&shared), numbers(&reports), "{processes} processes, {mode:?}");
            assert!(its_weights == weights, "{processes} processes, {mode:?}");
        }
    }
}

fn checkpointer(directory: &Path, step: u64, ranks: &dyn Ranks) -> Checkpointer {
    let config = CheckpointConfig { every_steps: 2, keep_last: 9, ..CheckpointConfig::default() };
    Checkpointer::open(
        CheckpointDirectory::new(directory),
        config,
        CheckpointIdentity::default(),
        step,
        ranks,
    )
    .unwrap()
}

/// Resumes from the checkpoint of `step` on `size` ranks, to the end of the run.
fn resumed(
    directory: &Path,
    step: u64,
    size: usize,
    distributed: &DistributedConfig,
) -> Vec<(Vec<StepReport>, Bits)> {
    on_ranks(size, |ranks| {
        let division = division(distributed, ranks);
        let path = CheckpointDirectory::new(directory).checkpoint(step);
        verify_checkpoint(&path).unwrap();
        let checkpoint = Checkpoint::load(&path, &config(), &division, &device()).unwrap();
        let mut trainer = checkpoint.into_trainer(small_batches()).unwrap().with_division(division);
        let reports = session(&mut trainer, ranks, None, None).unwrap().1;
        (reports, weight_bits(trainer.model()))
    })
}

#[test]
fn a_checkpoint_resumes_on_any_number_of_ranks() {
    let (whole, weights) = trained(1, &distributed(DistributedMode::DataParallel, true));
    for (mode, size) in
        [(DistributedMode::Zero1, 4), (DistributedMode::Zero1, 3), (DistributedMode::DataParallel, 2)]
    {
        let temp = tempfile::tempdir().unwrap();
        let config = distributed(mode, true);
        for (outcome, _) in on_ranks(size, |ranks| {
            let mut trainer = trainer(small_batches()).with_division(division(&config, ranks));
            session(&mut trainer, ranks, Some(checkpointer(temp.path(), 0, ranks)), Some(5)).unwrap()
        }) {
            assert_eq!(outcome, SessionOutcome::Stopped(crate::StopReason::Observer));
        }
        assert_eq!(CheckpointDirectory::new(temp.path()).steps().unwrap(), [2, 4, 5]);
        for mode in [DistributedMode::Zero1, DistributedMode::DataParallel] {
            for size in [1, 2, 4, 5] {
                for (reports, its_weights) in resumed(temp.path(), 5, size, &distributed(mode, true)) {
                    assert_eq!(numbers(&reports), numbers(&whole[5..]), "{size} ranks, {mode:?}");
                    assert!(its_weights == weights);
                }
            }
        }
    }
}

#[test]
fn shards_are_readable_by_transformers() {
    let temp = tempfile::tempdir().unwrap();
    let zero1 = distributed(DistributedMode::Zero1, true);
    let weights = on_ranks(3, |ranks| {
        let mut trainer = trainer(small_batches()).with_division(division(&zero1, ranks));
        session(&mut trainer, ranks, Some(checkpointer(temp.path(), 0, ranks)), None).unwrap();
        weight_bits(trainer.model())
    });
    let path = CheckpointDirectory::new(temp.path()).checkpoint(7);
    let mut names: Vec<String> = fs_err::read_dir(&path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("safetensors"))
        .collect();
    names.sort();
    let shards = |kind| (1..=3).map(move |shard| format!("{kind}-{shard:05}-of-00003.safetensors"));
    let index = "model.safetensors.index.json".to_owned();
    assert_eq!(names, shards("model").chain([index]).chain(shards("optimizer")).collect::<Vec<_>>());
    assert_eq!(weight_bits(&fineline_model::load(&path, &device()).unwrap()), weights[0]);

    // The optimizer state of three ranks, combined, equals that of one.
    let alone = on_ranks(1, |ranks| {
        let division = division(&zero1, ranks);
        let checkpoint = Checkpoint::load(&path, &config(), &division, &device()).unwrap();
        let mut trainer = trainer(small_batches()).with_division(division);
        session(&mut trainer, ranks, None, None).unwrap();
        (optimizer_bits(&checkpoint.into_trainer(small_batches()).unwrap()), optimizer_bits(&trainer))
    });
    assert!(!alone[0].0.is_empty() && alone[0].0 == alone[0].1);
}

#[test]
fn a_missing_shard_is_damage() {
    let temp = tempfile::tempdir().unwrap();
    let zero1 = distributed(DistributedMode::Zero1, true);
    on_ranks(2, |ranks| {
        let mut trainer = trainer(small_batches()).with_division(division(&zero1, ranks));
        session(&mut trainer, ranks, Some(checkpointer(temp.path(), 0, ranks)), None).unwrap();
    });
    let path = CheckpointDirectory::new(temp.path()).checkpoint(7);
    fs_err::remove_file(path.join("optimizer-00002-of-00002.safetensors")).unwrap();
    assert!(matches!(verify_checkpoint(&path), Err(TrainError::Damaged { .. })));
    let error = Checkpoint::load(&path, &config(), &crate::testing::undivided(), &device()).unwrap_err();
    assert!(error.to_string().contains("have no float32 values"), "{error}");
}

#[test]
fn a_rank_that_cannot_write_fails_all_and_leaves_nothing() {
    let [temp, elsewhere] = [(), ()].map(|()| tempfile::tempdir().unwrap());
    let zero1 = distributed(DistributedMode::Zero1, true);
    let errors = on_ranks(2, |ranks| {
        let trainer = trainer(small_batches()).with_division(division(&zero1, ranks));
        // Rank 1 has a different directory, which wasn't prepared.
        let directory = if ranks.is_first() { temp.path().to_owned() } else { elsewhere.path().to_owned() };
        let mut checkpointer = checkpointer(&directory, 0, ranks);
        checkpointer.save(&trainer, BTreeMap::new(), ranks).unwrap();
        let Some(WrittenCheckpoint::Failed(failed)) = checkpointer.wait(ranks).unwrap() else {
            panic!("rank 1 can't write")
        };
        assert!(!checkpointer.has(0) && failed.consecutive == 1);
        failed.reason
    });
    assert!(
        errors.iter().all(|reason| reason.starts_with("rank 1: ") || reason.contains("No such file")),
        "{errors:?}"
    );
    assert_eq!(fs_err::read_dir(temp.path()).unwrap().count(), 0);
}
