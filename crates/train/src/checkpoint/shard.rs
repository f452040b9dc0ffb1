//! Names of the files and tensors that several ranks write for one checkpoint.
//!
//! Files are numbered as in Hugging Face's shards, `model-00001-of-00004.safetensors`. Slices of tensors are
//! named after the tensor and the offset of their first value, `exp_avg.lm_head.weight:8192`.

/// Returns the name of the file that a rank writes instead of `file`.
pub(crate) fn shard_name(file: &str, rank: usize, size: usize) -> String {
    let stem = file.strip_suffix(".safetensors").unwrap_or(file);
    format!("{stem}-{:05}-of-{size:05}.safetensors", rank + 1)
}

/// Returns whether a file holds optimizer state.
pub(crate) fn is_optimizer_file(name: &str) -> bool {
    name.starts_with("optimizer") && name.ends_with(".safetensors")
}

/// Returns the name of the slice of a tensor that starts at the value `start`. A slice from 0 has the name of
/// the tensor.
pub(crate) fn slice_name(tensor: &str, start: usize) -> String {
    match start {
        0 => tensor.to_owned(),
        _ => format!("{tensor}:{start}"),
    }
}

/// Splits the name of a slice into the name of the tensor and the offset.
pub(crate) fn parse_slice_name(name: &str) -> (&str, usize) {
    let split = name.rsplit_once(':').and_then(|(tensor, start)| Some((tensor, start.parse().ok()?)));
    split.unwrap_or((name, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_numbered_as_by_hugging_face() {
        assert_eq!(shard_name("model.safetensors", 0, 4), "model-00001-of-00004.safetensors");
        assert!(is_optimizer_file(&shard_name("optimizer.safetensors", 11, 12)));
    }

    #[test]
    fn slice_names_round_trip() {
        assert_eq!(parse_slice_name("exp_avg.model.norm.weight"), ("exp_avg.model.norm.weight", 0));
        assert_eq!(parse_slice_name("exp_avg.lm_head.weight:8192"), ("exp_avg.lm_head.weight", 8192));
        assert_eq!(slice_name("a", 0), "a");
        assert_eq!(parse_slice_name(&slice_name("a", 7)), ("a", 7));
    }
}
