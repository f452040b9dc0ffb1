//! Remote storage of a run in S3: moto's server, behind a proxy that injects faults.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use fineline_testing::reference_python;
use serde_json::Value;

use crate::support::{Finished, Workplace, files_below, wait_for};

const MIRROR: &str = "storage.remote=s3://runs/tiny";

/// moto's server with a bucket `runs`.
struct Store {
    server: Child,
    port: u16,
    proxy: Proxy,
}

impl Store {
    /// Starts the server. Without moto, returns `None` and records the test as skipped.
    fn start() -> Option<Self> {
        let python = reference_python(&["moto.server"])?;
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(python);
        command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()]);
        let server = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let store = Self { server, port, proxy: Proxy::start(port) };
        wait_for(|| TcpStream::connect(("127.0.0.1", port)).is_ok());
        assert!(store.request("PUT", "").starts_with("HTTP/1.1 200"));
        Some(store)
    }

    /// Sends a request directly to the server, not through the proxy.
    fn request(&self, method: &str, key: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        // moto reads the credentials and doesn't verify the signature.
        let who = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, \
                  Signature=0";
        let head = format!(
            "{method} /runs/{key} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: {who}\r\nContent-Length: \
            0\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn holds(&self, key: &str) -> bool {
        self.request("HEAD", key).starts_with("HTTP/1.1 200")
    }

    /// Runs `train tiny.toml` with the credentials of the store.
    fn train(&self, place: &Workplace, arguments: &[&str]) -> Finished {
        let mut command = place.command(&["train", "tiny.toml"]);
        command.args(arguments);
        let endpoint = format!("http://127.0.0.1:{}", self.proxy.port);
        let settings = [
            ("AWS_ENDPOINT_URL", endpoint.as_str()),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_REGION", "us-east-1"),
            // A run of twelve fast steps would otherwise remove its checkpoints before they are uploaded.
            ("FINELINE_FAULTS", "stall@6:2s,stall@10:2s"),
        ];
        Finished::of(command.envs(settings))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// A fault of a request.
#[derive(Clone, Copy)]
enum Fault {
    /// The connection is closed without a response.
    Drop,
    /// The response has this status and no body.
    Status(u16),
    /// The connection is closed in the middle of the response.
    Truncate,
    /// A byte in the middle of the response's body is changed.
    Corrupt,
}

/// A fault for the next `times` requests whose first line contains all `words`.
struct Planned {
    words: &'static [&'static str],
    fault: Fault,
    times: usize,
}

/// Forwards requests, one per connection.
struct Proxy {
    port: u16,
    planned: Arc<Mutex<Vec<Planned>>>,
}

impl Proxy {
    fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let planned = Arc::new(Mutex::new(Vec::<Planned>::new()));
        let faults = Arc::clone(&planned);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let faults = Arc::clone(&faults);
                // Clients may disconnect.
                std::thread::spawn(move || hand_on(client, server, &faults).ok());
            }
        });
        Self { port, planned }
    }

    fn plan(&self, words: &'static [&'static str], fault: Fault, times: usize) {
        self.planned.lock().unwrap().push(Planned { words, fault, times });
    }

    /// Removes the planned faults, and returns how many of them did not occur.
    fn left(&self) -> usize {
        std::mem::take(&mut *self.planned.lock().unwrap()).iter().map(|planned| planned.times).sum()
    }
}

fn hand_on(mut client: TcpStream, server: u16, planned: &Mutex<Vec<Planned>>) -> std::io::Result<()> {
    let (head, body) = read_request(&mut client)?;
    let first_line = head.lines().next().unwrap_or_default().to_owned();
    let fault = {
        let mut planned = planned.lock().unwrap();
        let applies = |planned: &&mut Planned| {
            planned.times > 0 && planned.words.iter().all(|word| first_line.contains(word))
        };
        planned.iter_mut().find(applies).map(|planned| {
            planned.times -= 1;
            planned.fault
        })
    };
    match fault {
        Some(Fault::Drop) => return Ok(()),
        Some(Fault::Status(status)) => {
            let answer = format!("HTTP/1.1 {status} Wrong\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            return client.write_all(answer.as_bytes());
        }
        _ => {}
    }
    let mut upstream = TcpStream::connect(("127.0.0.1", server))?;
    let kept = head.trim_end().lines().filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
    let head = kept.collect::<Vec<_>>().join("\r\n");
    upstream.write_all(format!("{head}\r\nConnection: close\r\n\r\n").as_bytes())?;
    upstream.write_all(&body)?;
    let mut answer = Vec::new();
    upstream.read_to_end(&mut answer)?;
    let start = answer.windows(4).position(|four| four == b"\r\n\r\n").map_or(0, |at| at + 4);
    let middle = usize::midpoint(start, answer.len());
    match fault {
        Some(Fault::Truncate) => answer.truncate(middle),
        Some(Fault::Corrupt) if middle < answer.len() => answer[middle] ^= 1,
        _ => {}
    }
    client.write_all(&answer)
}

fn read_request(client: &mut TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let mut body = vec![0; length.unwrap_or(0)];
    client.read_exact(&mut body)?;
    Ok((head, body))
}

fn events(place: &Workplace, run: &str, kind: &str) -> Vec<Value> {
    let mut events = place.log(&format!("{run}/events.jsonl"));
    events.retain(|event| event["event"] == kind);
    events
}

/// Compares all that two runs have left but events and times.
#[track_caller]
fn check_equal(place: &Workplace, run: &str, other: &str) {
    for log in ["metrics", "probes"] {
        let [left, right] = [run, other].map(|run| place.log(&format!("{run}/{log}.jsonl")));
        assert_eq!(left, right, "{log} of {run} and {other}");
    }
    for dir in ["checkpoints/step-00000012", "items"] {
        let [left, right] = [run, other].map(|run| files_below(&place.path(&format!("{run}/{dir}"))));
        assert!(left == right, "{dir} of {run} and {other} differ");
    }
}

/// The machine is lost before the newest checkpoint is completely uploaded. Its manifest, which makes it
/// complete, is missing.
fn lose(place: &Workplace, store: &Store) {
    fs_err::remove_dir_all(place.path("run")).unwrap();
    store.request("DELETE", "tiny/checkpoints/step-00000012/manifest.json");
}

#[test]
fn a_lost_run_is_downloaded_and_continues_bit_identically() {
    let Some(store) = Store::start() else { return };
    let place = Workplace::new();
    place.train(&["run.dir=unbroken"]);
    store.train(&place, &["--set", MIRROR]).success();
    check_equal(&place, "run", "unbroken");
    for step in ["04", "08", "12"] {
        assert!(store.holds(&format!("tiny/checkpoints/step-000000{step}/manifest.json")), "{step}");
    }
    assert_eq!(events(&place, "run", "upload_incomplete").len(), 0);

    lose(&place, &store);
    store.train(&place, &["--set", MIRROR]).success();
    check_equal(&place, "run", "unbroken");
    assert!(events(&place, "run", "downloaded")[0]["url"].as_str().unwrap().ends_with("step-00000008"));
    assert!(store.holds("tiny/checkpoints/step-00000012/manifest.json"));

    // By the URL of the run and of one of its checkpoints, on another machine without remote storage.
    for (dir, address, step) in
        [("whole", "s3://runs/tiny", 12), ("part", "s3://runs/tiny/checkpoints/step-00000004", 4)]
    {
        let dir = format!("run.dir={dir}");
        store.train(&place, &["--set", &dir, "--resume", address]).success();
        let run = dir.trim_start_matches("run.dir=");
        check_equal(&place, run, "unbroken");
        // Earlier ones are those of the downloaded run.
        assert_eq!(events(&place, run, "downloaded").last().unwrap()["step"], step);
    }
    let error =
        store.train(&place, &["--resume", "s3://runs/tiny/checkpoints/step-00000005", "--set", "run.dir=x"]);
    assert!(
        error.fails_with(1).stderr().contains("step-00000008"),
        "the error lists the existing checkpoints"
    );
}

#[test]
fn faults_of_remote_storage_do_not_affect_the_run() {
    let Some(store) = Store::start() else { return };
    let place = Workplace::new();
    place.train(&["run.dir=unbroken"]);
    // Failed uploads are of the last checkpoint: one that takes too long is superseded by the next.
    store.proxy.plan(&["PUT", "step-00000012/model.safetensors"], Fault::Drop, 4);
    store.proxy.plan(&["PUT", "step-00000012/optimizer.safetensors"], Fault::Status(500), 4);
    store.proxy.plan(&["PUT", "metrics.jsonl"], Fault::Status(503), 4);
    store.proxy.plan(&["GET", "list-type"], Fault::Truncate, 2);
    store.train(&place, &["--set", MIRROR]).success();
    assert_eq!(store.proxy.left(), 0);
    check_equal(&place, "run", "unbroken");
    assert!(!events(&place, "run", "upload_failed").is_empty());
    assert_eq!(events(&place, "run", "upload_incomplete").len(), 0);
    assert!(store.holds("tiny/checkpoints/step-00000012/manifest.json"));

    // A corrupt download is retried. A permanently corrupt checkpoint is skipped.
    lose(&place, &store);
    store.proxy.plan(&["GET", "step-00000008/model.safetensors"], Fault::Corrupt, 2);
    store.proxy.plan(&["GET", "metrics.jsonl"], Fault::Corrupt, 1);
    store.proxy.plan(&["GET", "step-00000008/optimizer.safetensors"], Fault::Truncate, 1);
    store.train(&place, &["--set", MIRROR]).success();
    assert_eq!(store.proxy.left(), 0);
    check_equal(&place, "run", "unbroken");
    assert_eq!(events(&place, "run", "checkpoint_damaged").len(), 0);
}

/// The manifest is corrupt when read back: the upload counts only after it is read back intact.
#[test]
fn a_corrupt_upload_is_repeated() {
    let Some(store) = Store::start() else { return };
    let place = Workplace::new();
    store.proxy.plan(&["GET", "step-00000012/manifest.json"], Fault::Corrupt, 3);
    store.train(&place, &["--set", MIRROR]).success();
    assert_eq!(store.proxy.left(), 0);
    let failed = events(&place, "run", "upload_failed");
    assert!(failed.iter().any(|event| event["reason"].as_str().unwrap().contains("BLAKE3")), "{failed:?}");
    assert!(store.holds("tiny/checkpoints/step-00000012/manifest.json"));
}

#[test]
fn failed_uploads_are_reported_and_not_fatal() {
    let Some(store) = Store::start() else { return };
    let place = Workplace::new();
    store.proxy.plan(&["PUT"], Fault::Status(500), usize::MAX / 2);
    let run = store.train(&place, &["--set", MIRROR, "--set", "storage.drain_timeout_s=2"]).success();
    assert!(run.stderr().contains("the newest checkpoint isn't uploaded"), "{}", run.stderr());
    assert_eq!(events(&place, "run", "upload_incomplete").len(), 1);
    assert!(!store.holds("tiny/checkpoints/step-00000012/manifest.json"));
    // The same command completes the upload.
    store.proxy.left();
    store.train(&place, &["--set", MIRROR]).success();
    assert!(store.holds("tiny/checkpoints/step-00000012/manifest.json"));

    // Unreachable storage is fatal only if a run may exist there.
    store.proxy.plan(&[], Fault::Drop, usize::MAX / 2);
    store.train(&place, &["--set", MIRROR, "--set", "storage.drain_timeout_s=0"]).success();
    let error = store.train(&place, &["--set", MIRROR, "--set", "run.dir=new"]).fails_with(1).stderr();
    assert!(error.contains("storage.remote") && error.contains("s3://runs/tiny/run.json"), "{error}");
}

#[test]
fn a_run_is_not_uploaded_over_another() {
    let Some(store) = Store::start() else { return };
    let place = Workplace::new();
    store.train(&place, &["--set", MIRROR]).success();
    place.train(&["run.dir=other"]);
    for arguments in [&["--set", "run.dir=other"][..], &["--set", "run.dir=new", "--resume", "never"]] {
        let error = store.train(&place, &[&["--set", MIRROR], arguments].concat()).fails_with(2).stderr();
        assert!(error.contains("s3://runs/tiny holds the checkpoints of another run"), "{error}");
    }
}

/// Checkpoints that a trigger keeps permanently are kept in remote storage, too.
#[test]
fn checkpoints_kept_by_a_trigger_are_kept_in_remote_storage() {
    let place = Workplace::new();
    let text = fs_err::read_to_string(place.path("tiny.toml")).unwrap();
    let text = text.replace("every_steps = 6\nrows = 4", "every_steps = 2\nrows = 4");
    let trigger = "[[triggers]]\nname = \"low\"\ntask = \"validation/world\"\nbelow = 1000.0\nactions = \
                  [\"keep\"]\ncooldown_steps = 4\n";
    place.write("tiny.toml", &format!("{text}\n{trigger}"));
    place.train(&["storage.remote=copy", "checkpoint.keep_last=1", "checkpoint.every_steps=2"]);
    let kept = |step: &str| place.path(&format!("copy/checkpoints/step-{step}/manifest.json")).exists();
    assert!(kept("00000006") && kept("00000012"));
    assert!(!kept("00000004") && !kept("00000008"), "remote storage has the retention of the run");
}

#[test]
fn a_path_can_be_remote_storage() {
    let place = Workplace::new();
    place.train(&["run.dir=unbroken"]);
    place.train(&["storage.remote=copy", "checkpoint.keep_last=2"]);
    assert!(
        !place.path("copy/checkpoints/step-00000004/manifest.json").exists(),
        "remote storage has the retention of the run"
    );
    fs_err::remove_dir_all(place.path("run")).unwrap();
    fs_err::remove_file(place.path("copy/checkpoints/step-00000012/manifest.json")).unwrap();
    place.train(&["storage.remote=copy", "checkpoint.keep_last=2"]);
    assert_eq!(place.log("run/metrics.jsonl"), place.log("unbroken/metrics.jsonl"));
    let error =
        place.run(&["train", "tiny.toml", "--set", "storage.remote=ftp://x/y"]).fails_with(2).stderr();
    assert!(error.contains("storage.remote") && error.contains("s3://bucket/prefix"), "{error}");
}
