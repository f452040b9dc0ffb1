//! Damaged files: each is rejected by name, and none causes a panic.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use fineline_weights::{ConversionTarget, StoredTensor, WeightFiles, WeightsError, write_weights};
use proptest::prelude::*;
use zip::CompressionMethod;
use zip::write::{SimpleFileOptions, ZipWriter};

use crate::{OTHERS, fixture, head_size};

/// A copy of a fixture to be damaged.
struct Copy(tempfile::TempDir);

impl Copy {
    fn of(relative: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for entry in fs_err::read_dir(fixture(relative)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                fs_err::copy(&path, dir.path().join(path.file_name().unwrap())).unwrap();
            }
        }
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = fs_err::read(self.path(name)).unwrap();
        change(&mut bytes);
        fs_err::write(self.path(name), bytes).unwrap();
    }

    /// Replaces text.
    fn replace(&self, name: &str, from: &str, to: &str) {
        let text = fs_err::read_to_string(self.path(name)).unwrap();
        assert!(text.contains(from));
        fs_err::write(self.path(name), text.replace(from, to)).unwrap();
    }

    fn error(&self) -> WeightsError {
        read_all(self.0.path(), 6).unwrap_err()
    }

    /// The message, which must have all of this.
    #[track_caller]
    fn fails_with(&self, parts: &[&str]) {
        let message = self.error().to_string();
        assert!(parts.iter().all(|part| message.contains(part)), "{message}, not {parts:?}");
    }
}

/// Reads every value of the weights.
fn read_all(path: &Path, head_size: usize) -> Result<(), WeightsError> {
    let checkpoint = WeightFiles::open(path)?.with_head_size(head_size)?;
    checkpoint.tensors.values().try_for_each(|tensor| tensor.read().map(drop))
}

const SHARD: &str = "pytorch_model-00002-of-00002.bin";
const INDEX: &str = "pytorch_model.bin.index.json";
const STREAM: &str = "streaming_params";

#[test]
fn shards_and_their_index_must_agree() {
    let copy = Copy::of("untied/bin-float32");
    fs_err::remove_file(copy.path(SHARD)).unwrap();
    copy.fails_with(&[INDEX, SHARD, "is missing", "11 tensors", "`lm_head.weight`"]);

    let copy = Copy::of("untied/bin-float32");
    copy.replace(INDEX, "\"lm_head.weight\"", "\"lm_head.bias\"");
    copy.fails_with(&[INDEX, "`lm_head.bias`", SHARD, "no such tensor"]);

    // In another shard than the index says.
    let copy = Copy::of("untied/bin-float32");
    copy.replace(
        INDEX,
        "\"model.embed_tokens.weight\": \"pytorch_model-00001",
        "\"model.embed_tokens.weight\": \"pytorch_model-00002",
    );
    copy.fails_with(&[INDEX, "`model.embed_tokens.weight`", SHARD]);

    let copy = Copy::of("untied/bin-float32");
    copy.change(SHARD, |bytes| {
        *bytes = fs_err::read(fixture("untied/bin-float32/pytorch_model-00001-of-00002.bin")).unwrap();
    });
    assert!(matches!(copy.error(), WeightsError::MissingTensor { .. }));

    let copy = Copy::of("untied/bin-float32");
    copy.replace(INDEX, "\"model.embed_tokens.weight\": \"pytorch_model-00001-of-00002.bin\",", "");
    let both = copy.path("pytorch_model-00003-of-00002.bin");
    fs_err::copy(copy.path("pytorch_model-00001-of-00002.bin"), both).unwrap();
    copy.replace(
        INDEX,
        "\"weight_map\": {",
        "\"weight_map\": {\"model.embed_tokens.weight\": \"pytorch_model-00003-of-00002.bin\",",
    );
    assert!(matches!(copy.error(), WeightsError::Duplicate { .. }));

    for outside in ["../model.bin", "/etc/passwd", "sub/model.bin", "..", ""] {
        let copy = Copy::of("untied/bin-float32");
        copy.replace(INDEX, SHARD, outside);
        assert!(matches!(copy.error(), WeightsError::OutsideDirectory { file, .. } if file == outside));
    }
    let copy = Copy::of("untied/bin-float32");
    copy.change(INDEX, |bytes| bytes.truncate(100));
    assert!(matches!(copy.error(), WeightsError::Index { .. }));
}

#[test]
fn directories_without_weights_or_with_several_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(read_all(dir.path(), 6), Err(WeightsError::NoWeights { .. })));
    assert!(matches!(read_all(&dir.path().join("nothing"), 6), Err(WeightsError::Io(_))));
    let copy = Copy::of("untied/easylm-float32");
    fs_err::copy(copy.path(STREAM), copy.path("streaming_params_20")).unwrap();
    copy.fails_with(&["streaming_params and streaming_params_20"]);
    read_all(&copy.path(STREAM), 6).unwrap();
    fs_err::write(copy.path("notes.txt"), "hello, this is text").unwrap();
    let error = read_all(&copy.path("notes.txt"), 6).unwrap_err();
    assert!(matches!(error, WeightsError::Unrecognized { .. }), "{error}");
}

#[test]
fn truncated_files_are_rejected() {
    for name in OTHERS.into_iter().chain(["untied", "tied"]) {
        let copy = Copy::of(name);
        let mut files: Vec<String> = fs_err::read_dir(copy.0.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|file| !file.contains(".json") && !file.starts_with("case"))
            .collect();
        files.sort();
        let file = files.last().unwrap();
        let whole = fs_err::read(copy.path(file)).unwrap();
        for length in [0, 1, 7, 30, 1000, whole.len() / 2, whole.len() - 60, whole.len() - 1] {
            fs_err::write(copy.path(file), &whole[..length]).unwrap();
            match read_all(copy.0.path(), head_size(name)) {
                // A stream may end after any tensor. The caller must check which tensors are missing.
                Ok(()) => assert!(length == 0 && name.contains("easylm"), "{name}, {file}: {length}"),
                Err(error) => assert!(error.to_string().contains(file), "{name}, {file}: {length}: {error}"),
            }
        }
    }
}

/// Every change of the values of an archive is detected.
#[test]
fn flipped_bits_are_found_by_the_checksum() {
    for (name, file) in [("untied/bin-bfloat16", "pytorch_model.bin"), ("untied/bin-float32", SHARD)] {
        let checkpoint = WeightFiles::open(&fixture(name)).unwrap();
        for tensor in checkpoint.tensors.values().filter(|tensor| tensor.file.ends_with(file)) {
            let copy = Copy::of(name);
            copy.change(file, |bytes| bytes[tensor.file_range().start as usize] ^= 16);
            let error = copy.error();
            assert!(matches!(error, WeightsError::Checksum { .. }), "{}: {error}", tensor.name);
        }
    }
    // The same in the pickle.
    let copy = Copy::of("untied/bin-float16");
    copy.change("pytorch_model.bin", |bytes| {
        let at = bytes.windows(7).position(|window| window == b"lm_head").unwrap();
        bytes[at] ^= 1;
    });
    copy.fails_with(&["pytorch_model.bin", "data.pkl"]);
}

#[test]
fn legacy_formats_are_rejected_with_advice() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pytorch_model.bin");
    let tar = [&b"storages"[..], &[0; 600]].concat();
    for start in [&b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."[..], &tar] {
        fs_err::write(&path, start).unwrap();
        let error = read_all(dir.path(), 6).unwrap_err();
        assert!(
            matches!(error, WeightsError::Legacy { .. }) && error.to_string().contains("torch.save"),
            "{error}"
        );
    }
}

/// A `.bin` with this pickle and these other files.
fn archive(pickle: &[u8], files: &[(&str, &[u8], CompressionMethod)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut zip = ZipWriter::new(fs_err::File::create(dir.path().join("pytorch_model.bin")).unwrap());
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    zip.start_file("archive/data.pkl", stored).unwrap();
    zip.write_all(pickle).unwrap();
    for (name, bytes, method) in files {
        zip.start_file(*name, SimpleFileOptions::default().compression_method(*method)).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap();
    dir
}

/// A pickle of one float32 tensor `w` in the storage `0` of `len` values, with this shape and these strides
/// (below 256).
fn pickle_of(len: u8, shape: &[u8], strides: &[u8]) -> Vec<u8> {
    let sizes = |sizes: &[u8]| {
        [&b"("[..], &sizes.iter().flat_map(|&size| [b'K', size]).collect::<Vec<u8>>(), b"t"].concat()
    };
    let storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK";
    [
        &b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n("[..],
        storage,
        &[len],
        b"tQK\x00",
        &sizes(shape),
        &sizes(strides),
        b"\x89NtRs.",
    ]
    .concat()
}

#[track_caller]
fn refused(dir: &tempfile::TempDir, parts: &[&str]) {
    let message = read_all(dir.path(), 6).unwrap_err().to_string();
    assert!(parts.iter().all(|part| message.contains(part)), "{message}, not {parts:?}");
}

#[test]
fn malicious_archives_are_rejected() {
    use CompressionMethod::Stored;
    let values = &[0; 48][..];
    let good = archive(&pickle_of(12, &[3, 4], &[4, 1]), &[("archive/data/0", values, Stored)]);
    read_all(good.path(), 6).unwrap();

    refused(
        &archive(&pickle_of(12, &[3, 4], &[4, 1]), &[]),
        &["`w`", "archive/data/0", "missing in the archive"],
    );
    refused(
        &archive(&pickle_of(12, &[3, 4], &[4, 1]), &[("archive/data/0", &[0; 40], Stored)]),
        &["`w`", "12 values of F32", "40 bytes"],
    );
    // Out of range of the storage, and more values than it has.
    for (shape, strides) in
        [(&[3, 5][..], &[5, 1][..]), (&[2, 2], &[11, 1]), (&[255, 255], &[0, 0]), (&[13], &[0])]
    {
        let dir = archive(&pickle_of(12, shape, strides), &[("archive/data/0", values, Stored)]);
        refused(&dir, &["`w`", "is outside of its storage"]);
    }
    let code = archive(b"cos\nsystem\nX\x02\x00\x00\x00ls\x85R.", &[]);
    refused(&code, &["pytorch_model.bin", "`os.system`", "no part of it was executed"]);
    refused(&archive(b"}.", &[("archive/byteorder", b"big", Stored)]), &["big-endian"]);
    let long = vec![b'N'; (16 << 20) + 1];
    refused(&archive(&long, &[]), &["data.pkl", "too large"]);
    // The same name twice.
    let twice = [&pickle_of(12, &[12], &[1])[..]].concat();
    let entry = &twice[3..twice.len() - 2];
    let twice = [&b"\x80\x02}("[..], entry, entry, b"u."].concat();
    let dir = archive(&twice, &[("archive/data/0", values, Stored)]);
    assert!(matches!(read_all(dir.path(), 6), Err(WeightsError::Duplicate { name, .. }) if name == "w"));

    // A zip archive of another program.
    let dir = tempfile::tempdir().unwrap();
    let mut zip = ZipWriter::new(fs_err::File::create(dir.path().join("pytorch_model.bin")).unwrap());
    zip.start_file("a", SimpleFileOptions::default().compression_method(Stored)).unwrap();
    zip.finish().unwrap();
    refused(&dir, &["without data.pkl"]);
}

/// The compression method of an entry is stored in both of its headers.
#[test]
fn compressed_values_are_rejected() {
    let dir =
        archive(&pickle_of(12, &[12], &[1]), &[("archive/data/0", &[0; 48], CompressionMethod::Stored)]);
    let path = dir.path().join("pytorch_model.bin");
    let mut bytes = fs_err::read(&path).unwrap();
    for (signature, offset, name) in [(b"PK\x03\x04", 8, 30), (b"PK\x01\x02", 10, 46)] {
        let headers: Vec<usize> = (0..bytes.len() - 60)
            .filter(|&at| {
                bytes[at..].starts_with(signature) && bytes[at + name..].starts_with(b"archive/data/0")
            })
            .collect();
        assert_eq!(headers.len(), 1);
        bytes[headers[0] + offset] = 8;
    }
    fs_err::write(&path, bytes).unwrap();
    refused(&dir, &["`w`", "compressed"]);
}

#[test]
fn malicious_streams_are_rejected() {
    let at = |copy: &Copy, text: &str| {
        let bytes = fs_err::read(copy.path(STREAM)).unwrap();
        bytes.windows(text.len()).position(|window| window == text.as_bytes()).unwrap()
    };
    // The length of the bytes of the first tensor follows its path.
    let copy = Copy::of("untied/easylm-float32");
    let place = at(&copy, "embedding") + "embedding".len();
    copy.change(STREAM, |bytes| {
        assert_eq!(bytes[place], 0xc5);
        bytes.splice(place..place + 3, [0xc6, 0xff, 0xff, 0xff, 0xff]);
    });
    copy.fails_with(&[STREAM, "`transformer/wte/embedding`", "the file ends"]);

    let copy = Copy::of("untied/easylm-float32");
    let place = at(&copy, "float32");
    copy.change(STREAM, |bytes| bytes[place..place + 7].copy_from_slice(b"float99"));
    copy.fails_with(&["`transformer/wte/embedding`", "float99"]);
    copy.change(STREAM, |bytes| bytes[place..place + 7].copy_from_slice(b"float32"));
    // The shape, [19, 18], precedes the type.
    copy.change(STREAM, |bytes| bytes[place - 2] = 17);
    copy.fails_with(&["`transformer/wte/embedding`", "[19, 17]", "1368 bytes"]);

    let copy = Copy::of("untied/easylm-float32");
    let chunks = b"\x92\x92\xa7lm_head\xa6kernel\xc4\x1c\x81\xb9__msgpack_chunked_array__\xc3";
    copy.change(STREAM, |bytes| bytes.extend_from_slice(chunks));
    copy.fails_with(&["`lm_head/kernel`", "chunks"]);

    let copy = Copy::of("untied/easylm-float32");
    copy.change(STREAM, |bytes| bytes.extend_from_within(..));
    assert!(
        matches!(copy.error(), WeightsError::Duplicate { name, .. } if name == "transformer/wte/embedding")
    );

    let copy = Copy::of("untied/easylm-float32");
    copy.change(STREAM, |bytes| bytes.extend_from_slice(b"\x92\xdd\xff\xff\xff\xff"));
    copy.fails_with(&[STREAM, "near byte"]);
}

#[test]
fn tensors_without_a_name_in_the_other_layout_are_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let write_easylm = |relative: &str, head_size: usize, go_on: ControlFlow<()>| {
        let checkpoint = WeightFiles::open(&fixture(relative)).unwrap();
        let tensors: Vec<&StoredTensor> = checkpoint.tensors.values().collect();
        write_weights(&tensors, ConversionTarget::EasyLm { head_size }, None, dir.path(), &mut |_| go_on)
            .unwrap_err()
    };
    let message = write_easylm("untied/bin-float16", 6, ControlFlow::Continue(())).to_string();
    assert!(message.contains("inv_freq") && message.contains("no name in EasyLM"), "{message}");
    for head_size in [0, 3, 22] {
        let message =
            write_easylm("untied/model.safetensors", head_size, ControlFlow::Continue(())).to_string();
        assert!(message.contains(&format!("the head size {head_size}")), "{message}");
    }
    let error = write_easylm("untied/bin-float16", 6, ControlFlow::Break(()));
    assert!(matches!(error, WeightsError::Stopped));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// A file with any byte changed is read or rejected, without a panic.
    #[test]
    fn changed_files_cause_no_panic(
        which in 0..OTHERS.len(),
        at: prop::sample::Index,
        byte: u8,
        cut: prop::sample::Index,
    ) {
        let name = OTHERS[which];
        let copy = Copy::of(name);
        for entry in fs_err::read_dir(copy.0.path()).unwrap() {
            let path = entry.unwrap().path();
            let mut bytes = fs_err::read(&path).unwrap();
            let place = at.index(bytes.len());
            bytes[place] = byte;
            fs_err::write(&path, &bytes).unwrap();
            let _ = read_all(&path, head_size(name));
            let length = cut.index(bytes.len());
            fs_err::write(&path, &bytes[..length]).unwrap();
            let _ = read_all(&path, head_size(name));
        }
    }

    #[test]
    fn arbitrary_files_cause_no_panic(mut bytes: Vec<u8>, header in 0_u64..40, start in 0_usize..4) {
        let dir = tempfile::tempdir().unwrap();
        for prefix in [header, u64::MAX - header] {
            let starts = [&prefix.to_le_bytes()[..], b"PK\x03\x04", b"\x92\x92\xa6params", b"\x80\x02}"];
            let length = starts[start].len().min(bytes.len());
            bytes.splice(..length, starts[start].iter().copied());
            for name in ["model.safetensors", "pytorch_model.bin", "streaming_params"] {
                let path = dir.path().join(name);
                fs_err::write(&path, &bytes).unwrap();
                let _ = read_all(&path, 6);
            }
        }
    }
}
