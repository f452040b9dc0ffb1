//! Configurations: resolved, explained, compared.

use serde_json::Value;

use crate::support::Workplace;

#[test]
fn show_prints_the_origin_of_each_value() {
    let place = Workplace::new();
    place.write("child.toml", "extends = [\"tiny.toml\"]\n\n[optim]\nlr = 0.5\n");
    let shown = place.run(&["config", "show", "child.toml", "--set", "run.seed=9"]).success().stdout();
    let line = |start: &str| shown.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
    assert!(line("lr = 0.5").ends_with("# child.toml:4"), "{shown}");
    assert!(line("seed = 9").ends_with("# --set"), "{shown}");
    assert!(line("hidden_size = 32").contains("# tiny.toml:"), "{shown}");
    assert!(line("eps = ").ends_with("# default"), "{shown}");
}

#[test]
fn output_of_show_resolves_to_itself() {
    let place = Workplace::new();
    let shown = place.run(&["config", "show", "tiny.toml"]).success().stdout();
    place.write("again.toml", &shown);
    assert_eq!(place.run(&["config", "diff", "tiny.toml", "again.toml"]).success().stdout(), "");
    let hash = |file| place.run(&["config", "show", file, "--json"]).success().json()["hash"].clone();
    assert_eq!(hash("tiny.toml"), hash("again.toml"));
}

#[test]
fn diff_shows_both_values() {
    let place = Workplace::new();
    place.write(
        "other.toml",
        "extends = [\"tiny.toml\"]\n[train]\nsteps = 99\n[checkpoint]\nkeep_every = 10\n",
    );
    let diff = place.run(&["config", "diff", "tiny.toml", "other.toml"]).success().stdout();
    insta::assert_snapshot!(diff, @r"
    + checkpoint.keep_every = 10
    - train.steps = 12
    + train.steps = 99
    ");
}

#[test]
fn the_model_section_overrides_its_preset() {
    let place = Workplace::new();
    place.write(
        "big.toml",
        "[run]\nname = \"big\"\ndir = \"big\"\n[model]\npreset = \"llama-7b\"\nvocab_size = 50000\n\
         [data]\nseq_len = 2048\n[[data.mix]]\nname = \"a\"\npath = \"a\"\n[train]\ntokens = \"1T\"\n\
             global_batch_size = 2048\nmicro_batch_size = 1\n",
    );
    let shown = place.run(&["config", "show", "big.toml", "--json"]).success().json();
    assert_eq!(shown["config"]["model"]["hidden_size"], 4096);
    assert_eq!(shown["config"]["model"]["vocab_size"], 50000);
    assert_eq!(shown["origins"]["model.hidden_size"], "preset llama-7b");
    let plan = place.run(&["plan", "big.toml", "--json", "--memory", "80"]).success().json();
    assert_eq!(plan["steps"], 1_000_000_000_000_u64 / (2048 * 2048));
    assert_eq!(plan["fits"], false);
    assert_eq!(plan["days"], serde_json::Value::Null, "no speed is configured");
}

#[test]
fn shipped_configurations_are_valid() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut seen = 0;
    for entry in fs_err::read_dir(root.join("configs")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "toml") {
            Workplace::new().run(&["config", "show", path.to_str().unwrap()]).success();
            seen += 1;
        }
    }
    assert!(seen >= 2);
}

/// Items about the generated world are useless for a corpus that doesn't describe it.
#[test]
fn local_text_has_no_probes_of_the_generated_world() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let config = root.join("configs/local-text.toml");
    let shown =
        Workplace::new().run(&["config", "show", config.to_str().unwrap(), "--json"]).success().json();
    assert_eq!(shown["config"].get("probes"), None, "{}", shown["config"]);
    assert_eq!(shown["config"]["validation"]["every_steps"], 200, "the rest is inherited");
}

/// Editors complete and check keys by the schema that a file names in its first line.
#[test]
fn shipped_configurations_fit_the_schema_that_they_name() {
    let configs = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../configs");
    let mut files = 0;
    for (directory, up) in [(configs.clone(), "../"), (configs.join("base"), "../../")] {
        let schema = fs_err::read(directory.join(up).join("docs/reference/config.schema.json")).unwrap();
        let schema: Value = serde_json::from_slice(&schema).unwrap();
        for entry in fs_err::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "toml") {
                continue;
            }
            let text = fs_err::read_to_string(&path).unwrap();
            let first_line = format!("#:schema {up}docs/reference/config.schema.json\n");
            assert!(text.starts_with(&first_line), "{}", path.display());
            let mut values: Value = toml::from_str(&text).unwrap();
            assert_eq!(misfits(&schema, &schema, &values), Vec::<String>::new(), "{}", path.display());
            values["train"]["micro_batch"] = 1.into();
            values["run"]["device"] = 7.into();
            values["schedule"]["kind"] = "cosin".into();
            let mut found = misfits(&schema, &schema, &values);
            found.sort();
            assert_eq!(found, ["device", "kind", "micro_batch"], "{}", path.display());
            files += 1;
        }
    }
    assert!(files >= 18, "{files}");
}

/// Returns the names of the fields that violate a schema. Supports the part of JSON Schema that ours uses.
fn misfits(root: &Value, schema: &Value, value: &Value) -> Vec<String> {
    if let Some(target) = schema["$ref"].as_str() {
        return misfits(root, root.pointer(target.trim_start_matches('#')).unwrap(), value);
    }
    for keyword in ["anyOf", "oneOf"] {
        if let Some(options) = schema[keyword].as_array() {
            let tried: Vec<_> = options.iter().map(|option| misfits(root, option, value)).collect();
            return tried.into_iter().min_by_key(Vec::len).unwrap_or_default();
        }
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(name) => vec![name],
        Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let of_type = |name: &&str| match *name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        _ => value.is_null(),
    };
    let is_allowed = schema["enum"].as_array().is_none_or(|values| values.contains(value))
        && schema.get("const").is_none_or(|only| only == value);
    if !(is_allowed && (types.is_empty() || types.iter().any(of_type))) {
        return vec![String::new()];
    }
    let mut found = Vec::new();
    if let (Some(fields), Some(properties)) = (value.as_object(), schema["properties"].as_object()) {
        for (name, value) in fields {
            let misfits =
                properties.get(name).map_or(vec![String::new()], |schema| misfits(root, schema, value));
            found
                .extend(misfits.into_iter().map(|inner| if inner.is_empty() { name.clone() } else { inner }));
        }
        let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        found.extend(required.filter(|name| !fields.contains_key(*name)).map(str::to_owned));
    }
    for item in value.as_array().into_iter().flatten() {
        found.extend(misfits(root, &schema["items"], item));
    }
    found
}
