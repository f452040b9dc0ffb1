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

/// Files that belong to a model beside its weights and its configuration: tokenizers and what goes with them.
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

/// A checkpoint in one layout, to be written in another.
#[derive(Clone, Debug)]
pub struct Conversion {
    /// The folder or file to read.
    pub source: PathBuf,
    /// What model it is of.
    pub architecture: ArchitectureSource,
    /// The folder to write: nothing, or an empty one.
    pub out: PathBuf,
    /// The layout to write.
    pub format: ConversionFormat,
    /// The precision to write; without it, that of each tensor.
    pub dtype: Option<Dtype>,
}

/// Where the architecture of weights is said.
#[derive(Clone, Debug)]
pub enum ArchitectureSource {
    /// In the `config.json` beside them.
    Beside,
    /// In another `config.json`.
    File(PathBuf),
    /// It is this.
    Known(Box<LlamaConfig>),
}

/// A layout that can be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConversionFormat {
    /// Safetensors as Hugging Face has them.
    SafeTensors {
        /// Bytes of tensors in one file, if no single tensor takes more.
        max_shard_bytes: u64,
    },
    /// EasyLM's `streaming_params`.
    EasyLm,
}

/// What a conversion read and wrote.
#[derive(Clone, Debug, Serialize)]
pub struct ConversionReport {
    /// What was read.
    pub source: SourceReport,
    /// Where it was written to.
    pub out: PathBuf,
    /// In what form.
    pub layout: WeightLayout,
    /// The files with weights.
    pub written: ConversionSummary,
    /// Files that were taken over as they are.
    pub copied: Vec<String>,
    /// What was left out of what was read.
    pub ignored: Vec<IgnoredEntry>,
    /// How what was written, read back, compares with what it came from.
    pub parity: ConversionParity,
    /// Seconds that writing took.
    pub write_s: f64,
    /// Seconds that reading back and comparing took.
    pub compare_s: f64,
}

/// What a conversion read.
#[derive(Clone, Debug, Serialize)]
pub struct SourceReport {
    /// The folder or file.
    pub path: PathBuf,
    /// Its layout.
    pub layout: WeightLayout,
    /// The files with weights.
    pub files: Vec<PathBuf>,
    /// Tensors that were read.
    pub tensors: usize,
    /// Values in these.
    pub parameters: u64,
    /// Bytes of these.
    pub bytes: u64,
    /// How many there are of each precision.
    pub dtypes: BTreeMap<String, usize>,
}

impl Conversion {
    /// Reads, writes, reads back and compares. `on_bytes` is called twice for each byte of the source.
    ///
    /// # Errors
    /// Anything wrong with the source or in the way of the target, found as far as possible before anything is written; after an
    /// error there is nothing at `out` that wasn't there before.
    pub fn run(&self, on_bytes: ByteProgress<'_>) -> Result<ConversionReport, ModelWeightsError> {
        if self.out.exists() && !is_empty_folder(&self.out)? {
            return Err(ModelWeightsError::Exists { path: self.out.clone() });
        }
        let (config, config_file) = self.config()?;
        let checkpoint = WeightFiles::open(&self.source)?.with_head_size(config.head_size())?;
        let MatchedTensors { tensors, ignored } = match_tensors(&checkpoint, &config)?;
        check_tied_head(&checkpoint, &config)?;
        check_space(&self.out, &tensors, self.dtype)?;

        let start = Instant::now();
        let folder = AtomicDirectory::create(&self.out)?;
        let config_json = self.config_json(&config, config_file.as_deref(), &tensors)?;
        write_synced(&folder.path().join(CONFIG_FILE), &config_json)?;
        let copied = companions(&self.source);
        for name in &copied {
            write_synced(&folder.path().join(name), &fs_err::read(folder_of(&self.source).join(name))?)?;
        }
        let target = match self.format {
            ConversionFormat::SafeTensors { max_shard_bytes } => {
                ConversionTarget::SafeTensors { max_shard_bytes }
            }
            ConversionFormat::EasyLm => ConversionTarget::EasyLm { head_size: config.head_size() },
        };
        let written = write_weights(&tensors, target, self.dtype, folder.path(), on_bytes)?;
        let write_s = start.elapsed().as_secs_f64();

        let start = Instant::now();
        let back = WeightFiles::open(folder.path())?.with_head_size(config.head_size())?;
        let parity = compare_weights(&tensors, &back, self.dtype, on_bytes)?;
        let compare_s = start.elapsed().as_secs_f64();
        folder.commit()?;
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

    /// The architecture, and the file that says it.
    fn config(&self) -> Result<(LlamaConfig, Option<PathBuf>), ModelWeightsError> {
        let file = match &self.architecture {
            ArchitectureSource::Known(config) => {
                config.validate("").map_err(ModelConfigError::from)?;
                return Ok(((**config).clone(), None));
            }
            ArchitectureSource::File(file) => file.clone(),
            ArchitectureSource::Beside => folder_of(&self.source).join(CONFIG_FILE),
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
            // Tokens that aren't known are better left to defaults than said to be absent.
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

/// The names of the files beside weights that belong to their model.
pub(crate) fn companions(path: &Path) -> Vec<String> {
    let folder = folder_of(path);
    COMPANIONS.into_iter().filter(|name| folder.join(name).is_file()).map(ToOwned::to_owned).collect()
}

/// The folder itself, or that of a file.
fn folder_of(path: &Path) -> &Path {
    if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) }
}

fn is_empty_folder(path: &Path) -> io::Result<bool> {
    Ok(path.is_dir() && fs_err::read_dir(path)?.next().is_none())
}
