//! The lanes of a process that is up: intake, lake, star.
//!
//! Mirrors `pipeline::ingest`, `lake_lane` and `star_lane`; what is a matter of
//! time there (pacing, flush age, the interval of idle records) is for the dice.

use std::collections::BTreeMap;
use std::rc::Rc;

use dabi_core::change::ChangeBatch;
use dabi_core::debezium::{Headers, PartitionDecoder, Record};
use dabi_core::manifest::{Account, Author, Head, Manifest};
use dabi_core::position::{Offset, Position, Topic};
use dabi_core::version::Epoch;

use crate::kafka::offset;
use crate::lake;
use crate::process::{Halt, Process};
use crate::star::{SealedEpoch, Star, StarEpoch};
use crate::tasks::{Queue, step};
use crate::wire::Message;

/// Records taken from a partition at once.
const POLL_RECORDS_MAX: usize = 6;

/// What a process runs on once it is up.
pub(crate) struct Lanes {
    pub(crate) process: Process,
    pub(crate) author: Author,
    pub(crate) head: Head,
    pub(crate) star: Star,
}

impl Lanes {
    pub(crate) fn spawn(self) {
        let Self { process, author, head, star } = self;
        let (to_star, to_lake, rows) = (Queue::new(1), Queue::new(usize::MAX), Queue::new(1));
        let star_start = star.starts();
        process.life.visible.borrow_mut().clone_from(&star_start);
        process.life.tell(&star);
        let starts = [head.position.clone(), star_start];
        let (id, spawner) = (process.life.id, process.spawner.clone());
        spawner.spawn(id, ingest(process.clone(), starts, to_star.clone(), to_lake.clone()));
        spawner.spawn(id, lake(process.clone(), author, head, to_lake));
        spawner.spawn(id, evaluate(process.clone(), star, to_star, rows.clone()));
        spawner.spawn(id, publish(process, rows));
    }
}

/// Headers of a record.
struct Header<'a>(&'a Message);

impl Headers for Header<'_> {
    fn last(&self, name: &str) -> Option<&[u8]> {
        self.0.header.as_ref().filter(|(known, _)| *known == name).map(|(_, value)| value.as_slice())
    }
}

type Decoders = BTreeMap<(Topic, i32), PartitionDecoder>;

async fn ingest(
    process: Process,
    starts: [Position; 2],
    to_star: Queue<Rc<SealedEpoch>>,
    to_lake: Queue<Rc<SealedEpoch>>,
) -> Result<(), Halt> {
    let mut position = starts[0].meet(&starts[1]);
    // Where reading is, which is ahead of the last closed epoch.
    let mut read = position.clone();
    let mut decoders = Decoders::new();
    let mut number = Epoch(1);
    loop {
        step().await;
        let stopping = process.life.stopping.get();
        if !stopping {
            poll(&process, &starts, &mut read, &mut decoders);
        }
        let has_records = decoders.values().any(PartitionDecoder::has_records);
        if has_records && to_star.has_room() && (stopping || process.world.borrow_mut().rng.u8(0..3) == 0) {
            let decoded: Vec<_> = decoders.values_mut().flat_map(PartitionDecoder::drain).collect();
            decoded.iter().for_each(|part| part.advance(&mut position));
            let epoch = Rc::new(SealedEpoch { number, decoded, position: position.clone() });
            to_lake.send(Rc::clone(&epoch)).await;
            to_star.send(epoch).await;
            number = number.next();
        } else if stopping && !has_records {
            to_lake.close();
            to_star.close();
            return Ok(());
        }
    }
}

/// Reads some records of some partition.
fn poll(process: &Process, starts: &[Position], read: &mut Position, decoders: &mut Decoders) {
    let world = &mut *process.world.borrow_mut();
    let behind: Vec<(Topic, i32, usize)> = world
        .kafka
        .partitions()
        .map(|(topic, number, records)| {
            let next = read.get(topic, number).unwrap_or_default();
            (Topic::clone(topic), number, usize::try_from(next.0).expect("not negative").min(records.len()))
        })
        .filter(|(topic, number, next)| {
            *next < world.kafka.topics[topic][usize::try_from(*number).expect("few")].len()
        })
        .collect();
    if behind.is_empty() {
        return;
    }
    let (topic, number, next) = &behind[world.rng.usize(0..behind.len())];
    let records = &world.kafka.topics[topic][usize::try_from(*number).expect("few")];
    let some = world.rng.usize(1..=POLL_RECORDS_MAX);
    for (index, message) in records.iter().enumerate().skip(*next).take(some) {
        let Some(message) = message else { continue };
        let decoder = decoders.entry((Topic::clone(topic), *number));
        let decoder = decoder.or_insert_with(|| PartitionDecoder::new(topic, *number, starts));
        decoder.push(&Record {
            partition: *number,
            offset: Offset(offset(index)),
            timestamp_ms: Some(message.timestamp_ms),
            key: message.key.as_deref(),
            value: message.value.as_deref(),
            headers: &Header(message),
        });
        read.set(topic, *number, Offset(offset(index) + 1));
    }
}

async fn lake(
    process: Process,
    author: Author,
    mut head: Head,
    epochs: Queue<Rc<SealedEpoch>>,
) -> Result<(), Halt> {
    let start = head.position.clone();
    let mut account = Account::new(start.clone());
    let (mut batches, mut last, mut files, mut any) = (Vec::new(), Epoch(0), 0, false);
    loop {
        step().await;
        let ended = epochs.is_ended();
        if let Some(epoch) = epochs.try_next() {
            last = epoch.number;
            for decoded in epoch.decoded.iter().filter(|decoded| decoded.is_new_to(&start)) {
                account.take(decoded)?;
                batches.extend(decoded.batches.iter().cloned());
                any = true;
            }
        }
        let due = ended || process.world.borrow_mut().rng.u8(0..6) == 0;
        if any && due {
            head = commit(&process, &author, &head, last, &mut account, &mut files, &batches).await?;
            batches.clear();
            any = false;
        }
        if ended {
            return Ok(());
        }
    }
}

/// All files first, then the manifest that names them.
async fn commit(
    process: &Process,
    author: &Author,
    head: &Head,
    last: Epoch,
    account: &mut Account,
    files: &mut u64,
    batches: &[ChangeBatch],
) -> Result<Head, Halt> {
    let number = std::cell::Cell::new(*files);
    let name = |table: &dabi_core::table::SourceTable| {
        number.set(number.get() + 1);
        format!("{table}/{}-{}-{}.parquet", author.term, author.writer, number.get())
    };
    let (mut contents, objects) = lake::files(name, batches);
    *files = number.get();
    contents.topics = account.seal();
    let manifest = Manifest::next(Some(head), author, last, contents)?;
    for (path, batches) in objects {
        process.ask(&format!("upload {path}"), |world| world.objects.put_file(&path, batches.clone())).await;
    }
    if process.create_manifest(&manifest).await {
        return Ok(manifest.head());
    }
    let newer = process.world.borrow().objects.highest_term();
    Err(Halt::Fenced(newer))
}

async fn evaluate(
    process: Process,
    mut star: Star,
    epochs: Queue<Rc<SealedEpoch>>,
    rows: Queue<(StarEpoch, Option<Rc<std::cell::Cell<u64>>>)>,
) -> Result<(), Halt> {
    let life = Rc::clone(&process.life);
    loop {
        life.tell(&star);
        step().await;
        let ended = epochs.is_ended();
        let epoch = epochs.try_next();
        let works = star.has_work() && !(ended && life.stopping.get());
        let epoch = match epoch {
            Some(epoch) => star.evaluate(&epoch)?,
            None if works => star.work(&[], &Position::default())?,
            None if ended => break,
            None => continue,
        };
        process.note(|| format!("evaluated epoch {} up to {:?}", epoch.number, epoch.position));
        life.on_the_way.set(life.on_the_way.get() + 1);
        let stored = star.stateful.as_ref().map(|stateful| Rc::clone(&stateful.stored));
        rows.send((epoch, stored)).await;
    }
    rows.close();
    Ok(())
}

async fn publish(
    process: Process,
    epochs: Queue<(StarEpoch, Option<Rc<std::cell::Cell<u64>>>)>,
) -> Result<(), Halt> {
    let life = Rc::clone(&process.life);
    let (mut recorded, mut unrecorded) = (false, None);
    while let Some((epoch, stored)) = epochs.next().await {
        let soon = recorded && process.world.borrow_mut().rng.bool();
        if epoch.rows == 0 && epoch.truncates.is_empty() && soon {
            unrecorded = Some(epoch.record);
        } else {
            process.store(&epoch).await?;
            process.record(epoch.record).await;
            if let Some(stored) = stored {
                stored.set(epoch.number.0);
            }
            (recorded, unrecorded) = (true, None);
        }
        *life.visible.borrow_mut() = epoch.position;
        life.on_the_way.set(life.on_the_way.get() - 1);
    }
    if let Some(record) = unrecorded {
        process.record(record).await;
    }
    Ok(())
}
