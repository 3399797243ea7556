//! Settings: `dabi.toml`, the environment over it, defaults below.
//!
//! Owns where settings come from and how they are merged. Does not own what a
//! section means: each neighbour defines and checks its own.
//!
//! Invariant: an unknown key is an error that names it; a secret never prints.

use std::path::{Path, PathBuf};

use dabi_core::calendar;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::lake::LakeSettings;
use crate::pipeline::Limits;
use crate::preflight::ConnectSettings;
use crate::source::KafkaSettings;
use crate::state::StateSettings;
use crate::transform::TransformSettings;
use crate::warehouse::WarehouseSettings;
use crate::web::WebSettings;

/// Everything that can be set.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Names this pipeline in manifests, terms and `_dabi_epochs`.
    #[serde(default = "default_pipeline")]
    pub pipeline: String,
    /// Where change events come from.
    pub kafka: KafkaSettings,
    /// Where the connector is that writes them.
    #[serde(default)]
    pub connect: ConnectSettings,
    /// Where every event lands.
    pub lake: LakeSettings,
    /// Where the star is kept.
    pub warehouse: WarehouseSettings,
    /// The functions from source rows to star rows.
    #[serde(default)]
    pub transforms: TransformSettings,
    /// The days of the built-in table `dabi.calendar`.
    #[serde(default)]
    pub calendar: calendar::Span,
    /// Where the engine's state is kept.
    #[serde(default)]
    pub state: StateSettings,
    /// Bounds on memory, batches and time.
    #[serde(default)]
    pub limits: Limits,
    /// Metrics and health.
    #[serde(default)]
    pub web: WebSettings,
}

fn default_pipeline() -> String {
    "dabi".to_owned()
}

/// The file that is read when none is named.
pub const DEFAULT_FILE: &str = "dabi.toml";

const ENV_PREFIX: &str = "DABI_";
const SECTIONS: [&str; 9] =
    ["kafka", "connect", "lake", "warehouse", "transforms", "calendar", "state", "limits", "web"];

/// Why settings could not be had.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is there but cannot be read.
    #[error("read settings from {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("settings in {path}: {source}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Place and cause.
        source: Box<toml::de::Error>,
    },
    /// A key is unknown, missing, or has a value of the wrong type.
    #[error("settings (from {origin}): {}", source.message())]
    Invalid {
        /// The file and the environment variables that were merged.
        origin: String,
        /// What is wrong.
        source: Box<toml::de::Error>,
    },
    /// The file that was asked for does not exist.
    #[error(
        "there is no settings file {0}; write one (see README.md, Settings) or name another with --config"
    )]
    Missing(PathBuf),
}

/// Reads `path` (or `dabi.toml` if it exists), then lays the environment over it.
///
/// A variable `DABI_KAFKA_BROKERS` is the key `brokers` of `[kafka]`,
/// `DABI_PIPELINE` the key `pipeline`. A value that reads as TOML (a number, a
/// boolean, a list) is that; anything else is a string.
///
/// # Errors
/// Naming the file or variable, the key and what is wrong with it.
pub fn load(
    path: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Settings, ConfigError> {
    let (table, origin) = file(path)?;
    merged(table, origin, environment)
}

/// `[transforms]` alone, for what needs no neighbours; the rest may be missing.
///
/// # Errors
/// As [`load`].
pub fn transforms(
    path: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<TransformSettings, ConfigError> {
    #[derive(Deserialize)]
    struct Part {
        #[serde(default)]
        transforms: TransformSettings,
    }
    let (table, origin) = file(path)?;
    merged(table, origin, environment).map(|part: Part| part.transforms)
}

/// As [`load`], but with `instead` in the place of whole sections: nothing that
/// the file or the environment says of a section in `replaced` is left.
///
/// # Errors
/// As [`load`].
pub fn load_replacing(
    path: Option<&Path>,
    environment: impl IntoIterator<Item = (String, String)>,
    replaced: &[&str],
    instead: impl IntoIterator<Item = (String, String)>,
) -> Result<Settings, ConfigError> {
    let (mut table, mut origin) = file(path)?;
    origin.extend(overlay_all(&mut table, environment));
    for section in replaced {
        table.remove(*section);
    }
    merged(table, origin, instead)
}

/// The table of `path`, or of `dabi.toml` if it exists, and where it is from.
fn file(path: Option<&Path>) -> Result<(toml::Table, Vec<String>), ConfigError> {
    if let Some(path) = path {
        let table = read(path)?.ok_or_else(|| ConfigError::Missing(path.into()))?;
        return Ok((table, vec![path.display().to_string()]));
    }
    Ok(match read(Path::new(DEFAULT_FILE))? {
        Some(table) => (table, vec![DEFAULT_FILE.to_owned()]),
        None => (toml::Table::new(), vec![format!("the environment; there is no {DEFAULT_FILE}")]),
    })
}

/// Settings from variables alone, whatever files there are.
///
/// # Errors
/// As [`load`].
pub fn from_environment(
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<Settings, ConfigError> {
    merged(toml::Table::new(), Vec::new(), environment)
}

fn merged<T: DeserializeOwned>(
    mut table: toml::Table,
    mut origin: Vec<String>,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Result<T, ConfigError> {
    for (name, value) in environment {
        if overlay(&mut table, &name, &value) {
            origin.push(name);
        }
    }
    for value in table.iter_mut().map(|(_, value)| value) {
        dates_as_text(value);
    }
    table.try_into().map_err(|source: toml::de::Error| ConfigError::Invalid {
        origin: origin.join(", "),
        source: source.into(),
    })
}

fn read(path: &Path) -> Result<Option<toml::Table>, ConfigError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ConfigError::Read { path: path.into(), source }),
    };
    let table = text.parse().map_err(|source: toml::de::Error| ConfigError::Syntax {
        path: path.into(),
        source: source.into(),
    })?;
    Ok(Some(table))
}

/// Lays variables over `table`; gives the names of those that are dabi's settings.
fn overlay_all(
    table: &mut toml::Table,
    environment: impl IntoIterator<Item = (String, String)>,
) -> Vec<String> {
    let ours = environment.into_iter().filter(|(name, value)| overlay(table, name, value));
    ours.map(|(name, _)| name).collect()
}

/// Lays one environment variable over `table`; false if it is none of dabi's settings.
fn overlay(table: &mut toml::Table, name: &str, value: &str) -> bool {
    let Some(key) = name.strip_prefix(ENV_PREFIX).map(str::to_ascii_lowercase) else { return false };
    if key == "pipeline" {
        table.insert(key, toml::Value::String(value.to_owned()));
        return true;
    }
    let Some((section, key)) = key.split_once('_') else { return false };
    if !SECTIONS.contains(&section) {
        return false;
    }
    let section = table.entry(section).or_insert_with(|| toml::Value::Table(toml::Table::new()));
    let Some(section) = section.as_table_mut() else { return false };
    section.insert(key.to_owned(), scalar(value));
    true
}

/// TOML has dates without quotes; settings are plain data.
fn dates_as_text(value: &mut toml::Value) {
    match value {
        toml::Value::Datetime(date) => *value = toml::Value::String(date.to_string()),
        toml::Value::Table(table) => table.iter_mut().for_each(|(_, value)| dates_as_text(value)),
        _ => {}
    }
}

fn scalar(text: &str) -> toml::Value {
    let parsed = format!("value = {text}").parse::<toml::Table>();
    parsed
        .ok()
        .and_then(|mut table| table.remove("value"))
        .unwrap_or_else(|| toml::Value::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(environment: &[(&str, &str)], file: &str) -> Result<Settings, ConfigError> {
        let path = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(path.path(), file).unwrap();
        load(Some(path.path()), environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())))
    }

    const FILE: &str = r#"
        [kafka]
        brokers = "file:9092"
        topics = ["a"]
        [lake]
        url = "/tmp/lake"
        [warehouse]
        url = "http://localhost:8123"
    "#;

    #[test]
    fn the_environment_lies_over_the_file() {
        let settings = with(&[("DABI_KAFKA_BROKERS", "env:9092"), ("OTHER", "x")], FILE).unwrap();
        assert_eq!(settings.kafka.brokers, "env:9092");
    }

    #[test]
    fn an_unknown_key_is_named_with_where_it_came_from() {
        let error = with(&[("DABI_KAFKA_BROKRES", "x")], FILE).unwrap_err().to_string();
        assert!(error.contains("brokres") && error.contains("DABI_KAFKA_BROKRES"), "{error}");
    }

    #[test]
    fn the_calendar_is_two_days_in_their_order() {
        let settings = with(&[("DABI_CALENDAR_TO", "2030-12-31")], FILE).unwrap();
        assert_eq!(settings.calendar.to_string(), "2000-01-01 to 2030-12-31");
        let file = format!("{FILE}\n[calendar]\nfrom = 2024-02-29\nto = \"2024-03-01\"");
        assert_eq!(with(&[], &file).unwrap().calendar.to_string(), "2024-02-29 to 2024-03-01");
        let error = with(&[("DABI_CALENDAR_TO", "1999-12-31")], FILE).unwrap_err().to_string();
        assert!(error.contains("DABI_CALENDAR_TO") && error.contains("ends on 1999-12-31"), "{error}");
    }

    #[test]
    fn a_replaced_section_leaves_nothing_behind() {
        let path = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(path.path(), FILE.replace("[warehouse]", "[warehouse]\nuser = 'production'")).unwrap();
        let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let settings = load_replacing(
            Some(path.path()),
            [own("DABI_WAREHOUSE_DATABASE", "production"), own("DABI_KAFKA_BROKERS", "env:9092")],
            &["warehouse"],
            [own("DABI_WAREHOUSE_URL", "embedded")],
        )
        .unwrap();
        let warehouse = settings.warehouse;
        assert_eq!((warehouse.url.as_str(), warehouse.user.as_str()), ("embedded", "default"));
        assert_eq!((warehouse.database.as_str(), settings.kafka.brokers.as_str()), ("dabi", "env:9092"));
    }

    #[test]
    fn a_missing_key_is_named() {
        let error = with(&[], "[kafka]\nbrokers='x'\ntopics=['a']\n[lake]\n").unwrap_err().to_string();
        assert!(error.contains("url"), "{error}");
    }
}
