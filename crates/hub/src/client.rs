use std::time::Duration;

use ureq::http::header::{AUTHORIZATION, RANGE, RETRY_AFTER};
use ureq::http::{HeaderMap, Response};
use ureq::{Agent, Body};

use crate::config::{Access, HubConfig};
use crate::error::HubError;
use crate::repository::{RemoteFile, Repository, Snapshot};

/// How long the hub may be silent before it counts as gone.
const SILENCE: Duration = Duration::from_secs(30);

/// Why the hub refuses, in its own words.
const ERROR_CODE: &str = "x-error-code";

/// A hub, and who asks it.
#[derive(Debug)]
pub struct Hub {
    config: HubConfig,
    agent: Agent,
}

/// How an attempt went wrong.
pub(crate) enum AttemptError {
    /// The next one may do better, after this wait if the hub asked for one.
    Retry { error: Box<HubError>, wait: Option<Duration> },
    /// So will the next one.
    Fatal(Box<HubError>),
}

impl From<HubError> for AttemptError {
    fn from(error: HubError) -> Self {
        Self::Fatal(error.into())
    }
}

impl Hub {
    /// Nothing is asked yet.
    #[must_use]
    pub fn new(config: HubConfig) -> Self {
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_connect(Some(SILENCE))
            .timeout_recv_response(Some(SILENCE))
            .timeout_per_read(Some(SILENCE))
            .redirect_auth_headers(ureq::config::RedirectAuthHeaders::SameHost)
            .user_agent(concat!("fineline/", env!("CARGO_PKG_VERSION")))
            .build();
        Self { config, agent: agent.into() }
    }

    /// What it was made with.
    #[must_use]
    pub fn config(&self) -> &HubConfig {
        &self.config
    }

    /// The files of a repository at a revision: a branch, a tag, a commit.
    ///
    /// # Errors
    /// A repository or revision that isn't there or isn't for whoever asks; the network.
    pub fn snapshot(&self, repository: &Repository, revision: &str) -> Result<Snapshot, HubError> {
        let url = format!("{}{}", self.config.endpoint, repository.revision_path(revision));
        self.refuse_offline(&format!("{repository} at `{revision}`"))?;
        let answer = self.with_retries(&mut |attempts| {
            let response = self.request(&url, 0, attempts)?;
            match response.status().as_u16() {
                200 => body(response, &url, attempts),
                status => Err(self.refusal(repository, revision, status, &response, &url).into()),
            }
        })?;
        Snapshot::read(repository, &answer)
            .map_err(|source| HubError::InvalidResponse { url, message: source.to_string() })
    }

    /// The content of a small file, such as a README.
    ///
    /// # Errors
    /// A file that isn't there any more; the network.
    pub fn read(&self, snapshot: &Snapshot, file: &RemoteFile) -> Result<Vec<u8>, HubError> {
        let url = self.file_url(snapshot, file);
        self.refuse_offline(&url)?;
        self.with_retries(&mut |attempts| {
            let response = self.request(&url, 0, attempts)?;
            match response.status().as_u16() {
                200 => body(response, &url, attempts),
                status => {
                    let (repository, commit) = (&snapshot.repository, &snapshot.commit);
                    Err(self.refusal(repository, commit, status, &response, &url).into())
                }
            }
        })
    }

    pub(crate) fn file_url(&self, snapshot: &Snapshot, file: &RemoteFile) -> String {
        format!("{}{}", self.config.endpoint, snapshot.repository.file_path(&snapshot.commit, &file.path))
    }

    pub(crate) fn refuse_offline(&self, what: &str) -> Result<(), HubError> {
        match self.config.access {
            Access::Online => Ok(()),
            Access::Offline => Err(HubError::Offline { what: what.to_owned() }),
        }
    }

    /// Makes attempts, which are told their number, until one goes well, one fails for good, or there were too many of them.
    pub(crate) fn with_retries<T>(
        &self,
        attempt: &mut dyn FnMut(u32) -> Result<T, AttemptError>,
    ) -> Result<T, HubError> {
        let mut attempts = 1;
        loop {
            let (error, asked) = match attempt(attempts) {
                Ok(value) => return Ok(value),
                Err(AttemptError::Fatal(error)) => return Err(*error),
                Err(AttemptError::Retry { error, .. }) if attempts >= self.config.attempts => {
                    return Err(*error);
                }
                Err(AttemptError::Retry { error, wait }) => (error, wait),
            };
            let own = self.config.first_wait * 2_u32.saturating_pow(attempts - 1);
            let wait = asked.unwrap_or(own).min(self.config.longest_wait);
            tracing::warn!("{error}; the next attempt is in {} s", wait.as_secs_f32());
            std::thread::sleep(wait);
            attempts += 1;
        }
    }

    /// Asks for a content from this byte on. An answer that a later attempt could better is none.
    pub(crate) fn request(
        &self,
        url: &str,
        from: u64,
        attempts: u32,
    ) -> Result<Response<Body>, AttemptError> {
        let mut request = self.agent.get(url);
        if let Some(token) = &self.config.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
        }
        let response = request.call().map_err(|source| network(url, attempts, source))?;
        let status = response.status().as_u16();
        if ![408, 429, 500, 502, 503, 504].contains(&status) {
            return Ok(response);
        }
        let wait = retry_after(response.headers());
        if let Some(wait) = wait.filter(|wait| *wait > self.config.longest_wait) {
            return Err(HubError::TooManyRequests { url: url.to_owned(), wait }.into());
        }
        let error = HubError::Status { url: url.to_owned(), status, attempts };
        Err(AttemptError::Retry { error: error.into(), wait })
    }

    /// Why the hub refuses.
    pub(crate) fn refusal(
        &self,
        repository: &Repository,
        revision: &str,
        status: u16,
        response: &Response<Body>,
        url: &str,
    ) -> HubError {
        let code = response.headers().get(ERROR_CODE).and_then(|code| code.to_str().ok()).unwrap_or_default();
        let (endpoint, name) = (self.config.endpoint.clone(), repository.to_string());
        let has_token = self.config.token.is_some();
        match (status, code) {
            (_, "RevisionNotFound") => HubError::NoRevision { name, revision: revision.to_owned() },
            (_, "EntryNotFound") => HubError::NoFile { url: url.to_owned() },
            (_, "GatedRepo") | (403, _) => HubError::Gated { endpoint, name: repository.page(), has_token },
            (401 | 404, _) => HubError::NoRepository { endpoint, name, has_token },
            _ => HubError::Status { url: url.to_owned(), status, attempts: 1 },
        }
    }
}

fn body(mut response: Response<Body>, url: &str, attempts: u32) -> Result<Vec<u8>, AttemptError> {
    response.body_mut().read_to_vec().map_err(|source| network(url, attempts, source))
}

pub(crate) fn network(url: &str, attempts: u32, source: ureq::Error) -> AttemptError {
    let error = HubError::Network { url: url.to_owned(), attempts, source: Box::new(source) };
    AttemptError::Retry { error: error.into(), wait: None }
}

/// The wait that the hub asks for: `Retry-After: 17`, or `t` of `RateLimit: "api";r=0;t=17`.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok();
    let after = text(RETRY_AFTER.as_str()).and_then(|text| text.trim().parse().ok());
    let limit =
        || text("ratelimit")?.split(';').find_map(|part| part.trim().strip_prefix("t=")?.parse().ok());
    after.or_else(limit).map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hub_may_ask_for_patience_in_two_ways() {
        let wait = |name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().expect("a header"));
            retry_after(&headers)
        };
        assert_eq!(wait("retry-after", "17"), Some(Duration::from_secs(17)));
        assert_eq!(wait("ratelimit", "\"api\";r=0;t=55"), Some(Duration::from_secs(55)));
        assert_eq!(wait("retry-after", "tomorrow"), None);
    }
}
