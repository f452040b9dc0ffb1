//! Reading and writing of single columns of Parquet files.

use parquet::column::reader::get_typed_column_reader;
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::file::reader::RowGroupReader;
use parquet::file::writer::SerializedRowGroupWriter;

/// Writes the next column. Definition levels are ignored if the schema says REQUIRED.
pub(crate) fn write_column<T: DataType, R>(
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

/// Reads a column: one value per row of the group, `None` for nulls.
pub(crate) fn read_column<T: DataType>(
    group: &dyn RowGroupReader,
    name: &str,
) -> Result<Vec<Option<T::T>>, ParquetError> {
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
