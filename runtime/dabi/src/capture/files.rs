//! The files of a capture: names, compression, the index beside the folder.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};

use super::line::Line;

const EXTENSION: &str = ".jsonl.gz";

/// The records of one topic.
#[derive(Clone, Debug)]
pub struct TopicFile {
    /// The topic's name.
    pub topic: String,
    /// How many partitions it has, as far as the capture tells.
    pub partitions: i32,
    path: PathBuf,
}

/// The topics of the capture in folder `dir`, by name.
///
/// # Errors
/// If it is not a folder with files of a capture.
pub fn topic_files(dir: &Path) -> anyhow::Result<Vec<TopicFile>> {
    let index = read_index(&index_path(dir)?)?;
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).with_context(|| format!("open capture {}", dir.display()))? {
        let path = entry.with_context(|| format!("list capture {}", dir.display()))?.path();
        let Some(stem) = path.file_name().and_then(|name| name.to_str()?.strip_suffix(EXTENSION)) else {
            continue;
        };
        let topic = unescape(stem).with_context(|| format!("{}: not the name of a topic", path.display()))?;
        let mut file = TopicFile { partitions: index.get(&topic).copied().unwrap_or(1), topic, path };
        file.partitions = file.partitions.max(highest_partition(&file)?.saturating_add(1));
        files.push(file);
    }
    ensure!(!files.is_empty(), "{} holds no capture: no file <topic>{EXTENSION} in it", dir.display());
    files.sort_by(|a, b| a.topic.cmp(&b.topic));
    Ok(files)
}

fn highest_partition(file: &TopicFile) -> anyhow::Result<i32> {
    let mut highest = 0;
    for line in file.lines()? {
        highest = highest.max(line?.partition);
    }
    Ok(highest)
}

impl TopicFile {
    /// The records, by partition and offset.
    ///
    /// # Errors
    /// If the file cannot be opened; then, for each line, if it is no record.
    pub fn lines(&self) -> anyhow::Result<impl Iterator<Item = anyhow::Result<Line>> + use<>> {
        let path = self.path.clone();
        let file = File::open(&path).with_context(|| format!("open {}", path.display()))?;
        let lines = BufReader::new(MultiGzDecoder::new(BufReader::new(file))).lines();
        Ok(lines.enumerate().map(move |(at, line)| {
            let place = || format!("{}, line {}", path.display(), at + 1);
            let line: Line = serde_json::from_str(&line.with_context(place)?).with_context(place)?;
            ensure!(line.partition >= 0, "{}: partition {} cannot be", place(), line.partition);
            Ok(line)
        }))
    }
}

/// Writes the file of one topic, the records of its partitions arriving in any mixture.
pub(super) struct TopicWriter {
    path: PathBuf,
    // One gzip stream per partition, put one behind the other at the end:
    // sorted without holding the topic in memory.
    parts: BTreeMap<i32, (PathBuf, GzEncoder<BufWriter<File>>)>,
}

impl TopicWriter {
    pub(super) fn new(dir: &Path, topic: &str) -> Self {
        Self { path: dir.join(format!("{}{EXTENSION}", escape(topic))), parts: BTreeMap::new() }
    }

    pub(super) fn write(&mut self, line: &Line) -> anyhow::Result<()> {
        if !self.parts.contains_key(&line.partition) {
            let mut name = self.path.clone().into_os_string();
            name.push(format!(".p{}.part", line.partition));
            let file =
                File::create(&name).with_context(|| format!("create {}", Path::new(&name).display()))?;
            // No name and no time inside: the same records give the same bytes.
            let encoder = GzBuilder::new().mtime(0).write(BufWriter::new(file), Compression::best());
            self.parts.insert(line.partition, (name.into(), encoder));
        }
        let Some((path, part)) = self.parts.get_mut(&line.partition) else {
            bail!("partition {} was just added", line.partition);
        };
        serde_json::to_writer(&mut *part, line).with_context(|| format!("write {}", path.display()))?;
        part.write_all(b"\n").with_context(|| format!("write {}", path.display()))
    }

    /// Puts the file together; returns its size in bytes.
    pub(super) fn finish(self) -> anyhow::Result<u64> {
        let context = || format!("write {}", self.path.display());
        let mut out = File::create(&self.path).with_context(context)?;
        let mut size = 0;
        for (path, part) in self.parts.into_values() {
            part.finish().and_then(|mut file| file.flush()).with_context(context)?;
            let mut part = File::open(&path).with_context(context)?;
            size += std::io::copy(&mut part, &mut out).with_context(context)?;
            fs::remove_file(&path).with_context(context)?;
        }
        Ok(size)
    }
}

/// `dir` → `dir.index.tsv`, beside it.
pub(super) fn index_path(dir: &Path) -> anyhow::Result<PathBuf> {
    let dir = std::path::absolute(dir).with_context(|| format!("resolve {}", dir.display()))?;
    let mut name: OsString =
        dir.file_name().with_context(|| format!("{} is not the name of a folder", dir.display()))?.to_owned();
    name.push(".index.tsv");
    Ok(dir.with_file_name(name))
}

fn read_index(path: &Path) -> anyhow::Result<BTreeMap<String, i32>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        text => text.with_context(|| format!("read {}", path.display()))?,
    };
    Ok(text
        .lines()
        .filter_map(|line| {
            let (topic, rest) = line.split_once('\t')?;
            let partitions = rest.split('\t').find_map(|field| field.strip_prefix("partitions="))?;
            Some((topic.to_owned(), partitions.parse().ok()?))
        })
        .collect())
}

/// A file name for the topic: other characters than `A-Z a-z 0-9 . _ -` as `%XX`.
fn escape(topic: &str) -> String {
    topic.chars().fold(String::new(), |mut name, c| {
        if c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-') {
            name.push(c);
        } else {
            // Writing to a string cannot fail.
            let _ = write!(name, "%{:02X}", u32::from(c));
        }
        name
    })
}

fn unescape(name: &str) -> Option<String> {
    let mut parts = name.split('%');
    let mut topic = parts.next()?.to_owned();
    for part in parts {
        let (code, rest) = part.split_at_checked(2)?;
        topic.push(char::from(u8::from_str_radix(code, 16).ok()?));
        topic.push_str(rest);
    }
    Some(topic)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::line::HeaderValue;

    fn line(partition: i32, offset: i64) -> Line {
        Line {
            partition,
            offset,
            timestamp_ms: 1,
            timestamp_kind: None,
            key: None,
            value: Some(vec![0xfe]),
            headers: vec![("n".to_owned(), HeaderValue(None))],
        }
    }

    fn written(dir: &Path) -> Vec<u8> {
        let mut writer = TopicWriter::new(dir, "a.b:c");
        for (partition, offset) in [(2, 0), (0, 3), (2, 1), (0, 5)] {
            writer.write(&line(partition, offset)).expect("writes");
        }
        writer.finish().expect("finishes");
        fs::read(dir.join("a.b%3Ac.jsonl.gz")).expect("named after the topic")
    }

    #[test]
    fn files_are_sorted_deterministic_and_read_back() {
        let dir = tempfile::tempdir().expect("a folder");
        let capture = dir.path().join("capture");
        fs::create_dir(&capture).expect("a folder");
        assert_eq!(written(&capture), written(&capture));
        let files = topic_files(&capture).expect("a capture");
        let [file] = files.as_slice() else { panic!("{files:?}") };
        assert_eq!((file.topic.as_str(), file.partitions), ("a.b:c", 3));
        let lines: Vec<Line> = file.lines().expect("opens").map(|l| l.expect("a record")).collect();
        assert_eq!(lines, [line(0, 3), line(0, 5), line(2, 0), line(2, 1)]);

        fs::write(index_path(&capture).expect("a path"), "a.b:c\tpartitions=6\trecords=4\tgz=1\n")
            .expect("writes");
        assert_eq!(topic_files(&capture).expect("a capture")[0].partitions, 6);
    }

    #[test]
    fn a_folder_that_is_no_capture_says_so() {
        let dir = tempfile::tempdir().expect("a folder");
        let error = topic_files(dir.path()).expect_err("empty").to_string();
        assert!(error.contains("holds no capture"), "{error}");
    }
}
