//! A local hub that responds as Hugging Face's does and simulates failures.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Fault in the next request whose path contains a text.
#[derive(Clone, Debug)]
pub(crate) struct Trouble {
    pub(crate) path: &'static str,
    pub(crate) kind: Kind,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// The connection breaks after this many bytes of the body.
    Break(usize),
    /// The response has this status and these headers.
    Status(u16, &'static str),
    /// Ranges aren't supported.
    WholeFile,
    /// This many bytes are missing at the end, and the header has the shorter length.
    Short(usize),
    /// One byte is wrong.
    Flip,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    /// The repository `org/data` has this commit.
    commit: String,
    converted: BTreeMap<String, Vec<u8>>,
    token: Option<String>,
    troubles: VecDeque<Trouble>,
    log: Vec<String>,
}

pub(crate) struct Server {
    pub(crate) endpoint: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    /// A hub with the data set and the model `org/data`, which have these files on `main` (and `ckpt_1`).
    pub(crate) fn start(files: &[(&str, &str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let state = Arc::new(Mutex::new(State { commit: "c0ffee".repeat(6), ..State::default() }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                // Some tests disconnect the client on purpose.
                std::thread::spawn(move || drop(serve(&stream, &state)));
            }
        });
        let server = Self { endpoint, state };
        server.put(files);
        server
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().expect("no thread has panicked")
    }

    pub(crate) fn put(&self, files: &[(&str, &str)]) {
        let mut state = self.state();
        for (path, text) in files {
            state.files.insert((*path).to_owned(), text.as_bytes().to_vec());
        }
    }

    #[allow(dead_code, reason = "the program's tests use it")]
    pub(crate) fn put_bytes(&self, files: &[(String, Vec<u8>)]) {
        self.state().files.extend(files.iter().cloned());
    }

    pub(crate) fn put_converted(&self, path: &str, text: &str) {
        self.state().converted.insert(path.to_owned(), text.as_bytes().to_vec());
    }

    pub(crate) fn remove(&self, path: &str) {
        self.state().files.remove(path);
    }

    pub(crate) fn set_commit(&self, commit: &str) {
        commit.clone_into(&mut self.state().commit);
    }

    /// From now on, requires this token.
    pub(crate) fn gate(&self, token: &str) {
        self.state().token = Some(token.to_owned());
    }

    pub(crate) fn trouble(&self, path: &'static str, kind: Kind) {
        self.state().troubles.push_back(Trouble { path, kind });
    }

    /// Returns the requests since the last call, as `PATH RANGE`.
    pub(crate) fn log(&self) -> Vec<String> {
        std::mem::take(&mut self.state().log)
    }
}

fn serve(stream: &TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut first = String::new();
    reader.read_line(&mut first)?;
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 || line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.insert(name.to_lowercase(), value.trim().to_owned());
        }
    }
    let range = headers.get("range").cloned();
    let begin =
        range.as_ref().and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let (mut answer, trouble) = {
        let mut state = state.lock().expect("no thread has panicked");
        state.log.push(format!("{path} {}", range.clone().unwrap_or_default()).trim().to_owned());
        let position = state.troubles.iter().position(|trouble| path.contains(trouble.path));
        let trouble = position.and_then(|position| state.troubles.remove(position));
        (state.answer(&path, headers.get("authorization")), trouble)
    };
    let (mut broken, mut begin) = (None, begin.unwrap_or(0_usize));
    match trouble.map(|trouble| trouble.kind) {
        Some(Kind::Status(status, headers)) => answer = Answer::refusal(status, headers),
        Some(Kind::Break(bytes)) => broken = Some(bytes),
        Some(Kind::WholeFile) => begin = 0,
        Some(Kind::Short(bytes)) => answer.body.truncate(answer.body.len() - bytes),
        Some(Kind::Flip) => answer.body[0] ^= 1,
        None => {}
    }
    if answer.status == 200 && begin > 0 {
        let total = answer.body.len();
        answer.headers = format!("Content-Range: bytes {begin}-{}/{total}\r\n", total - 1);
        answer.status = 206;
        answer.body.drain(..begin);
    }
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 {} X\r\nContent-Length: {}\r\nConnection: close\r\n{}\r\n",
        answer.status,
        answer.body.len(),
        answer.headers
    )?;
    stream.write_all(&answer.body[..broken.unwrap_or(answer.body.len()).min(answer.body.len())])
}

struct Answer {
    status: u16,
    headers: String,
    body: Vec<u8>,
}

impl Answer {
    fn refusal(status: u16, headers: &str) -> Self {
        let headers = if headers.is_empty() { String::new() } else { format!("{headers}\r\n") };
        Self { status, headers, body: b"{\"error\":\"...\"}".to_vec() }
    }

    fn ok(body: Vec<u8>) -> Self {
        Self { status: 200, headers: String::new(), body }
    }
}

const CONVERTED: &str = "bea7bea7";

impl State {
    fn answer(&self, path: &str, authorization: Option<&String>) -> Answer {
        if let Some(token) = &self.token
            && authorization.is_none_or(|given| *given != format!("Bearer {token}"))
        {
            return Answer::refusal(401, "X-Error-Code: GatedRepo");
        }
        let kinds = ["/api/datasets/", "/api/models/"];
        let revision =
            kinds.iter().find_map(|kind| path.strip_prefix(kind)?.strip_prefix("org/data/revision/"));
        if let Some(revision) = revision {
            return match revision.strip_suffix("?blobs=true").unwrap_or(revision) {
                "main" | "ckpt_1" => Answer::ok(listing(&self.commit, &self.files)),
                revision if revision == self.commit => Answer::ok(listing(&self.commit, &self.files)),
                "refs%2Fconvert%2Fparquet" if !self.converted.is_empty() => {
                    Answer::ok(listing(CONVERTED, &self.converted))
                }
                _ => Answer::refusal(404, "X-Error-Code: RevisionNotFound"),
            };
        }
        let below = path.strip_prefix("/datasets").unwrap_or(path);
        let of = |commit: &str| below.strip_prefix(&format!("/org/data/resolve/{commit}/"));
        let file = of(&self.commit)
            .and_then(|file| self.files.get(file))
            .or_else(|| of(CONVERTED).and_then(|file| self.converted.get(file)));
        match file {
            // As on the real hub, large files are served from another address.
            Some(_) if is_large(path) => {
                let headers = format!("Location: /elsewhere{path}\r\n");
                Answer { status: 302, headers, body: Vec::new() }
            }
            Some(content) => Answer::ok(content.clone()),
            None => match path.strip_prefix("/elsewhere") {
                Some(path) => self.elsewhere(path),
                None if path.contains("/org/data/") => Answer::refusal(404, "X-Error-Code: EntryNotFound"),
                None => Answer::refusal(401, "X-Error-Code: RepoNotFound"),
            },
        }
    }

    fn elsewhere(&self, path: &str) -> Answer {
        let file = path.rsplit("/resolve/").next().and_then(|rest| Some(rest.split_once('/')?.1));
        let content = file.and_then(|file| self.files.get(file).or_else(|| self.converted.get(file)));
        content.map_or_else(|| Answer::refusal(404, ""), |content| Answer::ok(content.clone()))
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("memory");
        text
    })
}

fn is_large(path: &str) -> bool {
    [".parquet", ".safetensors", ".bin"].iter().any(|ending| path.ends_with(ending))
}

fn listing(commit: &str, files: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let sibling = |(path, content): (&String, &Vec<u8>)| -> Value {
        if is_large(path) {
            let sha256 = hex(&Sha256::digest(content));
            let lfs = json!({"sha256": sha256, "size": content.len(), "pointerSize": 130});
            return json!({"rfilename": path, "size": content.len(), "blobId": "pointer", "lfs": lfs});
        }
        let mut blob = format!("blob {}\0", content.len()).into_bytes();
        blob.extend(content);
        let blob = hex(&<sha1::Sha1 as sha1::Digest>::digest(&blob));
        json!({"rfilename": path, "size": content.len(), "blobId": blob})
    };
    let siblings: Vec<Value> = files.iter().map(sibling).collect();
    json!({"id": "org/data", "sha": commit, "siblings": siblings}).to_string().into_bytes()
}
