//! Settings of a hub client.

use std::time::Duration;

use crate::error::HubError;

/// Settings of a hub client.
#[derive(Clone)]
pub struct HubConfig {
    /// Address of the hub, without a trailing slash.
    pub endpoint: String,
    /// Access token, for private and gated repositories.
    pub token: Option<String>,
    /// Network access.
    pub access: Access,
    /// Maximum number of attempts of a request. A download that made progress starts counting from one again.
    pub attempts: u32,
    /// Delay before the second attempt. It doubles with each further attempt.
    pub first_wait: Duration,
    /// Maximum delay that the hub may request. A longer one is an error.
    pub longest_wait: Duration,
}

/// Network access of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// The client may use the network.
    Online,
    /// Any operation that needs the network fails.
    Offline,
}

impl HubConfig {
    /// The settings for Hugging Face's hub, without a token.
    #[must_use]
    pub fn public() -> Self {
        Self::at("https://huggingface.co")
    }

    /// The settings for the hub at an address.
    #[must_use]
    pub fn at(endpoint: &str) -> Self {
        Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token: None,
            access: Access::Online,
            attempts: 5,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_mins(10),
        }
    }

    /// Reads the environment variables `HF_ENDPOINT`, `HF_TOKEN` and `HF_HUB_OFFLINE` (`1`, `true`, `yes` or
    /// `on`).
    ///
    /// # Errors
    /// Returns [`HubError::InvalidEnvironment`] if the endpoint isn't an HTTP address, or the token contains
    /// characters that can't be sent.
    pub fn from_env() -> Result<Self, HubError> {
        let variable = |name| std::env::var(name).ok().map(|value| value.trim().to_owned());
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let is_on = |value: String| ["1", "true", "yes", "on"].contains(&value.to_lowercase().as_str());
        let base = set("HF_ENDPOINT").map_or_else(Self::public, |endpoint| Self::at(&endpoint));
        let offline = set("HF_HUB_OFFLINE").is_some_and(is_on);
        let access = if offline { Access::Offline } else { Access::Online };
        Self { token: set("HF_TOKEN"), access, ..base }.checked()
    }

    /// Checks that requests can be built from the settings.
    fn checked(self) -> Result<Self, HubError> {
        let wrong = |variable, expected| Err(HubError::InvalidEnvironment { variable, expected });
        let rest = ["http://", "https://"].iter().find_map(|scheme| self.endpoint.strip_prefix(scheme));
        if rest.is_none_or(str::is_empty) || self.endpoint.contains(char::is_whitespace) {
            return wrong("HF_ENDPOINT", "an address that begins with https:// or http://");
        }
        let is_sendable = |token: &String| token.bytes().all(|byte| byte.is_ascii_graphic());
        if !self.token.as_ref().is_none_or(is_sendable) {
            return wrong("HF_TOKEN", "a token of ASCII characters without spaces");
        }
        Ok(self)
    }
}

impl std::fmt::Debug for HubConfig {
    /// Hides the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HubConfig")
            .field("endpoint", &self.endpoint)
            .field("token", &self.token.as_ref().map(|_| "..."))
            .field("access", &self.access)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_attempt_could_use_is_refused_at_once() {
        let refused = |endpoint: &str, token: Option<&str>| {
            let config = HubConfig { token: token.map(str::to_owned), ..HubConfig::at(endpoint) };
            config.checked().expect_err("it can't be used").to_string()
        };
        for endpoint in ["banana", "https://", "ftp://a", "https://a b"] {
            assert_eq!(
                refused(endpoint, None),
                "HF_ENDPOINT: expected an address that begins with https:// or http://"
            );
        }
        let error = refused("https://localhost", Some("hf_a\nb"));
        assert_eq!(error, "HF_TOKEN: expected a token of ASCII characters without spaces");
        HubConfig { token: Some("hf_a".into()), ..HubConfig::public() }.checked().expect("it is good");
    }

    #[test]
    fn a_token_is_never_shown() {
        let config = HubConfig { token: Some("hf_secret".into()), ..HubConfig::at("http://localhost:1/") };
        assert!(!format!("{config:?}").contains("secret"));
        assert_eq!(config.endpoint, "http://localhost:1");
    }
}
