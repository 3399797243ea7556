//! The credentials of the compose stack.

use std::collections::BTreeMap;

use super::{deploy, read};

/// The variables of `deploy/local.env`, one in another's value (`${…}`) put in.
pub(crate) fn credentials() -> BTreeMap<String, String> {
    let file = read(&deploy("local.env"));
    let mut variables: BTreeMap<String, String> = BTreeMap::new();
    for line in file.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let (name, value) =
            line.split_once('=').unwrap_or_else(|| panic!("local.env: {line:?} is no NAME=VALUE"));
        let mut value = value.to_owned();
        for (known, text) in &variables {
            value = value.replace(&format!("${{{known}}}"), text);
        }
        variables.insert(name.to_owned(), value);
    }
    variables
}
