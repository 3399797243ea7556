//! The engine's library: looked for, fetched, verified, put into the cache.
//!
//! Owns the pinned version and its checksum. Invariant: a file at the cache's
//! path is whole and came from a package with that checksum, since it gets its
//! name only at the very end.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use flate2::read::GzDecoder;
use sha2::{Digest, Sha512};

/// The pinned version of the library.
pub const VERSION: &str = "26.7.3-stable.1";
/// Names a library that is there already.
const LIBRARY_VARIABLE: &str = "DABI_CLICKHOUSE_LIB";
/// Names a cache folder in place of the user's own.
const CACHE_VARIABLE: &str = "DABI_CACHE";
const LIBRARY_FILE: &str = "libchdb.so";
const MEMBER: &str = "package/libchdb.so";

/// A package that holds the library for one kind of machine.
struct Package<'a> {
    name: &'a str,
    /// Of the packed file, as hexadecimal digits.
    sha512: &'a str,
}

const LINUX_X86_64: Package<'static> = Package {
    name: "@chdb/lib-linux-x64-gnu",
    sha512: "5cff7b98caa7739b59a4a432c11f0dedc2d3b073624e61ebdf4a42e66ce8de35\
             a6ba48ca9f62016bad1cd81fe059435cb858ce3235a8a2b408082a81563e70a7",
};

/// What is being done; a fetch takes seconds to minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// 178 MB come through npm.
    Downloading,
    /// The checksum is computed.
    Verifying,
    /// 566 MB are written.
    Unpacking,
}

/// Why there is no library.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// The variable names no file.
    #[error(
        "{LIBRARY_VARIABLE}={0}: there is no such file; correct it, or unset it and run `dabi setup clickhouse`"
    )]
    Named(PathBuf),
    /// It was not fetched yet.
    #[error(
        "the embedded ClickHouse needs its library, and there is none at {0}; run `dabi setup clickhouse` once"
    )]
    Missing(PathBuf),
    /// No library is pinned for this machine.
    #[error(
        "no ClickHouse library is known for {os} on {arch}; set {LIBRARY_VARIABLE} to a libchdb of version {VERSION}, \
         or warehouse.url to a ClickHouse server"
    )]
    Platform {
        /// As Rust names it.
        os: &'static str,
        /// As Rust names it.
        arch: &'static str,
    },
    /// There is no place for a cache.
    #[error("no cache folder: neither {CACHE_VARIABLE} nor XDG_CACHE_HOME nor HOME is set; set one of them")]
    NoCache,
    /// npm is not there.
    #[error(
        "fetching the ClickHouse library needs npm, and there is none in PATH; install Node.js, or copy a \
         {LIBRARY_FILE} of version {VERSION} here and set {LIBRARY_VARIABLE} to it"
    )]
    NoNpm,
    /// npm did not get it.
    #[error(
        "npm cannot fetch {package}: {message}\nif this machine is offline, copy a {LIBRARY_FILE} of version \
         {VERSION} here and set {LIBRARY_VARIABLE} to it"
    )]
    Npm {
        /// Package and version.
        package: String,
        /// npm's words.
        message: String,
    },
    /// What came is not what was pinned.
    #[error("{package} has the checksum {found}, not {expected}: it was changed on its way and is not used")]
    Checksum {
        /// Package and version.
        package: String,
        /// As pinned.
        expected: String,
        /// As computed.
        found: String,
    },
    /// The package holds no library.
    #[error("{package} holds no {MEMBER}")]
    Empty {
        /// Package and version.
        package: String,
    },
    /// A file or folder cannot be read or written.
    #[error("{doing} {path}: {source}")]
    File {
        /// What was being done.
        doing: &'static str,
        /// With what.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
}

fn at(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> InstallError {
    let path = path.to_owned();
    move |source| InstallError::File { doing, path, source }
}

/// The library on this machine: the one that `DABI_CLICKHOUSE_LIB` names, else
/// the one in the cache.
///
/// # Errors
/// If there is none, with the command that fetches it.
pub fn find() -> Result<PathBuf, InstallError> {
    if let Some(named) = env::var_os(LIBRARY_VARIABLE).map(PathBuf::from) {
        return if named.is_file() { Ok(named) } else { Err(InstallError::Named(named)) };
    }
    let path = cache_folder()?.join(LIBRARY_FILE);
    if path.is_file() { Ok(path) } else { Err(InstallError::Missing(path)) }
}

/// Finds the library, or fetches it into the cache. Blocks.
///
/// # Errors
/// If npm is missing or offline, what it brings is not what is pinned, or the
/// cache cannot be written.
pub fn install(progress: impl FnMut(Step)) -> Result<PathBuf, InstallError> {
    match find() {
        Err(InstallError::Missing(_)) => {}
        found => return found,
    }
    let package = match (env::consts::OS, env::consts::ARCH) {
        ("linux", "x86_64") => LINUX_X86_64,
        (os, arch) => return Err(InstallError::Platform { os, arch }),
    };
    fetch(&package, OsStr::new("npm"), &cache_folder()?, progress)
}

/// `~/.cache/dabi/clickhouse/<version>`, or where the environment puts it.
fn cache_folder() -> Result<PathBuf, InstallError> {
    let variable = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = variable(CACHE_VARIABLE)
        .or_else(|| variable("XDG_CACHE_HOME").map(|cache| cache.join("dabi")))
        .or_else(|| env::home_dir().map(|home| home.join(".cache").join("dabi")))
        .ok_or(InstallError::NoCache)?;
    Ok(cache.join("clickhouse").join(VERSION))
}

fn fetch(
    package: &Package<'_>,
    npm: &OsStr,
    folder: &Path,
    mut progress: impl FnMut(Step),
) -> Result<PathBuf, InstallError> {
    fs::create_dir_all(folder).map_err(at("make the folder", folder))?;
    // In the same folder, so that the last step is a rename; gone with all that
    // is in it, whatever happens.
    let workshop = tempfile::tempdir_in(folder).map_err(at("make a folder in", folder))?;
    let name = format!("{}@{VERSION}", package.name);
    progress(Step::Downloading);
    let packed = pack(&name, npm, workshop.path())?;
    progress(Step::Verifying);
    let found = sha512(&packed).map_err(at("read", &packed))?;
    if found != package.sha512 {
        return Err(InstallError::Checksum { package: name, expected: package.sha512.to_owned(), found });
    }
    progress(Step::Unpacking);
    let library = workshop.path().join(LIBRARY_FILE);
    if !unpack(&packed, &library).map_err(at("unpack", &packed))? {
        return Err(InstallError::Empty { package: name });
    }
    let path = folder.join(LIBRARY_FILE);
    fs::rename(&library, &path).map_err(at("move the library to", &path))?;
    Ok(path)
}

/// Lets npm bring the package as one packed file, and gives its path.
fn pack(name: &str, npm: &OsStr, folder: &Path) -> Result<PathBuf, InstallError> {
    let output = Command::new(npm)
        .args(["pack", name, "--ignore-scripts", "--loglevel=error", "--pack-destination"])
        .arg(folder)
        .stdin(Stdio::null())
        .output();
    let failed = |message: String| InstallError::Npm { package: name.to_owned(), message };
    let output = match output {
        Ok(output) => output,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(InstallError::NoNpm),
        Err(error) => return Err(failed(error.to_string())),
    };
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(failed(if message.is_empty() { output.status.to_string() } else { message }));
    }
    let files = fs::read_dir(folder).map_err(at("list", folder))?;
    files
        .filter_map(|file| Some(file.ok()?.path()))
        .find(|path| path.extension() == Some(OsStr::new("tgz")))
        .ok_or_else(|| failed("it left no packed file".to_owned()))
}

fn sha512(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha512::new();
    let mut piece = vec![0; 1 << 20];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            n => hash.update(piece.get(..n).unwrap_or_default()),
        }
    }
}

/// Unpacks the library and nothing else; false if it is not in there.
fn unpack(packed: &Path, library: &Path) -> io::Result<bool> {
    let mut archive = tar::Archive::new(GzDecoder::new(File::open(packed)?));
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.path()? == Path::new(MEMBER) {
            let mut file = File::create(library)?;
            io::copy(&mut entry, &mut file)?;
            file.sync_all()?;
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests;
