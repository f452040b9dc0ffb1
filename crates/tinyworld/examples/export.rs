//! Writes a world as JSON lines, for other programs: `export DIRECTORY [DOCUMENTS [SEED]]` creates
//! `documents.jsonl` (with `text`) and `tasks.jsonl` (one task per line, with its items).

use std::error::Error;
use std::io::Write;

use fineline_tinyworld::{World, WorldConfig};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().ok_or("usage: export DIRECTORY [DOCUMENTS [SEED]]")?;
    let mut config = WorldConfig::default();
    if let Some(documents) = arguments.next() {
        config.documents = documents.parse()?;
    }
    if let Some(seed) = arguments.next() {
        config.seed = seed.parse()?;
    }
    let world = World::new(&config);
    fs_err::create_dir_all(&dir)?;
    let create = |name| fs_err::File::create(format!("{dir}/{name}")).map(std::io::BufWriter::new);
    let mut documents = create("documents.jsonl")?;
    for index in 0..config.documents {
        writeln!(documents, "{}", serde_json::json!({ "text": world.document(index) }))?;
    }
    let mut tasks = create("tasks.jsonl")?;
    for task in world.tasks() {
        writeln!(tasks, "{}", serde_json::to_string(&task)?)?;
    }
    documents.flush()?;
    tasks.flush()?;
    Ok(())
}
