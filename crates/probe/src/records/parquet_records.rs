//! Records from Parquet files, including nested columns.

use std::fs::File;

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::{Field, Row};
use serde_json::{Map, Number, Value};

use crate::records::record::ParsedRecords;

/// Reads each row as an object, numbered from 1.
pub(crate) fn parquet_records(file: File) -> ParsedRecords {
    let refused =
        |row: usize, error: parquet::errors::ParquetError| (row, Err(format!("not Parquet: {error}")));
    let reader = match SerializedFileReader::new(file) {
        Ok(reader) => reader,
        Err(error) => return vec![refused(1, error)],
    };
    let rows = match reader.get_row_iter(None) {
        Ok(rows) => rows,
        Err(error) => return vec![refused(1, error)],
    };
    let of_row = |(index, row): (usize, Result<Row, _>)| match row {
        Ok(row) => (index + 1, object(&row)),
        Err(error) => refused(index + 1, error),
    };
    rows.enumerate().map(of_row).collect()
}

fn object(row: &Row) -> Result<Value, String> {
    let field = |(name, field): (&String, &Field)| {
        Ok((name.clone(), value(field).map_err(|kind| format!("`{name}` is {kind}"))?))
    };
    let fields: Result<Map<_, _>, String> = row.get_column_iter().map(field).collect();
    Ok(Value::Object(fields?))
}

/// JSON value of a cell. On failure, the type that has none.
fn value(field: &Field) -> Result<Value, String> {
    let real = |real: f64| {
        Number::from_f64(real).map(Value::Number).ok_or_else(|| format!("{real}, not a finite number"))
    };
    Ok(match field {
        Field::Null => Value::Null,
        Field::Bool(value) => Value::from(*value),
        Field::Byte(value) => Value::from(*value),
        Field::Short(value) => Value::from(*value),
        Field::Int(value) => Value::from(*value),
        Field::Long(value) => Value::from(*value),
        Field::UByte(value) => Value::from(*value),
        Field::UShort(value) => Value::from(*value),
        Field::UInt(value) => Value::from(*value),
        Field::ULong(value) => Value::from(*value),
        Field::Float(value) => real(f64::from(*value))?,
        Field::Double(value) => real(*value)?,
        Field::Str(text) => Value::from(text.as_str()),
        Field::Bytes(bytes) => {
            let text =
                std::str::from_utf8(bytes.data()).map_err(|_| "bytes that are not valid UTF-8".to_owned())?;
            Value::from(text)
        }
        Field::Group(row) => object(row)?,
        Field::ListInternal(list) => {
            Value::Array(list.elements().iter().map(value).collect::<Result<_, _>>()?)
        }
        Field::MapInternal(map) => {
            let entry = |(name, field): &(Field, Field)| match name {
                Field::Str(name) => Ok((name.clone(), value(field)?)),
                other => Err(format!("a map with keys {other}, expected strings")),
            };
            Value::Object(map.entries().iter().map(entry).collect::<Result<_, String>>()?)
        }
        other => return Err(format!("{other}, an unsupported type")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A file with nested columns as written by `datasets`: `scripts/fixtures/parquet_records.py`.
    #[test]
    fn nested_columns_become_objects_and_lists() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/nested.parquet");
        let records: Vec<Value> = parquet_records(fs_err::File::open(path).unwrap().into_parts().0)
            .into_iter()
            .map(|(_, record)| record.unwrap())
            .collect();
        let expected = [
            json!({"id": "a", "question": "Wo?", "choices": {"text": ["x", "猫"], "label": ["A", "B"]},
                "answer": 1, "ok": true, "p": 0.5, "tags": []}),
            json!({"id": "b", "question": null, "choices": {"text": ["y"], "label": ["A"]}, "answer": -2,
                "ok": false, "p": 2.0, "tags": [["t"], []]}),
        ];
        assert_eq!(records, expected);
    }

    #[test]
    fn what_is_no_parquet_is_refused() {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, b"no Parquet file at all").unwrap();
        assert!(parquet_records(file).remove(0).1.unwrap_err().starts_with("not Parquet"));
    }
}
