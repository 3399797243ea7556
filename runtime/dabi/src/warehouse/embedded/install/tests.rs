use std::os::unix::fs::PermissionsExt;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

/// A folder with a package, and an `npm` that brings it.
struct Registry {
    folder: tempfile::TempDir,
    sha512: String,
}

impl Registry {
    fn with(member: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let packed = folder.path().join("package.tgz");
        let mut archive =
            tar::Builder::new(GzEncoder::new(File::create(&packed).unwrap(), Compression::fast()));
        for (name, data) in [("package/index.js", &b"1"[..]), (member, b"library")] {
            let mut header = tar::Header::new_gnu();
            header.set_size(data.len() as u64);
            header.set_mode(0o755);
            archive.append_data(&mut header, name, data).unwrap();
        }
        archive.into_inner().unwrap().finish().unwrap();
        let registry = Self { sha512: sha512(&packed).unwrap(), folder };
        registry.npm("cp \"$(dirname \"$0\")/package.tgz\" \"${@: -1}/chdb.tgz\"");
        registry
    }

    fn npm(&self, does: &str) {
        let npm = self.folder.path().join("npm");
        fs::write(&npm, format!("#!/bin/bash\n{does}\n")).unwrap();
        fs::set_permissions(&npm, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn fetch(&self, sha512: &str, cache: &Path) -> Result<PathBuf, InstallError> {
        let npm = self.folder.path().join("npm");
        fetch(&Package { name: "some", sha512 }, npm.as_os_str(), cache, |_| {})
    }
}

fn files(folder: &Path) -> Vec<String> {
    fs::read_dir(folder).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
fn only_the_library_stays_in_the_cache() {
    let (registry, cache) = (Registry::with(MEMBER), tempfile::tempdir().unwrap());
    let path = registry.fetch(&registry.sha512, cache.path()).unwrap();
    assert_eq!(fs::read(path).unwrap(), b"library");
    assert_eq!(files(cache.path()), [LIBRARY_FILE]);
}

#[test]
fn what_is_not_as_pinned_leaves_nothing() {
    let (registry, cache) = (Registry::with(MEMBER), tempfile::tempdir().unwrap());
    let error = registry.fetch(&"0".repeat(128), cache.path()).unwrap_err();
    assert!(matches!(error, InstallError::Checksum { .. }), "{error}");
    let other = Registry::with("package/other");
    let error = other.fetch(&other.sha512, cache.path()).unwrap_err();
    assert!(matches!(error, InstallError::Empty { .. }), "{error}");
    assert_eq!(files(cache.path()), [""; 0]);
}

#[test]
fn without_npm_or_network_the_message_says_what_to_do() {
    let (registry, cache) = (Registry::with(MEMBER), tempfile::tempdir().unwrap());
    registry.npm("echo 'npm error network offline' >&2; exit 1");
    let error = registry.fetch(&registry.sha512, cache.path()).unwrap_err().to_string();
    assert!(error.contains("npm error network offline") && error.contains(LIBRARY_VARIABLE), "{error}");
    fs::remove_file(registry.folder.path().join("npm")).unwrap();
    let error = registry.fetch(&registry.sha512, cache.path()).unwrap_err();
    assert!(matches!(error, InstallError::NoNpm), "{error}");
}
