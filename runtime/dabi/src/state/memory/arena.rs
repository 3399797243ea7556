//! The bytes of one shard: blocks of memory that are given out and taken back.
//!
//! Owns where a block lies. Does not own what is in it (`record`), or who points
//! at it (`table`, `groups`).
//!
//! Invariant: what is held never exceeds what was once live at the same time, in
//! each size of block; where sizes drift apart, `is_wasteful` says that it is
//! time to copy what is live into a new arena.

/// Blocks are multiples of this, so that an address of 32 bits reaches 64 GiB.
const UNIT_BYTES: usize = 16;
const CHUNK_UNITS: usize = 1 << CHUNK_BITS;
const CHUNK_BITS: u32 = 12;
/// Larger blocks get a chunk of their own, which goes back to the system.
const SHARED_UNITS_MAX: usize = CHUNK_UNITS / 4;
/// Up to here each size has its own list; beyond, four sizes between doublings.
const EXACT_UNITS_MAX: usize = 64;
/// Below this nothing is worth copying.
const WASTE_BYTES_MIN: usize = 256 << 10;

/// Where a block begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Address(u32);

impl Address {
    /// No block has it.
    pub(super) const NONE: Self = Self(u32::MAX);

    fn new(chunk: usize, unit: usize) -> Self {
        let address = chunk << CHUNK_BITS | unit;
        let address = u32::try_from(address).ok().filter(|address| *address != u32::MAX);
        Self(address.expect("a shard holds less than 64 GiB: the limit on memory stops it long before"))
    }

    fn chunk(self) -> usize {
        (self.0 >> CHUNK_BITS) as usize
    }

    fn byte(self) -> usize {
        (self.0 as usize & (CHUNK_UNITS - 1)) * UNIT_BYTES
    }
}

/// The memory of one shard.
#[derive(Default)]
pub(super) struct Arena {
    /// Empty where a chunk of a large block was given back.
    chunks: Vec<Box<[u8]>>,
    /// Numbers of such chunks.
    vacant: Vec<usize>,
    /// The chunk from which new blocks are cut, and its first free unit.
    open: Option<(usize, usize)>,
    /// Blocks given back, by their size in units.
    free: Vec<Vec<Address>>,
    held_bytes: usize,
    free_bytes: usize,
}

impl Arena {
    /// Memory held, free blocks included.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Memory in blocks that are given out.
    pub(super) fn live_bytes(&self) -> usize {
        let uncut = self.open.map_or(0, |(_, unit)| (CHUNK_UNITS - unit) * UNIT_BYTES);
        self.held_bytes - self.free_bytes - uncut
    }

    /// Is more than a third of what was cut lying free?
    pub(super) fn is_wasteful(&self) -> bool {
        self.free_bytes > WASTE_BYTES_MIN && self.free_bytes > self.live_bytes() / 2
    }

    /// A block of at least `bytes`, its content undefined.
    pub(super) fn allocate(&mut self, bytes: usize) -> Address {
        let units = block_units(bytes);
        if units > SHARED_UNITS_MAX {
            return self.allocate_alone(units);
        }
        if let Some(address) = self.free.get_mut(units).and_then(Vec::pop) {
            self.free_bytes -= units * UNIT_BYTES;
            return address;
        }
        let (chunk, unit) = match self.open {
            Some((chunk, unit)) if unit + units <= CHUNK_UNITS => (chunk, unit),
            full => {
                let rest = full.map_or(0, |(_, unit)| CHUNK_UNITS - unit);
                self.free_bytes += rest * UNIT_BYTES;
                (self.add_chunk(CHUNK_UNITS), 0)
            }
        };
        self.open = Some((chunk, unit + units));
        Address::new(chunk, unit)
    }

    /// Takes back the block at `address` that was asked for with `bytes`.
    pub(super) fn release(&mut self, address: Address, bytes: usize) {
        let units = block_units(bytes);
        if units > SHARED_UNITS_MAX {
            self.chunks[address.chunk()] = Box::default();
            self.vacant.push(address.chunk());
            self.held_bytes -= units * UNIT_BYTES;
            return;
        }
        if self.free.len() <= units {
            self.free.resize_with(units + 1, Vec::new);
        }
        self.free[units].push(address);
        self.free_bytes += units * UNIT_BYTES;
    }

    /// Would both sizes get the same block?
    pub(super) fn is_same_block(bytes: usize, other: usize) -> bool {
        block_units(bytes) == block_units(other)
    }

    /// From the block's beginning to the end of its chunk.
    pub(super) fn at(&self, address: Address) -> &[u8] {
        &self.chunks[address.chunk()][address.byte()..]
    }

    /// As [`Arena::at`], to write.
    pub(super) fn at_mut(&mut self, address: Address) -> &mut [u8] {
        &mut self.chunks[address.chunk()][address.byte()..]
    }

    fn allocate_alone(&mut self, units: usize) -> Address {
        let Some(chunk) = self.vacant.pop() else { return Address::new(self.add_chunk(units), 0) };
        self.chunks[chunk] = vec![0; units * UNIT_BYTES].into_boxed_slice();
        self.held_bytes += units * UNIT_BYTES;
        Address::new(chunk, 0)
    }

    fn add_chunk(&mut self, units: usize) -> usize {
        self.held_bytes += units * UNIT_BYTES;
        self.chunks.push(vec![0; units * UNIT_BYTES].into_boxed_slice());
        self.chunks.len() - 1
    }
}

/// How large the block is that holds so many bytes.
fn block_units(bytes: usize) -> usize {
    let units = bytes.div_ceil(UNIT_BYTES).max(1);
    if units <= EXACT_UNITS_MAX || units > SHARED_UNITS_MAX {
        return units;
    }
    units.next_multiple_of(1 << ((units - 1).ilog2() - 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_given_back_is_given_out_again() {
        let mut arena = Arena::default();
        let blocks: Vec<Address> = (0..10_000).map(|_| arena.allocate(100)).collect();
        let held = arena.held_bytes();
        blocks.into_iter().for_each(|block| arena.release(block, 100));
        assert_eq!(arena.live_bytes(), 0);
        (0..10_000).for_each(|_| _ = arena.allocate(100));
        assert_eq!(arena.held_bytes(), held);
    }

    #[test]
    fn a_large_block_goes_back_to_the_system() {
        let mut arena = Arena::default();
        let first = arena.allocate(1 << 20);
        arena.at_mut(first)[(1 << 20) - 1] = 7;
        arena.release(first, 1 << 20);
        assert_eq!(arena.held_bytes(), 0);
        assert_eq!(arena.allocate(2 << 20), first, "its number is used again");
    }

    #[test]
    fn a_block_holds_what_was_asked_for_and_sizes_grow_with_it() {
        let sizes = (0..40_000).map(|bytes| (bytes, block_units(bytes)));
        for ((bytes, units), (_, next)) in sizes.clone().zip(sizes.skip(1)) {
            assert!(units * UNIT_BYTES >= bytes && units <= next, "{bytes}");
        }
    }

    #[test]
    fn drifting_sizes_are_noticed() {
        let mut arena = Arena::default();
        for bytes in (100..2_000).step_by(16) {
            let blocks: Vec<Address> = (0..500).map(|_| arena.allocate(bytes)).collect();
            blocks.into_iter().for_each(|block| arena.release(block, bytes));
        }
        assert!(arena.is_wasteful());
    }
}
