//! Requests to a hub, with retries.

use std::time::Duration;

use ureq::http::header::{AUTHORIZATION, RANGE, RETRY_AFTER};
use ureq::http::{HeaderMap, Response};
use ureq::{Agent, Body};

use crate::config::{Access, HubConfig};
use crate::error::HubError;
use crate::repository::{RemoteFile, Repository, Snapshot};

/// Time without a response after which a hub counts as unreachable.
const SILENCE: Duration = Duration::from_secs(30);

/// Header with the hub's reason for an error.
const ERROR_CODE: &str = "x-error-code";

/// A client of a hub.
#[derive(Debug)]
pub struct Hub {
    config: HubConfig,
    agent: Agent,
}

/// Error of one attempt.
pub(crate) enum AttemptError {
    /// The next attempt may succeed, after `wait` if the hub requested one.
    Retry { error: Box<HubError>, wait: Option<Duration> },
    /// The next attempt would fail too.
    Fatal(Box<HubError>),
}

impl From<HubError> for AttemptError {
    fn from(error: HubError) -> Self {
        Self::Fatal(error.into())
    }
}

impl Hub {
    /// Creates a client. Sends no request yet.
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

    /// Settings of the client.
    #[must_use]
    pub fn config(&self) -> &HubConfig {
        &self.config
    }

    /// Lists the files of a repository at a revision, which is a branch, a tag or a commit.
    ///
    /// # Errors
    /// Returns [`HubError::NoRepository`], [`HubError::NoRevision`] or [`HubError::Gated`] if the revision
    /// doesn't exist or isn't accessible, [`HubError::Offline`] without network access, and
    /// [`HubError::Network`], [`HubError::Status`] or [`HubError::InvalidResponse`] if the request fails.
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

    /// Reads a small file, such as a README.
    ///
    /// # Errors
    /// Returns [`HubError::NoFile`] if the file no longer exists, and otherwise as
    /// [`snapshot`](Self::snapshot).
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

    /// Calls `attempt` with the number of the attempt until it succeeds, fails permanently, or the maximum
    /// number of attempts is reached.
    pub(crate) fn with_retries<T>(
        &self,
        attempt: &mut dyn FnMut(u32) -> Result<T, AttemptError>,
    ) -> Result<T, HubError> {
        let mut attempts = 1;
        loop {
            let (error, requested) = match attempt(attempts) {
                Ok(value) => return Ok(value),
                Err(AttemptError::Fatal(error)) => return Err(*error),
                Err(AttemptError::Retry { error, .. }) if attempts >= self.config.attempts => {
                    return Err(*error);
                }
                Err(AttemptError::Retry { error, wait }) => (error, wait),
            };
            let own = self.config.first_wait * 2_u32.saturating_pow(attempts - 1);
            let wait = requested.unwrap_or(own).min(self.config.longest_wait);
            tracing::warn!("{error}; the next attempt is in {} s", wait.as_secs_f32());
            std::thread::sleep(wait);
            attempts += 1;
        }
    }

    /// Requests a file from byte `from` on. A response that indicates a temporary failure is an error.
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

    /// Returns the error for a response that refuses access.
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

/// Returns the delay requested by the hub: `Retry-After: 17`, or `t` of `RateLimit: "api";r=0;t=17`.
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
