//! A hash table of addresses, ordered by hash.
//!
//! Owns the slots: 8 bytes each, a tag (32 bits of the key's hash) and where the
//! record lies. Does not own the records: who looks for one compares the keys.
//!
//! Invariants: slots ascend by tag, and among equal tags by key, with gaps in
//! between; no gap lies between a tag's home and its slot. So a table can be
//! walked in an order that its growth does not change, and growing moves slots
//! front to back without a look at the records.

use std::cmp::Ordering;

use super::arena::Address;

const BITS_MIN: u32 = 4;

#[derive(Clone, Copy)]
struct Slot {
    tag: u32,
    record: Address,
}

const VACANT: Slot = Slot { tag: 0, record: Address::NONE };

/// Addresses of records, by the tags of their keys.
pub(super) struct Table {
    /// `1 << bits` homes, then as many slots as the last ones overflow into.
    slots: Vec<Slot>,
    bits: u32,
    len: usize,
}

/// A place in the table, until it is changed.
#[derive(Clone, Copy)]
pub(super) struct Place(usize);

impl Default for Table {
    fn default() -> Self {
        Self { slots: vec![VACANT; 1 << BITS_MIN], bits: BITS_MIN, len: 0 }
    }
}

impl Table {
    /// Records.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Memory held.
    pub(super) fn held_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<Slot>()
    }

    /// Where the record is that `compare` finds equal among those of the tag, or
    /// where it belongs.
    pub(super) fn find(&self, tag: u32, compare: impl Fn(Address) -> Ordering) -> Result<Place, Place> {
        let mut place = self.home(tag);
        loop {
            let Some(slot) = self.slots.get(place) else { return Err(Place(place)) };
            if slot.record == Address::NONE || slot.tag > tag {
                return Err(Place(place));
            }
            if slot.tag == tag {
                match compare(slot.record) {
                    Ordering::Less => {}
                    Ordering::Equal => return Ok(Place(place)),
                    Ordering::Greater => return Err(Place(place)),
                }
            }
            place += 1;
        }
    }

    /// The record at a place that [`Table::find`] found.
    pub(super) fn record(&self, place: Place) -> Address {
        self.slots[place.0].record
    }

    /// The record at `place` lies elsewhere now.
    pub(super) fn relink(&mut self, place: Place, record: Address) {
        self.slots[place.0].record = record;
    }

    /// Adds a record where [`Table::find`] said that it belongs.
    pub(super) fn insert(&mut self, Place(place): Place, tag: u32, record: Address) {
        let vacant = self.slots[place..].iter().position(|slot| slot.record == Address::NONE);
        let end = vacant.map_or(self.slots.len(), |distance| place + distance);
        if end == self.slots.len() {
            self.slots.push(VACANT);
        }
        self.slots.copy_within(place..end, place + 1);
        self.slots[place] = Slot { tag, record };
        self.len += 1;
        if self.len > (1 << self.bits) / 4 * 3 {
            self.grow();
        }
    }

    /// Removes the record at a place that [`Table::find`] found.
    pub(super) fn remove(&mut self, Place(place): Place) {
        // those behind it move up, as far as they are not at home
        let mut end = place + 1;
        while self.slots.get(end).is_some_and(|s| s.record != Address::NONE && self.home(s.tag) < end) {
            end += 1;
        }
        self.slots.copy_within(place + 1..end, place);
        self.slots[end - 1] = VACANT;
        self.len -= 1;
    }

    /// Records from the first whose tag is at least `tag`.
    pub(super) fn from(&self, tag: u32) -> impl Iterator<Item = (u32, Address)> {
        self.slots[self.home(tag)..]
            .iter()
            .filter(|slot| slot.record != Address::NONE)
            .skip_while(move |slot| slot.tag < tag)
            .map(|slot| (slot.tag, slot.record))
    }

    /// Lets `relocate` say anew where each record lies.
    pub(super) fn relocate(&mut self, mut relocate: impl FnMut(Address) -> Address) {
        for slot in self.slots.iter_mut().filter(|slot| slot.record != Address::NONE) {
            slot.record = relocate(slot.record);
        }
    }

    fn home(&self, tag: u32) -> usize {
        (tag >> (u32::BITS - self.bits)) as usize
    }

    fn grow(&mut self) {
        self.bits += 1;
        let old = std::mem::replace(&mut self.slots, vec![VACANT; 1 << self.bits]);
        let mut next = 0;
        for slot in old.into_iter().filter(|slot| slot.record != Address::NONE) {
            let place = self.home(slot.tag).max(next);
            if place == self.slots.len() {
                self.slots.push(slot);
            } else {
                self.slots[place] = slot;
            }
            next = place + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::arena::Arena;
    use super::*;

    /// Few tags, many of them high: clusters at the end, and equal tags.
    fn tags() -> impl Strategy<Value = u32> {
        prop_oneof![any::<u32>(), (u32::MAX - 40)..=u32::MAX, 0_u32..8]
    }

    proptest! {
        #[test]
        fn it_is_an_ordered_set(steps in prop::collection::vec((tags(), any::<u8>(), any::<bool>()), 0..400)) {
            let mut arena = Arena::default();
            let mut table = Table::default();
            let mut model = BTreeSet::new();
            for (tag, key, add) in steps {
                let key = key % 4;
                let found = table.find(tag, |at| arena.at(at)[0].cmp(&key));
                assert_eq!(found.is_ok(), model.contains(&(tag, key)));
                match found {
                    Ok(place) if !add => {
                        table.remove(place);
                        model.remove(&(tag, key));
                    }
                    Err(place) if add => {
                        let at = arena.allocate(1);
                        arena.at_mut(at)[0] = key;
                        table.insert(place, tag, at);
                        model.insert((tag, key));
                    }
                    _ => {}
                }
                assert_eq!(table.len(), model.len());
            }
            let walk = |from| table.from(from).map(|(tag, at)| (tag, arena.at(at)[0])).collect::<Vec<_>>();
            for from in [0, 4, u32::MAX / 2, u32::MAX - 20] {
                assert_eq!(walk(from), model.range((from, 0)..).copied().collect::<Vec<_>>());
            }
        }
    }
}
