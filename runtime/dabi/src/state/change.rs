//! What an epoch changes, as bytes.
//!
//! Owns how the changes of a commit are written, and read back one by one; the
//! epoch log, checkpoints and both stores speak of changes in this form, so a
//! recovered store went through the same steps as the one that was lost. Does not
//! own what a change does (`memory::shard`, `lsm`).
//!
//! Layout: sections, each a kind, a space (u16), a number of entries (u32), and
//! the entries. An entry of values is the key, then a 0 and the value, or a 1
//! where it is removed; an entry of members is the group, a 1 for joining or a 0
//! for leaving, and the member.

use arrow::array::Array;
use dabi_core::engine::state::{Commit, Puts, Regroupings, Space};

use super::bytes::{Reader, push_bytes};

const VALUES: u8 = 1;
const MEMBERS: u8 = 2;

/// One entry of one space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Change<'a> {
    pub(super) space: Space,
    /// The key, or the group.
    pub(super) key: &'a [u8],
    pub(super) what: What<'a>,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What<'a> {
    Set(&'a [u8]),
    Remove,
    Join(&'a [u8]),
    Leave(&'a [u8]),
}

/// Sections being written.
#[derive(Default)]
pub(super) struct Changes {
    bytes: Vec<u8>,
    /// Kind and space of the open section, and where its number of entries stands.
    open: Option<(u8, Space, usize)>,
    count: u32,
}

impl Changes {
    /// Sections that follow what is in `bytes`.
    pub(super) fn after(bytes: Vec<u8>) -> Self {
        Self { bytes, ..Self::default() }
    }

    /// Everything that `commit` changes.
    pub(super) fn push_all(&mut self, commit: &Commit) {
        self.bytes.reserve(size_of_changes(commit));
        for Puts { space, keys, values } in &commit.puts {
            for (key, value) in keys.iter().zip(values) {
                let what = value.map_or(What::Remove, What::Set);
                self.push(Change { space: *space, key: key.unwrap_or_default(), what });
            }
        }
        for Regroupings { space, groups, members, joins } in &commit.regroupings {
            for ((group, member), joins) in groups.iter().zip(members).zip(joins) {
                let member = member.unwrap_or_default();
                let what = if joins.unwrap_or_default() { What::Join(member) } else { What::Leave(member) };
                self.push(Change { space: *space, key: group.unwrap_or_default(), what });
            }
        }
    }

    pub(super) fn push(&mut self, Change { space, key, what }: Change<'_>) {
        let kind = if matches!(what, What::Set(_) | What::Remove) { VALUES } else { MEMBERS };
        if self.open.is_none_or(|(open, of, _)| (open, of) != (kind, space)) {
            self.begin(kind, space);
        }
        push_bytes(&mut self.bytes, key);
        self.bytes.push(u8::from(matches!(what, What::Remove | What::Join(_))));
        match what {
            What::Set(bytes) | What::Join(bytes) | What::Leave(bytes) => push_bytes(&mut self.bytes, bytes),
            What::Remove => {}
        }
        self.count += 1;
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.end();
        self.bytes
    }

    fn begin(&mut self, kind: u8, space: Space) {
        self.end();
        self.bytes.push(kind);
        self.bytes.extend_from_slice(&space.0.to_le_bytes());
        self.open = Some((kind, space, self.bytes.len()));
        self.bytes.extend_from_slice(&[0; 4]);
    }

    fn end(&mut self) {
        if let Some((.., place)) = self.open.take() {
            self.bytes[place..][..4].copy_from_slice(&self.count.to_le_bytes());
            self.count = 0;
        }
    }
}

/// Calls `each` with every change; `None` if `bytes` are not changes.
pub(super) fn read<'a>(bytes: &'a [u8], mut each: impl FnMut(Change<'a>)) -> Option<()> {
    let mut reader = Reader::new(bytes);
    while !reader.is_empty() {
        let [kind] = reader.array()?;
        let space = Space(reader.u16()?);
        for _ in 0..reader.u32()? {
            let key = reader.bytes()?;
            let [flag] = reader.array()?;
            let what = match (kind, flag) {
                (VALUES, 0) => What::Set(reader.bytes()?),
                (VALUES, 1) => What::Remove,
                (MEMBERS, 0) => What::Leave(reader.bytes()?),
                (MEMBERS, 1) => What::Join(reader.bytes()?),
                _ => return None,
            };
            each(Change { space, key, what });
        }
    }
    Some(())
}

/// Why `commit` cannot be written: columns of unequal length, or a null that may not be.
pub(super) fn fault(commit: &Commit) -> Option<&'static str> {
    let puts = commit.puts.iter().any(|puts| puts.keys.len() != puts.values.len());
    let regroupings = commit
        .regroupings
        .iter()
        .any(|all| all.groups.len() != all.members.len() || all.groups.len() != all.joins.len());
    let nulls = commit.puts.iter().any(|puts| puts.keys.null_count() > 0)
        || commit
            .regroupings
            .iter()
            .any(|all| all.groups.null_count() + all.members.null_count() + all.joins.null_count() > 0);
    match (puts || regroupings, nulls) {
        (true, _) => Some("its columns are not equally long"),
        (false, true) => Some("a key, group or member is null"),
        (false, false) => None,
    }
}

/// A little more than the changes take.
fn size_of_changes(commit: &Commit) -> usize {
    const OVERHEAD: usize = 8;
    let puts = commit.puts.iter().map(|puts| {
        puts.keys.value_data().len() + puts.values.value_data().len() + puts.keys.len() * OVERHEAD
    });
    let regroupings = commit.regroupings.iter().map(|all| {
        all.groups.value_data().len() + all.members.value_data().len() + all.groups.len() * OVERHEAD
    });
    puts.chain(regroupings).sum()
}
