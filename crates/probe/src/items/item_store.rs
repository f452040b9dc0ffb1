//! The item store: one Parquet row for each choice of each item, from which all metrics can be computed again.

use std::path::Path;
use std::sync::Arc;

use fineline_files::{AtomicFile, create_parent_directory};
use fs_err as fs;
use parquet::basic::Compression;
use parquet::column::reader::get_typed_column_reader;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int32Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;

use crate::error::ProbeError;
use crate::tasks::task::Kind;

/// How a choice of an item was scored.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemRow {
    /// The task.
    pub task: Arc<str>,
    /// How the task's items are scored.
    pub kind: Kind,
    /// The item's index in the task's whole data: the same in every subset.
    pub item: u32,
    /// Items of the task with the same number share a passage, a subject or a fact: errors count them together. The same in every subset.
    pub cluster: Option<u32>,
    /// The choice, from 0.
    pub choice: u32,
    /// The right choice of the item.
    pub gold: u32,
    /// Sum of the tokens' log-probabilities, in nats. NaN where the model's were.
    pub logprob: f64,
    /// The part of it that belongs to tokens with bytes, where others (EOS) are scored too.
    pub byte_logprob: Option<f64>,
    /// The same sum where the choice follows the context that all items share, in tasks that ask for it.
    pub unconditional_logprob: Option<f64>,
    /// In in-context tasks: the log-probability of the answer to the best learner of the family that the function is drawn from.
    pub optimal_logprob: Option<f64>,
    /// Tokens scored.
    pub n_tokens: u32,
    /// Characters (Unicode scalar values) of the scored text, without the space before it: of the choice, or of what continues it.
    pub n_chars: u32,
    /// UTF-8 bytes of the same.
    pub n_bytes: u32,
    /// Words of the same, in perplexity tasks.
    pub n_words: Option<u32>,
    /// Whether each token was the likeliest one.
    pub greedy: bool,
    /// The answer, in tasks where the model writes one.
    pub text: Option<String>,
    /// Whether that answer is right.
    pub correct: Option<bool>,
    /// The filter that took from the answer what was judged, where the task names filters.
    pub filter: Option<String>,
    /// What it took.
    pub answer: Option<String>,
    /// A score of what was judged, where the task has one (`f1`).
    pub score: Option<f64>,
}

impl ItemRow {
    /// Whether the model gave the choice numbers.
    pub(crate) fn is_finite(&self) -> bool {
        self.logprob.is_finite() && self.unconditional_logprob.is_none_or(f64::is_finite)
    }
}

const SCHEMA: &str = "
    message items {
        REQUIRED BYTE_ARRAY task (STRING);
        REQUIRED BYTE_ARRAY kind (STRING);
        REQUIRED INT32 item (UINT_32);
        OPTIONAL INT32 cluster (UINT_32);
        REQUIRED INT32 choice (UINT_32);
        REQUIRED INT32 gold (UINT_32);
        REQUIRED DOUBLE logprob;
        OPTIONAL DOUBLE byte_logprob;
        OPTIONAL DOUBLE unconditional_logprob;
        OPTIONAL DOUBLE optimal_logprob;
        REQUIRED INT32 n_tokens (UINT_32);
        REQUIRED INT32 n_chars (UINT_32);
        REQUIRED INT32 n_bytes (UINT_32);
        OPTIONAL INT32 n_words (UINT_32);
        REQUIRED BOOLEAN greedy;
        OPTIONAL BYTE_ARRAY text (STRING);
        OPTIONAL BOOLEAN correct;
        OPTIONAL BYTE_ARRAY filter (STRING);
        OPTIONAL BYTE_ARRAY answer (STRING);
        OPTIONAL DOUBLE score;
    }";

/// Writes `rows` to `path`, whole or not at all. Folders are made as needed.
pub fn write_items(path: &Path, rows: &[ItemRow]) -> Result<(), ProbeError> {
    create_parent_directory(path)?;
    let mut file = AtomicFile::create(path)?;
    write_parquet(&mut file, rows)
        .map_err(|error| ProbeError::Store { path: path.to_owned(), message: error.to_string() })?;
    Ok(file.commit()?)
}

fn write_parquet(file: &mut AtomicFile, rows: &[ItemRow]) -> Result<(), ParquetError> {
    let schema = Arc::new(parse_message_type(SCHEMA)?);
    let properties = WriterProperties::builder().set_compression(Compression::SNAPPY).build();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties))?;
    let mut group = writer.next_row_group()?;
    let bytes = |text: &str| ByteArray::from(text.as_bytes().to_vec());
    write::<ByteArrayType, _>(&mut group, rows, |row| Some(bytes(&row.task)))?;
    write::<ByteArrayType, _>(&mut group, rows, |row| Some(bytes(row.kind.name())))?;
    write::<Int32Type, _>(&mut group, rows, |row| Some(row.item.cast_signed()))?;
    write::<Int32Type, _>(&mut group, rows, |row| row.cluster.map(u32::cast_signed))?;
    write::<Int32Type, _>(&mut group, rows, |row| Some(row.choice.cast_signed()))?;
    write::<Int32Type, _>(&mut group, rows, |row| Some(row.gold.cast_signed()))?;
    write::<DoubleType, _>(&mut group, rows, |row| Some(row.logprob))?;
    write::<DoubleType, _>(&mut group, rows, |row| row.byte_logprob)?;
    write::<DoubleType, _>(&mut group, rows, |row| row.unconditional_logprob)?;
    write::<DoubleType, _>(&mut group, rows, |row| row.optimal_logprob)?;
    write::<Int32Type, _>(&mut group, rows, |row| Some(row.n_tokens.cast_signed()))?;
    write::<Int32Type, _>(&mut group, rows, |row| Some(row.n_chars.cast_signed()))?;
    write::<Int32Type, _>(&mut group, rows, |row| Some(row.n_bytes.cast_signed()))?;
    write::<Int32Type, _>(&mut group, rows, |row| row.n_words.map(u32::cast_signed))?;
    write::<BoolType, _>(&mut group, rows, |row| Some(row.greedy))?;
    write::<ByteArrayType, _>(&mut group, rows, |row| row.text.as_deref().map(bytes))?;
    write::<BoolType, _>(&mut group, rows, |row| row.correct)?;
    write::<ByteArrayType, _>(&mut group, rows, |row| row.filter.as_deref().map(bytes))?;
    write::<ByteArrayType, _>(&mut group, rows, |row| row.answer.as_deref().map(bytes))?;
    write::<DoubleType, _>(&mut group, rows, |row| row.score)?;
    group.close()?;
    writer.close()?;
    Ok(())
}

/// Writes the next column. Definition levels are ignored where the schema says REQUIRED.
pub(crate) fn write<T: DataType, R>(
    group: &mut SerializedRowGroupWriter<'_, impl std::io::Write + Send>,
    rows: &[R],
    value: impl Fn(&R) -> Option<T::T>,
) -> Result<(), ParquetError> {
    let values: Vec<Option<T::T>> = rows.iter().map(value).collect();
    let levels: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
    let values: Vec<T::T> = values.into_iter().flatten().collect();
    let mut column = group
        .next_column()?
        .ok_or_else(|| ParquetError::General("more columns than the schema has".into()))?;
    column.typed::<T>().write_batch(&values, Some(&levels), None)?;
    column.close()
}

/// Reads an item store.
pub fn read_items(path: &Path) -> Result<Vec<ItemRow>, ProbeError> {
    let failed =
        |error: ParquetError| ProbeError::Store { path: path.to_owned(), message: error.to_string() };
    let file = fs::File::open(path)?.into_file();
    let reader = SerializedFileReader::new(file).map_err(failed)?;
    let mut rows = Vec::new();
    for index in 0..reader.num_row_groups() {
        let group = reader.get_row_group(index).map_err(failed)?;
        rows.extend(read_group(group.as_ref()).map_err(failed)?);
    }
    Ok(rows)
}

fn read_group(group: &dyn RowGroupReader) -> Result<Vec<ItemRow>, ParquetError> {
    let integers = |name| {
        let values = read::<Int32Type>(group, name)?.into_iter();
        Ok::<_, ParquetError>(values.map(|value| value.map(i32::cast_unsigned)))
    };
    let missing = |name| move || ParquetError::General(format!("column `{name}` has a null"));
    let required =
        |name| integers(name)?.map(|value| value.ok_or_else(missing(name))).collect::<Result<Vec<u32>, _>>();
    let (item, choice, gold) = (required("item")?, required("choice")?, required("gold")?);
    let (n_tokens, n_chars, n_bytes) = (required("n_tokens")?, required("n_chars")?, required("n_bytes")?);
    let cluster: Vec<Option<u32>> = integers("cluster")?.collect();
    let n_words: Vec<Option<u32>> = integers("n_words")?.collect();
    let tasks = texts(group, "task")?;
    let kinds = texts(group, "kind")?;
    let logprob = read::<DoubleType>(group, "logprob")?;
    let byte_logprob = read::<DoubleType>(group, "byte_logprob")?;
    let unconditional_logprob = read::<DoubleType>(group, "unconditional_logprob")?;
    let optimal_logprob = read::<DoubleType>(group, "optimal_logprob")?;
    let greedy = read::<BoolType>(group, "greedy")?;
    let text = texts(group, "text")?;
    let correct = read::<BoolType>(group, "correct")?;
    let filter = texts(group, "filter")?;
    let answer = texts(group, "answer")?;
    let score = read::<DoubleType>(group, "score")?;
    let mut rows: Vec<ItemRow> = Vec::with_capacity(item.len());
    for i in 0..item.len() {
        let task = tasks[i].as_deref().ok_or_else(missing("task"))?;
        let task = match rows.last() {
            Some(last) if &*last.task == task => Arc::clone(&last.task),
            _ => Arc::from(task),
        };
        let kind = kinds[i].as_deref().and_then(Kind::from_name);
        rows.push(ItemRow {
            task,
            kind: kind.ok_or_else(|| ParquetError::General(format!("unknown kind {:?}", kinds[i])))?,
            item: item[i],
            cluster: cluster[i],
            choice: choice[i],
            gold: gold[i],
            logprob: logprob[i].ok_or_else(missing("logprob"))?,
            byte_logprob: byte_logprob[i],
            unconditional_logprob: unconditional_logprob[i],
            optimal_logprob: optimal_logprob[i],
            n_tokens: n_tokens[i],
            n_chars: n_chars[i],
            n_bytes: n_bytes[i],
            n_words: n_words[i],
            greedy: greedy[i].ok_or_else(missing("greedy"))?,
            text: text[i].clone(),
            correct: correct[i],
            filter: filter[i].clone(),
            answer: answer[i].clone(),
            score: score[i],
        });
    }
    Ok(rows)
}

fn texts(group: &dyn RowGroupReader, name: &str) -> Result<Vec<Option<String>>, ParquetError> {
    let values = read::<ByteArrayType>(group, name)?;
    values
        .into_iter()
        .map(|value| value.map(|value| value.as_utf8().map(str::to_owned)).transpose())
        .collect()
}

/// The values of a column, `None` for nulls; one for each row of the group.
fn read<T: DataType>(group: &dyn RowGroupReader, name: &str) -> Result<Vec<Option<T::T>>, ParquetError> {
    let metadata = group.metadata();
    let index = metadata.columns().iter().position(|column| column.column_path().string() == name);
    let index = index.ok_or_else(|| ParquetError::General(format!("there is no column `{name}`")))?;
    let column = metadata.column(index);
    if column.column_type() != T::get_physical_type() {
        return Err(ParquetError::General(format!("column `{name}` is of type {}", column.column_type())));
    }
    let optional = column.column_descr().max_def_level() > 0;
    let rows = metadata.num_rows() as usize;
    let mut reader = get_typed_column_reader::<T>(group.get_column_reader(index)?);
    let (mut values, mut levels) = (Vec::new(), Vec::new());
    let mut read = 0;
    while read < rows {
        let (records, _, _) =
            reader.read_records(rows - read, optional.then_some(&mut levels), None, &mut values)?;
        if records == 0 {
            return Err(ParquetError::General(format!("column `{name}` ends at row {read} of {rows}")));
        }
        read += records;
    }
    let mut values = values.into_iter();
    Ok((0..rows).map(|row| if optional && levels[row] == 0 { None } else { values.next() }).collect())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn row(kind: Kind, item: u32, choice: u32, gold: u32, logprob: f64) -> ItemRow {
        ItemRow {
            task: "test".into(),
            kind,
            item,
            cluster: None,
            choice,
            gold,
            logprob,
            byte_logprob: None,
            unconditional_logprob: None,
            optimal_logprob: None,
            n_tokens: 2,
            n_chars: 3,
            n_bytes: 4,
            n_words: None,
            greedy: false,
            text: None,
            correct: None,
            filter: None,
            answer: None,
            score: None,
        }
    }

    #[test]
    fn rows_read_back_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("items/step-00000001.parquet");
        let mut rows = vec![
            ItemRow { cluster: Some(u32::MAX), ..row(Kind::MultipleChoice, 0, 0, 1, -0.1) },
            row(Kind::MultipleChoice, 0, 1, 1, f64::MIN_POSITIVE / 3.0),
            ItemRow {
                n_words: Some(7),
                greedy: true,
                byte_logprob: Some(-0.5),
                unconditional_logprob: Some(f64::MIN),
                ..row(Kind::Perplexity, 3, 0, 0, -1e300)
            },
            ItemRow {
                text: Some("四十二".into()),
                correct: Some(true),
                filter: Some("strict".into()),
                answer: Some("42".into()),
                score: Some(0.1),
                ..row(Kind::Generation, u32::MAX, 0, 0, -2.5)
            },
            ItemRow { optimal_logprob: Some(-0.25), ..row(Kind::InContext, 4, 2, 5, -3.0) },
            ItemRow {
                text: Some(String::new()),
                correct: Some(false),
                ..row(Kind::Cloze, 4, 0, 0, f64::NEG_INFINITY)
            },
        ];
        rows[2].task = "another".into();
        write_items(&path, &rows).unwrap();
        assert_eq!(read_items(&path).unwrap(), rows);
        write_items(&path, &rows[..1]).unwrap();
        assert_eq!(read_items(&path).unwrap(), rows[..1]);
        write_items(&path, &[row(Kind::Cloze, 0, 0, 0, f64::NAN)]).unwrap();
        assert!(read_items(&path).unwrap()[0].logprob.is_nan());
        write_items(&path, &[]).unwrap();
        assert_eq!(read_items(&path).unwrap(), []);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn what_is_no_item_store_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("items.parquet");
        assert!(read_items(&path).unwrap_err().to_string().contains("items.parquet"));
        fs::write(&path, "not parquet").unwrap();
        assert!(read_items(&path).unwrap_err().to_string().contains("items.parquet"));
        let unwritable = path.join("below-a-file.parquet");
        assert!(matches!(write_items(&unwritable, &[]), Err(ProbeError::Io(_))));
    }
}
