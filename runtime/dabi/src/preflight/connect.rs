//! Kafka Connect's REST interface: the settings of a connector.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::lake::Secret;

/// How long Kafka Connect may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// The `[connect]` table: where `dabi check` finds the connector.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConnectSettings {
    /// Kafka Connect, as `http://connect:8083`; without it, connectors are not
    /// looked at.
    pub url: Option<String>,
    /// The connector; without a name, those whose topics dabi reads.
    pub connector: Option<String>,
    /// For Kafka Connect behind basic authentication.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
}

/// A connector.
#[derive(Clone)]
pub struct Connector {
    /// Its name.
    pub name: String,
    /// Its settings; they may hold secrets.
    pub config: BTreeMap<String, String>,
}

impl Connector {
    /// Are these topics among those that it writes?
    fn writes_some_of(&self, topics: &[&str]) -> bool {
        // Before Debezium 2.0 the prefix was the name of the server.
        let prefix = self.config.get("topic.prefix").or_else(|| self.config.get("database.server.name"));
        prefix.is_some_and(|prefix| {
            topics
                .iter()
                .any(|topic| topic.strip_prefix(prefix.as_str()).is_some_and(|rest| rest.starts_with('.')))
        })
    }
}

/// Why there are no settings to look at.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// No answer, or none that is one.
    #[error("ask Kafka Connect at {url}: {cause}; check [connect] url, or leave it out")]
    Request {
        /// What was asked.
        url: String,
        /// What happened.
        cause: String,
    },
    /// No connector fits.
    #[error(
        "Kafka Connect at {url} has no connector whose topic.prefix fits the topics read (it has: {}); name it as \
         [connect] connector",
        known.join(", ")
    )]
    NoneFits {
        /// Kafka Connect.
        url: String,
        /// Names of those there are.
        known: Vec<String>,
    },
}

#[derive(Deserialize)]
struct Expanded {
    info: Info,
}

#[derive(Deserialize)]
struct Info {
    config: BTreeMap<String, String>,
}

/// The connector that `settings` name, or those that write some of `topics`; none
/// where no Kafka Connect is named.
///
/// # Errors
/// If it does not answer, or none fits.
pub async fn connectors(settings: &ConnectSettings, topics: &[&str]) -> Result<Vec<Connector>, ConnectError> {
    let Some(url) = &settings.url else { return Ok(Vec::new()) };
    let url = url.trim_end_matches('/');
    if let Some(name) = &settings.connector {
        let config = get(settings, &format!("{url}/connectors/{name}/config")).await?;
        return Ok(vec![Connector { name: name.clone(), config }]);
    }
    let all: BTreeMap<String, Expanded> = get(settings, &format!("{url}/connectors?expand=info")).await?;
    let known = all.keys().cloned().collect();
    let all = all.into_iter().map(|(name, expanded)| Connector { name, config: expanded.info.config });
    let fitting: Vec<Connector> = all.filter(|connector| connector.writes_some_of(topics)).collect();
    if fitting.is_empty() {
        return Err(ConnectError::NoneFits { url: url.to_owned(), known });
    }
    Ok(fitting)
}

async fn get<T: DeserializeOwned>(settings: &ConnectSettings, url: &str) -> Result<T, ConnectError> {
    let failed = |cause: String| ConnectError::Request { url: url.to_owned(), cause };
    let client = reqwest::Client::builder().timeout(ANSWER_WITHIN).build();
    let mut request = client.map_err(|error| failed(error.to_string()))?.get(url);
    if let Some(user) = &settings.user {
        request = request.basic_auth(user, settings.password.as_ref().map(Secret::expose));
    }
    let answer = request.send().await.map_err(|error| failed(chain(&error)))?;
    let status = answer.status();
    let body = answer.bytes().await.map_err(|error| failed(chain(&error)))?;
    if !status.is_success() {
        return Err(failed(format!("it answers {status}")));
    }
    serde_json::from_slice(&body).map_err(|error| failed(format!("its answer is not as expected ({error})")))
}

/// An error with its causes; reqwest's own words leave them out.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}
