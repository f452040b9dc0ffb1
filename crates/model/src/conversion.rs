//! Conversion of a checkpoint from one layout to another.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use fineline_diagnostics::ConfigSection;
use fineline_files::{AtomicDirectory, write_synced};
use fineline_weights::{
    ByteProgress, ConversionParity, ConversionSummary, ConversionTarget, Dtype, IgnoredEntry, StoredTensor,
    WeightFiles, WeightLayout, check_space, compare_weights, write_weights,
};
use serde::Serialize;
use serde_json::Value;

use crate::llama::{
    CONFIG_FILE, LlamaConfig, ModelConfigError, SpecialTokens, completed_config, read_config_file,
};
use crate::weights::{MatchedTensors, ModelWeightsError, check_tied_head, match_tensors};

/// Files next to the weights and the configuration that belong to a model: tokenizers and related files.
const COMPANIONS: [&str; 10] = [
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
    "merges.txt",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
];

/// Conversion of a checkpoint into another layout.
#[derive(Clone, Debug)]
pub struct Conversion {
    /// Directory or file to read.
    pub source: PathBuf,
    /// Source of the model's architecture.
    pub architecture: ArchitectureSource,
    /// Directory to write. It must not exist, or be empty.
    pub out: PathBuf,
    /// Layout to write.
    pub format: ConversionFormat,
    /// Precision to write. `None` keeps the precision of each tensor.
    pub dtype: Option<Dtype>,
}

/// Source of the architecture of weights.
#[derive(Clone, Debug)]
pub enum ArchitectureSource {
    /// The `config.json` next to the weights.
    Beside,
    /// Another `config.json`.
    File(PathBuf),
    /// A known architecture, such as a preset.
    Known(Box<LlamaConfig>),
}

/// A layout that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConversionFormat {
    /// Safetensors in Hugging Face's layout.
    SafeTensors {
        /// Maximum size of the tensors in one file, in bytes. A single larger tensor gets a file of its own.
        max_shard_bytes: u64,
    },
    /// EasyLM's `streaming_params`.
    EasyLm,
}

/// Report of a conversion.
#[derive(Clone, Debug, Serialize)]
pub struct ConversionReport {
    /// The checkpoint that was read.
    pub source: SourceReport,
    /// Directory that was written.
    pub out: PathBuf,
    /// Layout that was written.
    pub layout: WeightLayout,
    /// Weight files that were written.
    pub written: ConversionSummary,
    /// Files that were copied unchanged.
    pub copied: Vec<String>,
    /// Contents of the source that were skipped.
    pub ignored: Vec<IgnoredEntry>,
    /// Comparison of the written weights, read back, with the source.
    pub parity: ConversionParity,
    /// Seconds spent writing.
    pub write_s: f64,
    /// Seconds spent reading back and comparing.
    pub compare_s: f64,
}

/// The checkpoint that a conversion read.
#[derive(Clone, Debug, Serialize)]
pub struct SourceReport {
    /// Directory or file.
    pub path: PathBuf,
    /// Its layout.
    pub layout: WeightLayout,
    /// Its weight files.
    pub files: Vec<PathBuf>,
    /// Number of tensors read.
    pub tensors: usize,
    /// Number of values in them.
    pub parameters: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// Number of tensors of each precision.
    pub dtypes: BTreeMap<String, usize>,
}

impl Conversion {
    /// Reads the source, writes it, reads the result back and compares. `on_bytes` is called twice for each
    /// byte of the source.
    ///
    /// # Errors
    /// Returns [`ModelWeightsError::Exists`] if `out` isn't empty, [`ModelWeightsError::NoConfig`] or
    /// [`ModelWeightsError::Config`] if the architecture can't be read, and other variants for tensors that
    /// don't match it, a disk that is too small, and files that can't be read or written. As much as possible
    /// is checked before anything is written. After an error, `out` is as it was before.
    pub fn run(&self, on_bytes: ByteProgress<'_>) -> Result<ConversionReport, ModelWeightsError> {
        if self.out.exists() && !is_empty_dir(&self.out)? {
            return Err(ModelWeightsError::Exists { path: self.out.clone() });
        }
        let (config, config_file) = self.config()?;
        let checkpoint = WeightFiles::open(&self.source)?.with_head_size(config.head_size())?;
        let MatchedTensors { tensors, ignored } = match_tensors(&checkpoint, &config)?;
        check_tied_head(&checkpoint, &config)?;
        check_space(&self.out, &tensors, self.dtype)?;

        let start = Instant::now();
        let dir = AtomicDirectory::create(&self.out)?;
        let config_json = self.config_json(&config, config_file.as_deref(), &tensors)?;
        write_synced(&dir.path().join(CONFIG_FILE), &config_json)?;
        let copied = companions(&self.source);
        for name in &copied {
            write_synced(&dir.path().join(name), &fs_err::read(dir_of(&self.source).join(name))?)?;
        }
        let target = match self.format {
            ConversionFormat::SafeTensors { max_shard_bytes } => {
                ConversionTarget::SafeTensors { max_shard_bytes }
            }
            ConversionFormat::EasyLm => ConversionTarget::EasyLm { head_size: config.head_size() },
        };
        let written = write_weights(&tensors, target, self.dtype, dir.path(), on_bytes)?;
        let write_s = start.elapsed().as_secs_f64();

        let start = Instant::now();
        let back = WeightFiles::open(dir.path())?.with_head_size(config.head_size())?;
        let parity = compare_weights(&tensors, &back, self.dtype, on_bytes)?;
        let compare_s = start.elapsed().as_secs_f64();
        dir.commit()?;
        Ok(ConversionReport {
            source: source_report(&checkpoint, &tensors),
            out: self.out.clone(),
            layout: back.layout,
            written,
            copied,
            ignored,
            parity,
            write_s,
            compare_s,
        })
    }

    /// Returns the architecture, and the file that it was read from.
    fn config(&self) -> Result<(LlamaConfig, Option<PathBuf>), ModelWeightsError> {
        let file = match &self.architecture {
            ArchitectureSource::Known(config) => {
                config.validate("").map_err(ModelConfigError::from)?;
                return Ok(((**config).clone(), None));
            }
            ArchitectureSource::File(file) => file.clone(),
            ArchitectureSource::Beside => dir_of(&self.source).join(CONFIG_FILE),
        };
        if matches!(self.architecture, ArchitectureSource::Beside) && self.source.exists() && !file.is_file()
        {
            return Err(ModelWeightsError::NoConfig { path: self.source.clone() });
        }
        Ok((read_config_file(&file)?, Some(file)))
    }

    fn config_json(
        &self,
        config: &LlamaConfig,
        file: Option<&Path>,
        tensors: &[&StoredTensor],
    ) -> Result<Vec<u8>, ModelWeightsError> {
        let dtype = match self.dtype.unwrap_or(tensors[0].dtype) {
            Dtype::F16 => "float16",
            Dtype::BF16 => "bfloat16",
            _ => "float32",
        };
        let json = if let Some(file) = file {
            completed_config(file, config, dtype)?
        } else {
            let mut json = config.to_hf(SpecialTokens::default());
            // Unknown special tokens are omitted, so that defaults apply, rather than written as null.
            if let Value::Object(said) = &mut json {
                said.retain(|_, value| !value.is_null());
                said.insert("torch_dtype".to_owned(), Value::from(dtype));
            }
            json
        };
        let mut bytes = serde_json::to_vec_pretty(&json).map_err(io::Error::from)?;
        bytes.push(b'\n');
        Ok(bytes)
    }
}

fn source_report(checkpoint: &WeightFiles, tensors: &[&StoredTensor]) -> SourceReport {
    let mut dtypes = BTreeMap::new();
    for tensor in tensors {
        *dtypes.entry(tensor.dtype.to_string()).or_default() += 1;
    }
    SourceReport {
        path: checkpoint.path.clone(),
        layout: checkpoint.layout,
        files: checkpoint.files().into_iter().map(Path::to_owned).collect(),
        tensors: tensors.len(),
        parameters: tensors.iter().map(|tensor| tensor.len() as u64).sum(),
        bytes: tensors.iter().map(|tensor| tensor.bytes()).sum(),
        dtypes,
    }
}

/// Returns the names of the files next to weights that belong to the model.
pub(crate) fn companions(path: &Path) -> Vec<String> {
    let dir = dir_of(path);
    COMPANIONS.into_iter().filter(|name| dir.join(name).is_file()).map(ToOwned::to_owned).collect()
}

/// Returns the directory itself, or the parent directory of a file.
fn dir_of(path: &Path) -> &Path {
    if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) }
}

fn is_empty_dir(path: &Path) -> io::Result<bool> {
    Ok(path.is_dir() && fs_err::read_dir(path)?.next().is_none())
}
