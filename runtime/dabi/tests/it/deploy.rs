//! The compose stack, as far as that can be seen without an engine: the compose
//! file and the Dockerfile are sound to Docker's own parsers, and what they say
//! fits the files that they mount. What those files say is tested by `chain`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use dabi::warehouse::embedded;
use regex::Regex;
use serde_json::{Map, Value};

use crate::support::{deploy, installed, read};

/// The compose file as Docker understands it: paths absolute, variables put in.
struct Compose(Map<String, Value>);

impl Compose {
    fn load() -> Self {
        let checker = installed("DABI_TEST_DEPLOY_CHECK");
        let output = Command::new(checker)
            .arg(root().join("docker-compose.yml"))
            .output()
            .expect("start deploy-check");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let project: Value = serde_json::from_slice(&output.stdout).expect("it prints JSON");
        Self(project["services"].as_object().expect("services by name").clone())
    }

    fn service(&self, name: &str) -> &Value {
        self.0.get(name).unwrap_or_else(|| panic!("there is no service {name}"))
    }

    fn environment(&self, service: &str) -> BTreeMap<String, String> {
        let variables = self.service(service)["environment"].as_object().into_iter().flatten();
        variables.map(|(name, value)| (name.clone(), value.as_str().expect("a text").to_owned())).collect()
    }

    /// Files and folders of this repository, and where a service sees them.
    fn mounts(&self, service: &str) -> Vec<(PathBuf, String)> {
        let volumes = self.service(service)["volumes"].as_array().into_iter().flatten();
        let bound = volumes.filter(|volume| volume["type"] == "bind");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        bound.map(|volume| (text(&volume["source"]).into(), text(&volume["target"]))).collect()
    }

    /// Everything that a service is told: its files, variables, arguments.
    fn told(&self, service: &str) -> String {
        let files = self.mounts(service).into_iter().filter(|(source, _)| source.is_file());
        let mut told: String = files.map(|(source, _)| read(&source)).collect();
        for (name, value) in self.environment(service) {
            told += &format!("\n{name}={value}");
        }
        for part in ["entrypoint", "command"] {
            for argument in self.service(service)[part].as_array().into_iter().flatten() {
                told += &format!("\n{}", argument.as_str().expect("a text"));
            }
        }
        told
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

fn root() -> PathBuf {
    deploy("..")
}

/// What `pattern`'s one group finds.
fn found(pattern: &str, text: &str) -> BTreeSet<String> {
    let pattern = Regex::new(pattern).expect("a pattern");
    pattern.captures_iter(text).map(|found| found[1].to_owned()).collect()
}

/// Docker makes an empty folder for what is not there, and goes on.
#[test]
fn what_is_mounted_is_there_and_all_of_deploy_is_used() {
    let compose = Compose::load();
    let mut used: BTreeSet<PathBuf> =
        ["Dockerfile", "Dockerfile.dockerignore", "local.env"].map(deploy).into_iter().collect();
    for name in compose.names() {
        for (source, target) in compose.mounts(name) {
            let source =
                source.canonicalize().unwrap_or_else(|e| panic!("{name} mounts {}: {e}", source.display()));
            let same_kind = source.is_dir() || Path::new(&target).extension() == source.extension();
            assert!(same_kind, "{name}: {} becomes {target}", source.display());
            used.insert(source);
        }
    }
    for file in files(&deploy(".")) {
        assert!(used.contains(&file), "no service mounts {}", file.display());
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).expect("read deploy");
    let paths = entries.map(|entry| entry.expect("read deploy").path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

#[test]
fn the_outside_reaches_nothing() {
    let compose = Compose::load();
    for name in compose.names() {
        for port in compose.service(name)["ports"].as_array().into_iter().flatten() {
            assert_eq!(port["host_ip"], "127.0.0.1", "{name} publishes {port}");
        }
    }
}

#[test]
fn the_images_are_of_the_versions_that_are_tested() {
    let compose = Compose::load();
    let versions = read(&root().join(".ci/env"));
    let version = |name: &str| {
        let pattern = format!(r"(?m)^{name}=([^\s#]+)");
        found(&pattern, &versions)
            .into_iter()
            .next()
            .unwrap_or_else(|| panic!("{name} is not in .ci/env"))
            .to_owned()
    };
    let image = |service: &str| compose.service(service)["image"].as_str().expect("an image").to_owned();
    assert_eq!(image("kafka"), format!("apache/kafka:{}", version("KAFKA_VERSION")));
    assert_eq!(image("connect"), format!("quay.io/debezium/connect:{}", version("DEBEZIUM_VERSION")));
    let (engine, _) = embedded::VERSION.split_once('-').expect("a version and what it is");
    let prefix = format!("clickhouse/clickhouse-server:{engine}.");
    assert!(image("clickhouse").starts_with(&prefix), "{} is not {prefix}…", image("clickhouse"));
    let compiler = found(r"(?m)^FROM rust:(\d+\.\d+)\.\d+-", &read(&deploy("Dockerfile")));
    let asked = found(r#"(?m)^rust-version = "([\d.]+)""#, &read(&root().join("Cargo.toml")));
    assert_eq!(compiler, asked, "the compiler in the Dockerfile");
    for name in compose.names().filter(|name| compose.service(name)["build"].is_null()) {
        let image = image(name);
        let tag = image.rsplit_once(':').map(|(_, tag)| tag);
        assert!(tag.is_some_and(|tag| tag.contains(['.', '-'])), "{name}: {image} is not one version");
    }
}

/// `host:port` of a service, wherever one is told of another.
#[test]
fn services_are_named_by_the_ports_that_they_listen_on() {
    let compose = Compose::load();
    let kafka = compose.told("kafka");
    let listens: BTreeMap<&str, BTreeSet<String>> = [
        ("kafka", found(r"BROKER://:(\d+)", &kafka)),
        ("connect", found(r"REST_LISTENERS=http://0\.0\.0\.0:(\d+)", &compose.told("connect"))),
        ("dabi", found(r#"listen = "0\.0\.0\.0:(\d+)""#, &compose.told("dabi"))),
        ("postgres", ["5432".to_owned()].into()),
        ("minio", ["9000".to_owned()].into()),
        ("clickhouse", ["8123".to_owned()].into()),
    ]
    .into();
    let address = Regex::new(r#"(?m)(?:^|[\s/@="'])([a-z][a-z0-9.-]*):(\d{4,5})\b"#).expect("a pattern");
    let mut named = BTreeSet::new();
    for name in compose.names() {
        let told = compose.told(name);
        for found in address.captures_iter(&told) {
            let (host, port) = (&found[1], &found[2]);
            if host == "localhost" {
                continue;
            }
            let ports =
                listens.get(host).unwrap_or_else(|| panic!("{name} is told of {host}:{port}; what is that?"));
            assert!(ports.contains(port), "{name} is told of {host}:{port}, which listens on {ports:?}");
            named.insert(host.to_owned());
        }
    }
    let expected = ["clickhouse", "connect", "kafka", "minio", "postgres"].map(str::to_owned);
    assert_eq!(named, expected.into(), "services that others are told of");
}

#[test]
fn variables_that_files_ask_for_are_set() {
    let compose = Compose::load();
    for (service, files, pattern) in [
        ("connect", vec!["connect/worker.properties", "connect/shop.json"], r"\$\{env:(\w+)\}"),
        ("postgres", vec!["postgres/init.sql"], r"\\getenv \w+ (\w+)"),
    ] {
        let text: String = files.into_iter().map(|file| read(&deploy(file))).collect();
        let (asked, set) = (found(pattern, &text), compose.environment(service));
        assert!(!asked.is_empty(), "{service} asks for no variable");
        for name in asked {
            assert!(set.contains_key(&name), "{service} has no variable {name}");
        }
    }
}

#[test]
fn dabi_accepts_its_settings_and_its_bucket_is_made() {
    let compose = Compose::load();
    let settings =
        dabi::config::load(Some(&deploy("dabi.toml")), compose.environment("dabi")).expect("settings");
    let bucket =
        settings.lake.url.strip_prefix("s3://").and_then(|url| url.split('/').next()).expect("in S3");
    let made = found(r"mc mb --ignore-existing minio/(\S+)", &compose.told("bucket")).into_iter().next();
    assert_eq!(made.as_deref(), Some(bucket));
}
