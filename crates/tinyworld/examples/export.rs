//! Writes a world as JSON lines, for other programs: `export FOLDER [DOCUMENTS [SEED]]` leaves `documents.jsonl`
//! (`text`) and `tasks.jsonl` (one task a line, with its items).

use std::error::Error;
use std::io::Write;

use fineline_tinyworld::{World, WorldConfig};

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("usage: export FOLDER [DOCUMENTS [SEED]]")?;
    let mut config = WorldConfig::default();
    if let Some(documents) = arguments.next() {
        config.documents = documents.parse()?;
    }
    if let Some(seed) = arguments.next() {
        config.seed = seed.parse()?;
    }
    let world = World::new(&config);
    fs_err::create_dir_all(&folder)?;
    let create = |name| fs_err::File::create(format!("{folder}/{name}")).map(std::io::BufWriter::new);
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
