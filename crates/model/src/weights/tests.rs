//! Tests of loading and writing weights.

use fineline_weights::safetensors::{INDEX_FILE, SINGLE_FILE};
use serde_json::json;

use super::*;
use crate::inspect::inspect;
use crate::llama::{SpecialTokens, named_parameters};

fn config() -> LlamaConfig {
    LlamaConfig {
        vocab_size: 7,
        hidden_size: 8,
        intermediate_size: 12,
        num_hidden_layers: 1,
        num_attention_heads: 2,
        ..LlamaConfig::default()
    }
}

type Tensors = Vec<(String, TensorData)>;

fn tensors_of(config: &LlamaConfig) -> Tensors {
    named_parameters(&config.init(1, &Device::flex()))
}

fn headers(tensors: &Tensors) -> Vec<TensorHeader> {
    let header = |(name, data): &(String, TensorData)| TensorHeader {
        name: name.clone(),
        shape: data.shape().to_vec(),
        dtype: data.dtype(),
    };
    tensors.iter().map(header).collect()
}

fn write(path: &Path, tensors: &Tensors) -> io::Result<()> {
    let mut file = fs_err::File::create(path)?;
    write_safetensors(&mut file, &headers(tensors), tensors.iter().map(|(_, data)| data.clone()))
}

/// Writes a checkpoint directory with these files, and loads it.
fn load_written(config: &LlamaConfig, files: &[(&str, Tensors)]) -> Result<Tensors, ModelWeightsError> {
    let dir = tempfile::tempdir().unwrap();
    fs_err::write(dir.path().join("config.json"), config.to_hf(SpecialTokens::default()).to_string())
        .unwrap();
    for (file, tensors) in files {
        write(&dir.path().join(file), tensors).unwrap();
    }
    if files.len() > 1 {
        let weight_map: serde_json::Map<_, _> = files
            .iter()
            .flat_map(|(file, ts)| ts.iter().map(move |(name, _)| (name.clone(), json!(file))))
            .collect();
        let index = json!({"metadata": {"total_size": 1}, "weight_map": weight_map});
        fs_err::write(dir.path().join(INDEX_FILE), index.to_string()).unwrap();
    }
    load(dir.path(), &Device::flex()).map(|model| named_parameters(&model))
}

fn load_single(config: &LlamaConfig, tensors: Tensors) -> Result<Tensors, ModelWeightsError> {
    load_written(config, &[(SINGLE_FILE, tensors)])
}

#[test]
fn what_is_written_is_loaded() {
    for tie_word_embeddings in [false, true] {
        let config = LlamaConfig { tie_word_embeddings, ..config() };
        assert_eq!(load_single(&config, tensors_of(&config)).unwrap(), tensors_of(&config));
    }
}

#[test]
fn shards_are_put_together() {
    let mut first = tensors_of(&config());
    let second = first.split_off(4);
    let files = [("model-00001-of-00002.safetensors", first), ("model-00002-of-00002.safetensors", second)];
    assert_eq!(load_written(&config(), &files).unwrap(), tensors_of(&config()));
}

#[test]
fn half_precision_becomes_float32() {
    for dtype in [DType::F16, DType::BF16] {
        let halves: Tensors =
            tensors_of(&config()).into_iter().map(|(name, data)| (name, data.convert_dtype(dtype))).collect();
        let expected: Tensors =
            halves.clone().into_iter().map(|(name, data)| (name, data.convert_dtype(DType::F32))).collect();
        assert_eq!(load_single(&config(), halves).unwrap(), expected);
    }
}

#[test]
fn stored_frequencies_and_the_copy_of_a_tied_head_are_left_out() {
    let config = LlamaConfig { tie_word_embeddings: true, ..config() };
    let mut tensors = tensors_of(&config);
    let frequencies = TensorData::new(vec![1.0_f32, 0.01], [2]);
    tensors.push(("model.layers.0.self_attn.rotary_emb.inv_freq".to_owned(), frequencies));
    tensors.push(("lm_head.weight".to_owned(), tensors[0].1.clone()));
    assert_eq!(load_single(&config, tensors).unwrap(), tensors_of(&config));
}

#[test]
fn missing_extra_and_misshapen_tensors_are_named() {
    let mut tensors = tensors_of(&config());
    tensors.remove(2);
    tensors.remove(2);
    let error = load_single(&config(), tensors).unwrap_err();
    assert!(error.to_string().contains("model.layers.0.self_attn.k_proj.weight"), "{error}");
    assert!(matches!(error, ModelWeightsError::Missing { count: 2, .. }), "{error}");

    let mut tensors = tensors_of(&config());
    tensors.push(("model.layers.1.mlp.up_proj.weight".to_owned(), tensors[1].1.clone()));
    let error = load_single(&config(), tensors).unwrap_err();
    assert!(
        matches!(&error, ModelWeightsError::Unexpected { name, .. } if name.contains("layers.1")),
        "{error}"
    );

    let wider = LlamaConfig { intermediate_size: 16, ..config() };
    let error = load_single(&config(), tensors_of(&wider)).unwrap_err();
    assert!(
        error.to_string().contains("mlp.gate_proj.weight` has shape [16, 8], expected [12, 8]"),
        "{error}"
    );

    let mut tensors = tensors_of(&config());
    tensors[0].1 = tensors[0].1.clone().convert_dtype(DType::I64);
    let error = load_single(&config(), tensors).unwrap_err();
    assert!(matches!(&error, ModelWeightsError::Dtype { dtype: Dtype::I64, .. }), "{error}");
}

#[test]
fn a_truncated_file_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(SINGLE_FILE);
    write(&path, &tensors_of(&config())).unwrap();
    let whole = fs_err::read(&path).unwrap();
    for length in [0, 4, 100, whole.len() - 1] {
        fs_err::write(&path, &whole[..length]).unwrap();
        let error = load_as(&config(), dir.path(), &Device::flex()).unwrap_err();
        assert!(error.to_string().contains(SINGLE_FILE), "{length}: {error}");
    }
}

proptest::proptest! {
    #[test]
    fn arbitrary_bytes_are_refused_without_a_panic(mut bytes: Vec<u8>, header in 0_u64..40) {
        let dir = tempfile::tempdir().unwrap();
        for prefix in [header, u64::MAX - header] {
            bytes.splice(..bytes.len().min(8), prefix.to_le_bytes());
            fs_err::write(dir.path().join(SINGLE_FILE), &bytes).unwrap();
            proptest::prop_assert!(inspect(dir.path(), Some(&config())).is_err() || bytes.len() <= 40);
        }
    }
}

#[test]
fn writing_twice_gives_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let bytes = [0, 1].map(|_| {
        let path = dir.path().join(SINGLE_FILE);
        write(&path, &tensors_of(&config())).unwrap();
        fs_err::read(path).unwrap()
    });
    assert_eq!(bytes[0], bytes[1]);
    let inspection = inspect(dir.path(), Some(&config())).unwrap();
    assert_eq!(inspection.parameters, config().parameter_count());
    assert_eq!(inspection.bytes, 4 * inspection.parameters);
    let names: Vec<_> = inspection.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!((names.len(), names[0]), (12, "lm_head.weight"));
    assert!(inspection.missing.is_empty() && inspection.unexpected.is_empty());
    let deeper = LlamaConfig { num_hidden_layers: 2, tie_word_embeddings: true, ..config() };
    let inspection = inspect(dir.path(), Some(&deeper)).unwrap();
    assert_eq!((inspection.missing.len(), inspection.unexpected.len(), inspection.ignored.len()), (9, 0, 1));
}

#[test]
fn what_does_not_fit_its_header_is_not_written() {
    let tensors = tensors_of(&config());
    let values = || tensors.iter().map(|(_, data)| data.clone());
    let message = |headers: &[TensorHeader], values: Vec<TensorData>| {
        let error = write_safetensors(&mut Vec::new(), headers, values).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
        error.to_string()
    };
    let good = headers(&tensors);
    let last = &good.last().unwrap().name;
    assert!(message(&good, values().take(11).collect()).contains(last));
    assert!(message(&good, values().skip(1).collect()).contains(&good[0].name));
    let halves = values().map(|data| data.convert_dtype(DType::F16)).collect();
    assert!(message(&good, halves).contains(&good[0].name));
    let bools = TensorHeader { dtype: DType::U8, ..good[0].clone() };
    assert!(message(&[bools], Vec::new()).contains("U8"));
}
