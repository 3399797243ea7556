//! librdkafka's consumer through its C interface.
//!
//! Owns every `unsafe` line of the source. Rust's `rdkafka` crate hands out
//! one message per call and forwards all events into the queue of messages,
//! which a batch read must not meet; so the client is made here, with its
//! events on the main queue and its messages on the consumer queue.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};
use std::sync::mpsc;
use std::time::Duration;

use rdkafka::client::Client;
use rdkafka::config::ClientConfig;
use rdkafka::error::{IsError, KafkaError, RDKafkaErrorCode};
use rdkafka::{ClientContext, TopicPartitionList};
use rdkafka_sys as sys;

use super::status::Status;

/// What librdkafka's callbacks find behind their opaque pointer.
#[derive(Debug, Default)]
pub(super) struct Context {
    pub(super) status: Status,
}

impl ClientContext for Context {}

/// A consumer with its two queues.
pub(super) struct Consumer {
    queue: ManuallyDrop<Queue>,
    client: ManuallyDrop<Client<Context>>,
}

/// How long an ending client is waited for.
const END_WITHIN: Duration = Duration::from_secs(3);

impl Drop for Consumer {
    fn drop(&mut self) {
        // SAFETY: the queue goes before its client, and is not touched again.
        unsafe { ManuallyDrop::drop(&mut self.queue) };
        let ending = Ending(self.client.native_ptr());
        let (done, ended) = mpsc::channel();
        let thread = std::thread::Builder::new().name("kafka-end".to_owned()).spawn(move || {
            ending.run();
            // Nobody listens any more where it took too long.
            let _ = done.send(());
        });
        // A request that a silent broker has taken holds the client up for a
        // minute: then it is left to its thread, so that dabi can stop.
        match thread {
            Ok(thread) if ended.recv_timeout(END_WITHIN).is_ok() => {
                let _ = thread.join();
            }
            _ => tracing::debug!("the Kafka client ends in the background: a broker owes it an answer"),
        }
    }
}

/// A client whose queues are gone, on its way to the thread that ends it.
struct Ending(*mut sys::rd_kafka_t);

// SAFETY: librdkafka lets any thread destroy a client.
unsafe impl Send for Ending {}

impl Ending {
    fn run(self) {
        // `Client` itself would first close the consumer, and wait for group
        // offsets that cannot be sent, for ever. There is no group to leave.
        // SAFETY: called once, and by nobody else: the client's Rust half is
        // never dropped. Its context stays behind, a few hundred bytes, for
        // callbacks that still run.
        unsafe { sys::rd_kafka_destroy_flags(self.0, sys::RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE) };
    }
}

struct Queue(NonNull<sys::rd_kafka_queue_t>);

// SAFETY: librdkafka's queues are internally locked and may be used from any
// thread (rdkafka.h: "librdkafka is completely thread-safe").
unsafe impl Send for Queue {}
// SAFETY: as above.
unsafe impl Sync for Queue {}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: the reference that `rd_kafka_queue_get_consumer` gave.
        unsafe { sys::rd_kafka_queue_destroy(self.0.as_ptr()) }
    }
}

impl Consumer {
    /// A consumer that reads nothing yet.
    pub(super) fn new(config: &ClientConfig) -> Result<Self, KafkaError> {
        let native = config.create_native_config()?;
        // SAFETY: the configuration is alive, and the callbacks have the
        // signatures that rdkafka.h asks for. `Client::new` sets the opaque
        // pointer to its context, which lives as long as the client.
        unsafe {
            sys::rd_kafka_conf_set_log_cb(native.ptr(), Some(on_log));
            sys::rd_kafka_conf_set_error_cb(native.ptr(), Some(on_error));
            sys::rd_kafka_conf_set_offset_commit_cb(native.ptr(), Some(on_commit));
        }
        let client =
            Client::new(config, native, sys::types::RDKafkaType::RD_KAFKA_CONSUMER, Context::default())?;
        // SAFETY: the client is alive; the reference is given back by `Queue`.
        let queue = NonNull::new(unsafe { sys::rd_kafka_queue_get_consumer(client.native_ptr()) })
            .ok_or_else(|| KafkaError::ClientCreation("it has no consumer queue".to_owned()))?;
        Ok(Self { queue: ManuallyDrop::new(Queue(queue)), client: ManuallyDrop::new(client) })
    }

    /// Metadata and watermarks.
    pub(super) fn client(&self) -> &Client<Context> {
        &self.client
    }

    /// The state of the connection.
    pub(super) fn status(&self) -> &Status {
        &self.client.context().status
    }

    /// Runs the callbacks of what has happened since the last call.
    pub(super) fn serve_events(&self) {
        // SAFETY: the client is alive. Without `rd_kafka_poll_set_consumer`
        // this serves the main queue only, never messages.
        unsafe { sys::rd_kafka_poll(self.client.native_ptr(), 0) };
    }

    /// Adds partitions to those that are read, each from its offset on.
    pub(super) fn assign_more(&self, partitions: &TopicPartitionList) -> Result<(), String> {
        // SAFETY: both are alive; librdkafka copies the list.
        outcome(unsafe { sys::rd_kafka_incremental_assign(self.client.native_ptr(), partitions.ptr()) })
    }

    /// Takes partitions away from those that are read; none of their records comes
    /// any more.
    pub(super) fn assign_less(&self, partitions: &TopicPartitionList) -> Result<(), String> {
        // SAFETY: both are alive; librdkafka copies the list.
        outcome(unsafe { sys::rd_kafka_incremental_unassign(self.client.native_ptr(), partitions.ptr()) })
    }

    /// Puts in the place of each time (ms since 1970) in `times` the offset of the
    /// first record of that time or later; the end where there is none.
    pub(super) fn offsets_for_times(
        &self,
        times: &mut TopicPartitionList,
        within: Duration,
    ) -> Result<(), RDKafkaErrorCode> {
        let within_ms = c_int::try_from(within.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: both are alive, and nobody else has the list, which is written to.
        let code =
            unsafe { sys::rd_kafka_offsets_for_times(self.client.native_ptr(), times.ptr(), within_ms) };
        if code.is_error() { Err(code.into()) } else { Ok(()) }
    }

    /// Sends group offsets; the answer comes as an event, to `Status`.
    pub(super) fn commit(&self, offsets: &TopicPartitionList) -> Result<(), RDKafkaErrorCode> {
        // SAFETY: both are alive; librdkafka copies the list.
        let code = unsafe { sys::rd_kafka_commit(self.client.native_ptr(), offsets.ptr(), 1) };
        if code.is_error() { Err(code.into()) } else { Ok(()) }
    }

    /// The low and high watermark as the last fetch told them; `None` before it.
    pub(super) fn cached_watermarks(&self, topic: &CStr, partition: i32) -> Option<(i64, i64)> {
        let (mut low, mut high) = (-1, -1);
        // SAFETY: all pointers are valid for the call.
        let code = unsafe {
            sys::rd_kafka_get_watermark_offsets(
                self.client.native_ptr(),
                topic.as_ptr(),
                partition,
                &raw mut low,
                &raw mut high,
            )
        };
        (!code.is_error() && high >= 0).then_some((low, high))
    }

    /// Appends what is there to `into`, at most `max` messages; waits up to
    /// `max_wait` for the first.
    pub(super) fn consume(&self, into: &mut Vec<RawMessage>, max: usize, max_wait: Duration) {
        // A batch read waits until the batch is full. Hence one message with
        // the wait, then without waiting what lies behind it.
        if self.consume_batch(into, max.min(1), max_wait) == 1 {
            self.consume_batch(into, max - 1, Duration::ZERO);
        }
    }

    fn consume_batch(&self, into: &mut Vec<RawMessage>, max: usize, wait: Duration) -> usize {
        let mut messages: Vec<*mut sys::RDKafkaMessage> = vec![ptr::null_mut(); max];
        let wait_ms = c_int::try_from(wait.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: the queue is alive, and `messages` has room for `max` pointers.
        let count = unsafe {
            sys::rd_kafka_consume_batch_queue(self.queue.0.as_ptr(), wait_ms, messages.as_mut_ptr(), max)
        };
        let count = usize::try_from(count).unwrap_or(0);
        into.extend(messages.into_iter().take(count).filter_map(NonNull::new).map(RawMessage));
        count
    }
}

/// What librdkafka says of an assignment; null is success.
fn outcome(error: *mut sys::rd_kafka_error_t) -> Result<(), String> {
    let Some(error) = NonNull::new(error) else { return Ok(()) };
    // SAFETY: a non-null error is ours to read and to destroy, once.
    unsafe {
        let reason = text(sys::rd_kafka_error_string(error.as_ptr()));
        sys::rd_kafka_error_destroy(error.as_ptr());
        Err(reason)
    }
}

/// A message that librdkafka made; destroyed on drop.
///
/// The consumer must outlive it: see [`Message`](super::Message), which sees
/// to that.
pub(super) struct RawMessage(NonNull<sys::RDKafkaMessage>);

// SAFETY: a message is owned by one holder, and librdkafka lets any thread
// read or destroy it. It is not `Sync`: headers are parsed on first use.
unsafe impl Send for RawMessage {}

impl Drop for RawMessage {
    fn drop(&mut self) {
        // SAFETY: owned, and destroyed once.
        unsafe { sys::rd_kafka_message_destroy(self.0.as_ptr()) }
    }
}

impl RawMessage {
    fn fields(&self) -> &sys::RDKafkaMessage {
        // SAFETY: valid until it is destroyed; nothing writes to these fields.
        unsafe { self.0.as_ref() }
    }

    /// The error that stands in place of a record.
    pub(super) fn error(&self) -> Option<RDKafkaErrorCode> {
        self.fields().err.is_error().then(|| self.fields().err.into())
    }

    /// librdkafka's words for that error.
    pub(super) fn error_text(&self) -> String {
        // SAFETY: the message is alive; the text belongs to it.
        unsafe { text(sys::rd_kafka_message_errstr(self.0.as_ptr())) }
    }

    /// Identifies the topic among those of this consumer, for as long as any
    /// partition of it is assigned; 0 for an error that belongs to none.
    pub(super) fn topic_id(&self) -> usize {
        self.fields().rkt.addr()
    }

    /// The topic's name; empty for an error that belongs to none.
    pub(super) fn topic_name(&self) -> String {
        if self.fields().rkt.is_null() {
            return String::new();
        }
        // SAFETY: the message holds its topic.
        unsafe { text(sys::rd_kafka_topic_name(self.fields().rkt)) }
    }

    pub(super) fn partition(&self) -> i32 {
        self.fields().partition
    }

    pub(super) fn offset(&self) -> i64 {
        self.fields().offset
    }

    pub(super) fn key(&self) -> Option<&[u8]> {
        let fields = self.fields();
        // SAFETY: librdkafka's buffer of that length, alive as long as the message.
        unsafe { bytes(fields.key, fields.key_len) }
    }

    pub(super) fn value(&self) -> Option<&[u8]> {
        let fields = self.fields();
        // SAFETY: as for the key.
        unsafe { bytes(fields.payload, fields.len) }
    }

    /// ms since 1970, and whether the broker set it; `None` if the record has none.
    pub(super) fn timestamp(&self) -> Option<(i64, bool)> {
        use sys::rd_kafka_timestamp_type_t as Kind;
        let mut kind = Kind::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        // SAFETY: the message is alive, `kind` is valid for the call.
        let ms = unsafe { sys::rd_kafka_message_timestamp(self.0.as_ptr(), &raw mut kind) };
        match kind {
            Kind::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE => None,
            Kind::RD_KAFKA_TIMESTAMP_CREATE_TIME => Some((ms, false)),
            Kind::RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME => Some((ms, true)),
        }
    }

    /// The headers, in the record's order.
    pub(super) fn headers(&self) -> impl DoubleEndedIterator<Item = (&CStr, Option<&[u8]>)> {
        let mut headers = ptr::null_mut();
        // SAFETY: the message is alive, and not shared between threads while
        // this parses and keeps its headers.
        let code = unsafe { sys::rd_kafka_message_headers(self.0.as_ptr(), &raw mut headers) };
        // SAFETY: valid if there was no error.
        let count = if code.is_error() { 0 } else { unsafe { sys::rd_kafka_header_cnt(headers) } };
        (0..count).filter_map(move |at| {
            let (mut name, mut value, mut size) = (ptr::null(), ptr::null(), 0);
            // SAFETY: the headers belong to the message, `at` is below their number.
            let code = unsafe {
                sys::rd_kafka_header_get_all(headers, at, &raw mut name, &raw mut value, &raw mut size)
            };
            if code.is_error() || name.is_null() {
                return None;
            }
            // SAFETY: name and value belong to the message; the name ends with NUL.
            Some(unsafe { (CStr::from_ptr(name), bytes(value, size)) })
        })
    }
}

/// # Safety
/// `data` is null or points to `len` bytes that live as long as `'a`.
unsafe fn bytes<'a>(data: *const c_void, len: usize) -> Option<&'a [u8]> {
    // SAFETY: the caller's promise.
    (!data.is_null()).then(|| unsafe { std::slice::from_raw_parts(data.cast(), len) })
}

/// # Safety
/// `chars` is null or a string that ends with NUL.
unsafe fn text(chars: *const c_char) -> String {
    if chars.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(chars) }.to_string_lossy().trim().to_owned()
}

/// A topic name for the C interface; `None` if no topic can have it.
pub(super) fn c_name(topic: &str) -> Option<CString> {
    CString::new(topic).ok()
}

unsafe extern "C" fn on_log(
    client: *const sys::rd_kafka_t,
    level: c_int,
    facility: *const c_char,
    line: *const c_char,
) {
    // SAFETY: librdkafka calls with its own client and valid strings; the
    // opaque pointer is the client's context (see `Consumer::new`), or null
    // while the client is being made.
    unsafe {
        let Some(context) = sys::rd_kafka_opaque(client).cast::<Context>().as_ref() else { return };
        context.status.log(level, &text(facility), &text(line));
    }
}

unsafe extern "C" fn on_error(
    _client: *mut sys::rd_kafka_t,
    code: c_int,
    reason: *const c_char,
    opaque: *mut c_void,
) {
    // SAFETY: as in `on_log`.
    unsafe {
        let Some(context) = opaque.cast::<Context>().as_ref() else { return };
        let code = sys::RDKafkaRespErr::try_from(code).map_or(RDKafkaErrorCode::Unknown, Into::into);
        context.status.error(code, &text(reason));
    }
}

unsafe extern "C" fn on_commit(
    _client: *mut sys::rd_kafka_t,
    code: sys::rd_kafka_resp_err_t,
    _offsets: *mut sys::rd_kafka_topic_partition_list_t,
    opaque: *mut c_void,
) {
    // SAFETY: as in `on_log`.
    unsafe {
        let Some(context) = opaque.cast::<Context>().as_ref() else { return };
        context.status.committed(if code.is_error() { Err(code.into()) } else { Ok(()) });
    }
}
