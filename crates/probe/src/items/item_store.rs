//! The item store: a Parquet file with one row per choice of each item, from which all metrics can be
//! computed again.

use std::path::Path;
use std::sync::Arc;

use fineline_files::{AtomicFile, create_parent_directory};
use fs_err as fs;
use parquet::basic::Compression;
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int32Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use crate::error::ProbeError;
use crate::items::item_row::ItemRow;
use crate::parquet_columns::{read_column, write_column};
use crate::tasks::kind::TaskKind;

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

/// Writes `rows` to `path` atomically. Creates missing directories.
///
/// # Errors
/// [`ProbeError::Io`] if the file can't be written, [`ProbeError::Store`] if Parquet refuses the rows.
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
    write_column::<ByteArrayType, _>(&mut group, rows, |row| Some(bytes(&row.task)))?;
    write_column::<ByteArrayType, _>(&mut group, rows, |row| Some(bytes(row.kind.name())))?;
    write_column::<Int32Type, _>(&mut group, rows, |row| Some(row.item.cast_signed()))?;
    write_column::<Int32Type, _>(&mut group, rows, |row| row.cluster.map(u32::cast_signed))?;
    write_column::<Int32Type, _>(&mut group, rows, |row| Some(row.choice.cast_signed()))?;
    write_column::<Int32Type, _>(&mut group, rows, |row| Some(row.gold.cast_signed()))?;
    write_column::<DoubleType, _>(&mut group, rows, |row| Some(row.logprob))?;
    write_column::<DoubleType, _>(&mut group, rows, |row| row.byte_logprob)?;
    write_column::<DoubleType, _>(&mut group, rows, |row| row.unconditional_logprob)?;
    write_column::<DoubleType, _>(&mut group, rows, |row| row.optimal_logprob)?;
    write_column::<Int32Type, _>(&mut group, rows, |row| Some(row.n_tokens.cast_signed()))?;
    write_column::<Int32Type, _>(&mut group, rows, |row| Some(row.n_chars.cast_signed()))?;
    write_column::<Int32Type, _>(&mut group, rows, |row| Some(row.n_bytes.cast_signed()))?;
    write_column::<Int32Type, _>(&mut group, rows, |row| row.n_words.map(u32::cast_signed))?;
    write_column::<BoolType, _>(&mut group, rows, |row| Some(row.greedy))?;
    write_column::<ByteArrayType, _>(&mut group, rows, |row| row.text.as_deref().map(bytes))?;
    write_column::<BoolType, _>(&mut group, rows, |row| row.correct)?;
    write_column::<ByteArrayType, _>(&mut group, rows, |row| row.filter.as_deref().map(bytes))?;
    write_column::<ByteArrayType, _>(&mut group, rows, |row| row.answer.as_deref().map(bytes))?;
    write_column::<DoubleType, _>(&mut group, rows, |row| row.score)?;
    group.close()?;
    writer.close()?;
    Ok(())
}

/// Reads an item store.
///
/// # Errors
/// [`ProbeError::Io`] if the file can't be opened, [`ProbeError::Store`] if it is not an item store.
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
        let values = read_column::<Int32Type>(group, name)?.into_iter();
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
    let logprob = read_column::<DoubleType>(group, "logprob")?;
    let byte_logprob = read_column::<DoubleType>(group, "byte_logprob")?;
    let unconditional_logprob = read_column::<DoubleType>(group, "unconditional_logprob")?;
    let optimal_logprob = read_column::<DoubleType>(group, "optimal_logprob")?;
    let greedy = read_column::<BoolType>(group, "greedy")?;
    let text = texts(group, "text")?;
    let correct = read_column::<BoolType>(group, "correct")?;
    let filter = texts(group, "filter")?;
    let answer = texts(group, "answer")?;
    let score = read_column::<DoubleType>(group, "score")?;
    let mut rows: Vec<ItemRow> = Vec::with_capacity(item.len());
    for i in 0..item.len() {
        let task = tasks[i].as_deref().ok_or_else(missing("task"))?;
        let task = match rows.last() {
            Some(last) if &*last.task == task => Arc::clone(&last.task),
            _ => Arc::from(task),
        };
        let kind = kinds[i].as_deref().and_then(TaskKind::from_name);
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
    let values = read_column::<ByteArrayType>(group, name)?;
    values
        .into_iter()
        .map(|value| value.map(|value| value.as_utf8().map(str::to_owned)).transpose())
        .collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::items::item_row::tests::row;

    #[test]
    fn rows_read_back_as_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("items/step-00000001.parquet");
        let mut rows = vec![
            ItemRow { cluster: Some(u32::MAX), ..row(TaskKind::MultipleChoice, 0, 0, 1, -0.1) },
            row(TaskKind::MultipleChoice, 0, 1, 1, f64::MIN_POSITIVE / 3.0),
            ItemRow {
                n_words: Some(7),
                greedy: true,
                byte_logprob: Some(-0.5),
                unconditional_logprob: Some(f64::MIN),
                ..row(TaskKind::Perplexity, 3, 0, 0, -1e300)
            },
            ItemRow {
                text: Some("四十二".into()),
                correct: Some(true),
                filter: Some("strict".into()),
                answer: Some("42".into()),
                score: Some(0.1),
                ..row(TaskKind::Generation, u32::MAX, 0, 0, -2.5)
            },
            ItemRow { optimal_logprob: Some(-0.25), ..row(TaskKind::InContext, 4, 2, 5, -3.0) },
            ItemRow {
                text: Some(String::new()),
                correct: Some(false),
                ..row(TaskKind::GreedyMatch, 4, 0, 0, f64::NEG_INFINITY)
            },
        ];
        rows[2].task = "another".into();
        write_items(&path, &rows).unwrap();
        assert_eq!(read_items(&path).unwrap(), rows);
        write_items(&path, &rows[..1]).unwrap();
        assert_eq!(read_items(&path).unwrap(), rows[..1]);
        write_items(&path, &[row(TaskKind::GreedyMatch, 0, 0, 0, f64::NAN)]).unwrap();
        assert!(read_items(&path).unwrap()[0].logprob.is_nan());
        write_items(&path, &[]).unwrap();
        assert_eq!(read_items(&path).unwrap(), []);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary file is left");
    }

    #[test]
    fn what_is_no_item_store_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("items.parquet");
        assert!(read_items(&path).unwrap_err().to_string().contains("items.parquet"));
        fs::write(&path, "not parquet").unwrap();
        assert!(read_items(&path).unwrap_err().to_string().contains("items.parquet"));
        let unwritable = path.join("below-a-file.parquet");
        assert!(matches!(write_items(&unwritable, &[]), Err(ProbeError::Io(_))));
    }
}
