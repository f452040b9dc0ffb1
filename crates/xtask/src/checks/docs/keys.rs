//! Configuration keys that pages name are in the schema.

use serde_json::Value;

use super::markdown::Page;

/// Last segments that make a dotted word a file name and not a key.
const FILE_EXTENSIONS: [&str; 19] = [
    "bin",
    "csv",
    "gz",
    "json",
    "jsonl",
    "log",
    "lock",
    "md",
    "model",
    "npy",
    "parquet",
    "prom",
    "py",
    "rs",
    "safetensors",
    "sh",
    "toml",
    "txt",
    "v1",
];

/// The schema of a run's configuration.
pub(super) struct Schema(Value);

impl Schema {
    pub(super) fn parse(text: &str) -> serde_json::Result<Self> {
        serde_json::from_str(text).map(Self)
    }

    fn is_section(&self, name: &str) -> bool {
        self.0["properties"].get(name).is_some()
    }

    /// Whether a path of keys leads to a value. Indices such as `[0]` and `[]` are ignored.
    fn has(&self, key: &str) -> bool {
        let mut schemas = vec![&self.0];
        for segment in key.split('.') {
            let name = segment.split('[').next().unwrap_or_default();
            schemas = schemas.iter().flat_map(|schema| self.variants(schema)).collect();
            if schemas
                .iter()
                .any(|schema| schema["additionalProperties"].as_bool() != Some(false) && is_open(schema))
            {
                return true;
            }
            schemas = schemas.iter().filter_map(|schema| schema["properties"].get(name)).collect();
            if schemas.is_empty() {
                return false;
            }
        }
        true
    }

    /// The schemas that `schema` stands for: references, alternatives and items of arrays resolved.
    fn variants<'a>(&'a self, schema: &'a Value) -> Vec<&'a Value> {
        let mut variants = vec![schema];
        if let Some(reference) = schema["$ref"].as_str()
            && let Some(target) = self.0.pointer(reference.trim_start_matches('#'))
        {
            variants.extend(self.variants(target));
        }
        for alternatives in ["anyOf", "oneOf", "allOf"] {
            for alternative in schema[alternatives].as_array().into_iter().flatten() {
                variants.extend(self.variants(alternative));
            }
        }
        if let Some(items) = schema.get("items") {
            variants.extend(self.variants(items));
        }
        variants
    }
}

/// Whether an object takes keys of any name.
fn is_open(schema: &Value) -> bool {
    schema["additionalProperties"].is_object()
}

/// Keys of the page that the schema does not have, with a message each.
pub(super) fn unknown_keys(page: &Page, schema: &Schema) -> Vec<(usize, String)> {
    let spans = page.spans.iter().filter_map(|(line, span)| Some((*line, key_of_span(span)?)));
    let fences = page.fences.iter().flat_map(|fence| match fence.language.as_str() {
        "toml" => keys_of_toml(&fence.lines, fence.line),
        _ => keys_of_commands(&fence.lines, fence.line),
    });
    spans
        .chain(fences)
        .filter(|(_, key)| {
            let mut segments = key.split(['.', '[']);
            let first = segments.next().unwrap_or_default();
            let is_file = key.rsplit('.').next().is_some_and(|last| FILE_EXTENSIONS.contains(&last));
            schema.is_section(first) && segments.next().is_some() && !is_file && !schema.has(key)
        })
        .map(|(line, key)| (line, format!("`{key}` is no key of docs/reference/config.schema.json")))
        .collect()
}

/// `a.b`, `a.b = 1`, `[a.b]` and `[[a.b]]` name the key `a.b`.
fn key_of_span(span: &str) -> Option<String> {
    let span = span.trim_start_matches("--set ").trim_start_matches('[').trim_end_matches(']');
    let end = span.find(|c: char| !(c.is_ascii_alphanumeric() || "_.[]".contains(c))).unwrap_or(span.len());
    let (key, rest) = span.split_at(end);
    let is_key = key.contains('.') && !key.ends_with('.') && !key.contains("..");
    (is_key && (rest.is_empty() || rest.trim_start().starts_with('='))).then(|| key.to_owned())
}

fn keys_of_toml(lines: &[String], first: usize) -> Vec<(usize, String)> {
    let mut table = String::new();
    let mut keys = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim_end();
        if line.starts_with('[') {
            line.trim_matches(['[', ']', ' ']).clone_into(&mut table);
            keys.push((first + index, table.clone()));
        } else if let Some((key, _)) = line.split_once('=')
            && line.starts_with(|c: char| c.is_ascii_lowercase())
        {
            let key = key.trim();
            keys.push((
                first + index,
                if table.is_empty() { key.to_owned() } else { format!("{table}.{key}") },
            ));
        }
    }
    keys
}

/// Keys after `--set`.
fn keys_of_commands(lines: &[String], first: usize) -> Vec<(usize, String)> {
    let mut keys = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        for argument in line.split("--set ").skip(1) {
            let key = argument.trim_start_matches(['\'', '"']).split('=').next().unwrap_or_default();
            keys.push((first + index, key.to_owned()));
        }
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = r##"{
        "properties": {
            "data": {"$ref": "#/$defs/Data"},
            "probes": {"type": "array", "items": {"properties": {"suite": {}}, "additionalProperties": false}}
        },
        "$defs": {"Data": {"properties": {"seq_len": {}, "chunks": {"anyOf": [{"$ref": "#/$defs/C"}, {"type": "null"}]}}},
                  "C": {"properties": {"path": {}}}}
    }"##;

    fn unknown(source: &str) -> Vec<(usize, String)> {
        let keys = unknown_keys(&Page::parse(source), &Schema::parse(SCHEMA).unwrap());
        keys.into_iter()
            .map(|(line, message)| (line, message.split('`').nth(1).unwrap().to_owned()))
            .collect()
    }

    #[test]
    fn keys_of_spans_are_checked() {
        assert!(
            unknown(
                "`data.seq_len`, `data.chunks.path = 1`, `probes[0].suite`, `data.json`, `other.x`, `data`"
            )
            .is_empty()
        );
        assert_eq!(
            unknown("`data.seqlen = 4` `[data.chunk]`"),
            [(1, "data.seqlen".into()), (1, "data.chunk".into())]
        );
    }

    #[test]
    fn keys_of_fences_are_checked() {
        let source = "```toml\n[data]\nseq_len = 1\nlength = 2 # x\n[[probes]]\nsuite = 1\n```\n\n\
                      ```sh\nf --set data.x=1\n```\n";
        assert_eq!(unknown(source), [(4, "data.length".into()), (10, "data.x".into())]);
    }
}
