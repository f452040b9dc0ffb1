//! Names of what several ranks write of one checkpoint: files as Hugging Face numbers them, `model-00001-of-00004.safetensors`, and in them
//! parts of tensors, `exp_avg.lm_head.weight:8192`, whose number is that of their first value in the whole.

/// The file that a rank writes in place of the one called `whole`.
pub(crate) fn shard_name(whole: &str, rank: usize, size: usize) -> String {
    let stem = whole.strip_suffix(".safetensors").unwrap_or(whole);
    format!("{stem}-{:05}-of-{size:05}.safetensors", rank + 1)
}

/// Whether a file holds moments.
pub(crate) fn is_optimizer_file(name: &str) -> bool {
    name.starts_with("optimizer") && name.ends_with(".safetensors")
}

/// The name of the part of a tensor that begins with the value `start`. The whole, and a part from its beginning, have its own.
pub(crate) fn part_name(tensor: &str, start: usize) -> String {
    match start {
        0 => tensor.to_owned(),
        _ => format!("{tensor}:{start}"),
    }
}

/// The tensor that a part is of, and where it begins.
pub(crate) fn split_part_name(name: &str) -> (&str, usize) {
    let split = name.rsplit_once(':').and_then(|(tensor, start)| Some((tensor, start.parse().ok()?)));
    split.unwrap_or((name, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_are_numbered_as_hugging_face_does() {
        assert_eq!(shard_name("model.safetensors", 0, 4), "model-00001-of-00004.safetensors");
        assert!(is_optimizer_file(&shard_name("optimizer.safetensors", 11, 12)));
    }

    #[test]
    fn parts_say_where_they_begin() {
        assert_eq!(split_part_name("exp_avg.model.norm.weight"), ("exp_avg.model.norm.weight", 0));
        assert_eq!(split_part_name("exp_avg.lm_head.weight:8192"), ("exp_avg.lm_head.weight", 8192));
        assert_eq!(part_name("a", 0), "a");
        assert_eq!(split_part_name(&part_name("a", 7)), ("a", 7));
    }
}
