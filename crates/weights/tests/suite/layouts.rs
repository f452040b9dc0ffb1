use std::ops::ControlFlow;
use std::path::Path;

use fineline_weights::{
    ConversionParity, ConversionSummary, ConversionTarget, Dtype, WeightFiles, WeightLayout, WeightsError,
    compare_weights, write_weights,
};

use crate::{OTHERS, all, fixture, head_size, open};

fn save(
    source: &WeightFiles,
    target: ConversionTarget,
    dtype: Option<Dtype>,
    dir: &Path,
) -> (ConversionSummary, ConversionParity) {
    let tensors = all(source);
    let written = write_weights(&tensors, target, dtype, dir, &mut |_| ControlFlow::Continue(())).unwrap();
    let found = WeightFiles::open(dir).unwrap();
    let found = match target {
        ConversionTarget::EasyLm { head_size } => found.with_head_size(head_size).unwrap(),
        ConversionTarget::SafeTensors { .. } => found,
    };
    (written, compare_weights(&tensors, &found, dtype, &mut |_| ControlFlow::Continue(())).unwrap())
}

const SINGLE: ConversionTarget = ConversionTarget::SafeTensors { max_shard_bytes: u64::MAX };

/// Every layout has the values of the safetensors file of the same fixture, which all precisions of the
/// fixtures represent exactly.
#[test]
fn every_layout_holds_the_same_weights() {
    for other in OTHERS {
        let reference = open(other.split('/').next().unwrap());
        let found = open(other);
        let dir = tempfile::tempdir().unwrap();
        save(&found, SINGLE, Some(Dtype::F32), dir.path());
        let found = WeightFiles::open(dir.path()).unwrap();
        for (name, tensor) in &reference.tensors {
            assert_eq!(found.tensors[name].shape, tensor.shape, "{other}: {name}");
            assert_eq!(found.tensors[name].read().unwrap(), tensor.read().unwrap(), "{other}: {name}");
        }
        let beyond: Vec<&String> =
            found.tensors.keys().filter(|name| !reference.tensors.contains_key(*name)).collect();
        assert!(
            beyond
                .iter()
                .all(|name| name.ends_with("inv_freq")
                    || (other.starts_with("tied") && *name == "lm_head.weight")),
            "{other}: {beyond:?}"
        );
    }
}

#[test]
fn other_entries_of_a_training_state_are_listed() {
    let checkpoint = open("untied/easylm-bfloat16");
    assert_eq!(checkpoint.layout, WeightLayout::EasyLm);
    let ignored: Vec<(&str, &str)> =
        checkpoint.ignored.iter().map(|ignored| (ignored.name.as_str(), &ignored.reason[..8])).collect();
    assert_eq!(ignored, [("opt_state", "4 values"), ("step", "1 values")]);
    assert_eq!(checkpoint.tensors["lm_head.weight"].key, "params/params/lm_head/kernel");
}

/// The same tensors in the same order result in the same stream as the few lines of the fixture script, byte
/// for byte.
#[test]
fn an_easylm_stream_is_written_as_flax_packs_it() {
    let path = fixture("untied/easylm-float32/streaming_params");
    let reference = open("untied");
    let stream = WeightFiles::open(&path).unwrap();
    let mut tensors = all(&reference);
    tensors.sort_by_key(|tensor| stream.tensors[&tensor.name].file_range().start);
    let dir = tempfile::tempdir().unwrap();
    write_weights(&tensors, ConversionTarget::EasyLm { head_size: 6 }, None, dir.path(), &mut |_| {
        ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(fs_err::read(dir.path().join("streaming_params")).unwrap(), fs_err::read(path).unwrap());
}

#[test]
fn round_trips_change_no_bit() {
    for name in ["untied", "tied"].into_iter().chain(OTHERS) {
        let mut source = open(name);
        source.tensors.retain(|name, _| !name.ends_with("inv_freq"));
        let dirs = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let (_, parity) =
            save(&source, ConversionTarget::EasyLm { head_size: head_size(name) }, None, dirs[0].path());
        assert_eq!((parity.tensors, parity.rounding), (source.tensors.len(), None));
        let stream = WeightFiles::open(dirs[0].path()).unwrap().with_head_size(head_size(name)).unwrap();
        save(&stream, SINGLE, None, dirs[1].path());
        let back = WeightFiles::open(dirs[1].path()).unwrap();
        compare_weights(&all(&source), &back, None, &mut |_| ControlFlow::Continue(())).unwrap();
        save(&back, ConversionTarget::EasyLm { head_size: head_size(name) }, None, dirs[2].path());
        let streams =
            [&dirs[0], &dirs[2]].map(|dir| fs_err::read(dir.path().join("streaming_params")).unwrap());
        assert!(streams[0] == streams[1], "{name}");
    }
}

/// NaNs of every kind, zeros of both signs, the smallest and the largest values: bits are copied, not values.
#[test]
fn nan_payloads_are_preserved() {
    let dir = tempfile::tempdir().unwrap();
    let (rows, columns) = (12_usize, 70_usize);
    let bits: Vec<u8> =
        (0..rows * columns).flat_map(|at| (at as u16).wrapping_mul(40_503).to_le_bytes()).collect();
    for (dtype, columns) in [(Dtype::F16, columns), (Dtype::BF16, columns), (Dtype::F32, columns / 2)] {
        let described = fineline_weights::safetensors::TensorDescription {
            name: "model.layers.3.self_attn.k_proj.weight".to_owned(),
            shape: vec![rows, columns],
            dtype,
        };
        let mut bytes = Vec::new();
        fineline_weights::safetensors::write_header(&mut bytes, &[described]).unwrap();
        bytes.extend_from_slice(&bits);
        fs_err::write(dir.path().join("model.safetensors"), &bytes).unwrap();
        let source = WeightFiles::open(dir.path()).unwrap();
        let [there, back] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        save(&source, ConversionTarget::EasyLm { head_size: 4 }, None, there.path());
        let stream = WeightFiles::open(there.path()).unwrap().with_head_size(4).unwrap();
        save(&stream, SINGLE, None, back.path());
        assert_eq!(fs_err::read(back.path().join("model.safetensors")).unwrap(), bytes);
    }
}

#[test]
fn shards_are_filled_in_order_and_indexed() {
    let source = open("untied");
    let dir = tempfile::tempdir().unwrap();
    let (written, _) =
        save(&source, ConversionTarget::SafeTensors { max_shard_bytes: 4000 }, None, dir.path());
    let shards = written.files.len() - 1;
    assert!(shards > 4, "{written:?}");
    assert_eq!(written.files[0], format!("model-00001-of-{shards:05}.safetensors"));
    assert_eq!(written.files[shards], "model.safetensors.index.json");
    for name in &written.files[..shards] {
        assert!(fs_err::metadata(dir.path().join(name)).unwrap().len() < 4000 + 2000);
    }
    let index = fs_err::read_to_string(dir.path().join("model.safetensors.index.json")).unwrap();
    assert!(index.contains(&format!("\"total_size\": {}", 4 * 4878)), "{index}");
    let bytes: u64 =
        written.files.iter().map(|name| fs_err::metadata(dir.path().join(name)).unwrap().len()).sum();
    assert_eq!(bytes, written.bytes);
}

#[test]
fn another_precision_is_reported() {
    let source = open("untied");
    let dir = tempfile::tempdir().unwrap();
    let (_, parity) = save(&source, SINGLE, Some(Dtype::BF16), dir.path());
    let rounding = parity.rounding.unwrap();
    assert_eq!((rounding.overflowed, rounding.largest_error.to_bits()), (0, 0.0_f64.to_bits()));
    let expected = open("untied/bin-bfloat16");
    compare_weights(&all(&expected), &WeightFiles::open(dir.path()).unwrap(), None, &mut |_| {
        ControlFlow::Continue(())
    })
    .unwrap();
}

#[test]
fn the_head_size_is_required_and_must_fit() {
    let stream = WeightFiles::open(&fixture("tied/easylm-float16")).unwrap();
    let q = &stream.tensors["model.layers.0.self_attn.q_proj.weight"];
    let message = q.read().unwrap_err().to_string();
    assert!(message.contains("attention/wq/kernel") && message.contains("configuration"), "{message}");
    assert!(stream.tensors["model.layers.0.self_attn.v_proj.weight"].read().is_ok());
    let message = stream.with_head_size(6).unwrap_err().to_string();
    assert!(message.contains("wk/kernel") && message.contains("the head size 6"), "{message}");
}

#[test]
fn differences_are_found_and_reported() {
    let source = open("untied");
    let dir = tempfile::tempdir().unwrap();
    write_weights(&all(&source), SINGLE, None, dir.path(), &mut |_| ControlFlow::Continue(())).unwrap();
    let path = dir.path().join("model.safetensors");
    let mut bytes = fs_err::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs_err::write(&path, bytes).unwrap();
    let error = compare_weights(&all(&source), &WeightFiles::open(dir.path()).unwrap(), None, &mut |_| {
        ControlFlow::Continue(())
    })
    .unwrap_err();
    assert!(matches!(&error, WeightsError::Mismatch { name, .. } if name == "model.norm.weight"), "{error}");
}
