//! Reading, converting and using weights of every layout.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::{Workplace, files_below};

/// A directory of `scripts/fixtures/weights.py`.
fn fixture(relative: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/weights").join(relative)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Copies a fixture that a test changes.
fn copied(place: &Workplace, relative: &str) {
    for (name, bytes) in files_below(&fixture(relative)) {
        fs_err::create_dir_all(place.path("source")).unwrap();
        fs_err::write(place.path("source").join(name), bytes).unwrap();
    }
}

const LAYOUTS: [(&str, &str, u64); 7] = [
    ("untied/bin-float32", "pytorch", 4),
    ("untied/bin-float16", "pytorch", 2),
    ("untied/bin-bfloat16", "pytorch", 2),
    ("untied/easylm-float32", "easylm", 4),
    ("untied/easylm-bfloat16", "easylm", 2),
    ("tied/bin-float32", "pytorch", 4),
    ("tied/easylm-float16", "easylm", 2),
];

#[test]
fn every_layout_is_imported_and_exported_again() {
    for (relative, layout, size) in LAYOUTS {
        let place = Workplace::new();
        let source = fixture(relative);
        let parameters = if relative.starts_with("tied") { 2440 } else { 4878 };
        let report =
            place.run(&["weights", "import", text(&source), "--out", "hf", "--json"]).success().json();
        assert_eq!(report["source"]["layout"], layout, "{relative}");
        assert_eq!(report["source"]["parameters"], parameters);
        assert_eq!(report["source"]["bytes"], parameters * size);
        assert_eq!(report["parity"]["tensors"], report["source"]["tensors"]);
        assert_eq!(report["parity"]["rounding"], Value::Null);

        let found = place.run(&["weights", "inspect", "hf", "--json"]).success().json();
        assert_eq!(found["layout"], "safetensors");
        assert_eq!(
            (&found["missing"], &found["unexpected"], &found["ignored"]),
            (&json!([]), &json!([]), &json!([]))
        );
        let config: Value =
            serde_json::from_slice(&fs_err::read(place.path("hf/config.json")).unwrap()).unwrap();
        assert_eq!(config["torch_dtype"], relative.rsplit('-').next().unwrap());
        assert_eq!(
            (&config["max_position_embeddings"], &config["rope_theta"]),
            (&json!(32), &json!(10000.0))
        );

        place.run(&["weights", "export", "hf", "--to", "easylm", "--out", "stream"]).success();
        place.run(&["weights", "import", "stream", "--out", "again"]).success();
        assert!(files_below(&place.path("hf")) == files_below(&place.path("again")), "{relative}");
    }
}

#[test]
fn a_stream_without_a_configuration_accepts_one() {
    let place = Workplace::new();
    copied(&place, "untied/easylm-float32");
    fs_err::rename(place.path("source/config.json"), place.path("untied.json")).unwrap();
    fs_err::write(place.path("source/tokenizer.model"), "a tokenizer").unwrap();
    fs_err::write(place.path("source/README.md"), "not the model's").unwrap();
    let failed = place.run(&["weights", "import", "source", "--out", "hf"]).fails_with(2);
    assert!(
        failed.stderr().contains("source") && failed.stderr().contains("--config"),
        "{}",
        failed.stderr()
    );
    let failed =
        place.run(&["weights", "import", "source", "--out", "hf", "--config", "llama-70b"]).fails_with(2);
    assert!(failed.stderr().contains("llama-65b"), "{}", failed.stderr());
    let failed =
        place.run(&["weights", "import", "source", "--out", "hf", "--config", "llama-7b"]).fails_with(1);
    assert!(failed.stderr().contains("attention/wk/kernel"), "{}", failed.stderr());
    assert!(!place.path("hf").exists());

    let listed = place.run(&["weights", "inspect", "source"]).success().stdout();
    assert!(listed.contains("no config.json") && listed.contains("tokenizer.model"), "{listed}");
    let arguments =
        ["weights", "import", "source/streaming_params", "--out", "hf", "--config", "untied.json"];
    let said = place.run(&arguments).success().stdout();
    assert!(said.contains("21 tensors read back, identical to the source"), "{said}");
    let names: Vec<PathBuf> = files_below(&place.path("hf")).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["config.json", "model.safetensors", "tokenizer.model"].map(PathBuf::from));
}

#[test]
fn a_checkpoint_of_a_run_is_exported_without_its_state() {
    let place = Workplace::new();
    place.train(&["train.steps=4", "probes=[]"]);
    let arguments =
        ["weights", "export", "run", "--to", "safetensors", "--out", "hf", "--max-shard-size", "40KB"];
    place.run(&arguments).success();
    let names: Vec<String> =
        files_below(&place.path("hf")).into_iter().map(|(name, _)| name.display().to_string()).collect();
    assert!(names.iter().any(|name| name == "model.safetensors.index.json"), "{names:?}");
    assert!(
        names.contains(&"tokenizer.json".to_owned()) && names.contains(&"generation_config.json".to_owned())
    );
    let of_the_run = ["state.json", "manifest.json", "optimizer.safetensors", "fineline.toml"];
    assert!(of_the_run.iter().all(|file| !names.contains(&(*file).to_owned())), "{names:?}");

    // The model generates the same text in every layout.
    place.run(&["weights", "export", "run", "--to", "easylm", "--out", "stream"]).success();
    let generate = |checkpoint| {
        let arguments =
            ["generate", checkpoint, "--prompt", "The", "--greedy", "--max-new-tokens", "12", "--json"];
        place.run(&arguments).success().json()["ids"].clone()
    };
    let expected = generate("run");
    assert_eq!(generate("hf"), expected);
    assert_eq!(generate("stream"), expected);

    // Damaged checkpoints aren't exported.
    let model = place.path("run/checkpoints/step-00000004/model.safetensors");
    let mut bytes = fs_err::read(&model).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs_err::write(&model, bytes).unwrap();
    let failed = place.run(&["weights", "export", "run", "--to", "easylm", "--out", "damaged"]).fails_with(1);
    assert!(failed.stderr().contains("model.safetensors"), "{}", failed.stderr());
}

#[test]
fn conversion_to_another_precision_is_reported() {
    let place = Workplace::new();
    place.train(&["train.steps=2", "probes=[]"]);
    let arguments =
        ["weights", "export", "run", "--to", "safetensors", "--out", "half", "--dtype", "bf16", "--json"];
    let report = place.run(&arguments).success().json();
    let rounding = &report["parity"]["rounding"];
    let error = rounding["largest_error"].as_f64().unwrap();
    // bfloat16 has 8 significant bits. The error is at most half of the last one, of weights of about 1.
    assert!(error > 0.0 && error <= 0.004, "{rounding}");
    assert_eq!(rounding["overflowed"], 0);
    let found = place.run(&["weights", "inspect", "half", "--json"]).success().json();
    assert_eq!(found["dtypes"].as_object().unwrap().keys().collect::<Vec<_>>(), ["BF16"]);
}

#[test]
fn a_failed_import_leaves_nothing_behind() {
    let place = Workplace::new();
    copied(&place, "untied/bin-bfloat16");
    let file = place.path("source/pytorch_model.bin");
    let mut bytes = fs_err::read(&file).unwrap();
    // A byte in the values of the last storage, which end just before the header of the record `version`.
    let at = bytes.windows(8).position(|window| window == b"/version").unwrap() - 80;
    bytes[at] ^= 1;
    fs_err::write(&file, bytes).unwrap();
    let before = files_below(&place.path(""));
    let failed = place.run(&["weights", "import", "source", "--out", "hf"]).fails_with(1);
    assert!(
        failed.stderr().contains("pytorch_model.bin") && failed.stderr().contains("checksum"),
        "{}",
        failed.stderr()
    );
    assert!(!place.path("hf").exists());
    assert!(files_below(&place.path("")) == before);

    // Existing files aren't changed.
    place.write("hf/mine.txt", "mine");
    let failed = place.run(&["weights", "import", text(&fixture("tied")), "--out", "hf"]).fails_with(2);
    assert!(
        failed.stderr().contains("hf") && failed.stderr().contains("isn't an empty directory"),
        "{}",
        failed.stderr()
    );
    assert_eq!(files_below(&place.path("hf")).len(), 1);
    fs_err::remove_file(place.path("hf/mine.txt")).unwrap();
    place.run(&["weights", "import", text(&fixture("tied")), "--out", "hf"]).success();
}

#[test]
fn usage_errors_and_failures_have_different_exit_codes() {
    let place = Workplace::new();
    let source = fixture("tied");
    let usage = [
        &["weights", "import", text(&source)][..],
        &["weights", "export", text(&source), "--out", "hf"],
        &["weights", "export", text(&source), "--to", "pytorch", "--out", "hf"],
        &["weights", "import", text(&source), "--out", "hf", "--dtype", "int8"],
        &["weights", "import", text(&source), "--out", "hf", "--max-shard-size", "0"],
        &["weights", "import", text(&source), "--out", "hf", "--max-shard-size", "5 parsecs"],
    ];
    for arguments in usage {
        place.run(arguments).fails_with(2);
    }
    place.run(&["weights", "inspect", "nowhere"]).fails_with(1);
    assert!(!place.path("hf").exists());
}

/// The disk has 16 KiB, less than either layout needs.
#[test]
#[cfg(target_os = "linux")]
fn insufficient_disk_space_is_reported_before_anything_is_written() {
    let place = Workplace::new();
    let Some(_mounted) = crate::support::Mounted::new(place.path("disk"), "size=16k") else { return };
    let source = fixture("untied");
    let failed = place.run(&["weights", "import", text(&source), "--out", "disk/hf"]).fails_with(1);
    let said = failed.stderr();
    assert!(
        said.contains("disk/hf") && said.contains("16384 bytes free") && said.contains("nothing was written"),
        "{said}"
    );
    assert!(files_below(&place.path("disk")).is_empty());
}

#[test]
fn a_pickle_with_code_is_reported_and_not_executed() {
    let place = Workplace::new();
    fs_err::create_dir_all(place.path("source")).unwrap();
    fs_err::copy(fixture("untied/config.json"), place.path("source/config.json")).unwrap();
    // A handwritten zip archive with one stored file, a pickle that would create a file.
    let pickle = b"cos\nsystem\nX\x0c\x00\x00\x00touch hacked\x85R.";
    fs_err::write(place.path("source/pytorch_model.bin"), zip_of("a/data.pkl", pickle)).unwrap();
    for arguments in [&["weights", "inspect", "source"][..], &["weights", "import", "source", "--out", "hf"]]
    {
        let said = place.run(arguments).fails_with(1).stderr();
        assert!(said.contains("pytorch_model.bin") && said.contains("`os.system`"), "{said}");
    }
    assert!(!place.path("hacked").exists() && !place.path("hf").exists());
}

/// A zip archive of one file, without compression.
fn zip_of(name: &str, bytes: &[u8]) -> Vec<u8> {
    let (length, size) = (name.len() as u16, bytes.len() as u32);
    // CRC-32, bit by bit.
    let crc = !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(
            crc ^ u32::from(byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 },
        )
    });
    let common = |out: &mut Vec<u8>| {
        out.extend([20, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        for number in [crc, size, size] {
            out.extend(number.to_le_bytes());
        }
        out.extend(length.to_le_bytes());
        out.extend([0, 0]);
    };
    let mut zip = b"PK\x03\x04".to_vec();
    common(&mut zip);
    zip.extend(name.as_bytes());
    zip.extend(bytes);
    let directory = zip.len() as u32;
    zip.extend(b"PK\x01\x02\x14\x00");
    common(&mut zip);
    zip.extend([0; 14]);
    zip.extend(name.as_bytes());
    let end = zip.len() as u32;
    zip.extend(b"PK\x05\x06\x00\x00\x00\x00\x01\x00\x01\x00");
    zip.extend((end - directory).to_le_bytes());
    zip.extend(directory.to_le_bytes());
    zip.extend([0, 0]);
    zip
}
