//! One frame through both bodies of the core: on the host, and in the kernel
//! through BPF_PROG_TEST_RUN.

use crate::{host_tables::HostTables, recorder::Recorder};
use anyhow::{Context as _, Result, ensure};
use filter_common::{
    filter::{Host, filter},
    frame::BufferFrame,
    hash::HashKey,
    layout::{Control, POLICY_REFUSE_BYPASS, Record},
    reason::{Action, Reason},
    scratch::Scratch,
};
use filter_kernel::{Filter, GenerationChange};
use filter_lists::{
    compile::{self, ListBuilder},
    image::{Image, ListInfo},
    list,
};

/// Room that the kernel gives a TEST_RUN frame: a page less headroom and tail.
const FRAME_ROOM_BYTES: usize = 4096 - 256 - 320;
/// Index of the loopback interface, by which TEST_RUN has frames come in.
const LOOPBACK: u32 = 1;
/// A key as good as any other; without one, all connections would be the same.
const KEY: HashKey =
    HashKey::from_words([0x6e78_6470, 0x7061_7274_7320_6f66, 0x7175_6572_6965_7321]);
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;

/// What a body made of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Why.
    pub reason: Reason,
    /// The frame afterwards.
    pub frame: Vec<u8>,
}

impl Verdict {
    /// That of a frame which is left as it is.
    pub const fn as_it_came(reason: Reason, frame: Vec<u8>) -> Self {
        Self { reason, frame }
    }
}

/// Compiles lists given as name and text.
pub fn compile_texts(lists: &[(&str, &str)]) -> Result<Image> {
    compile_texts_with(lists, None)
}

/// The same, with a key that `seed` makes.
pub fn compile_texts_with(lists: &[(&str, &str)], seed: Option<u64>) -> Result<Image> {
    let mut builders = Vec::new();
    for (name, text) in lists {
        let mut builder = ListBuilder::new(ListInfo {
            ede_text: Some((*name).to_owned()),
            ..ListInfo::new(name, name)
        });
        list::parse(
            text.as_bytes(),
            &list::Options::default(),
            &mut |line: u32, rule: &_| builder.rule(line, rule),
        )?;
        builders.push(builder);
    }
    let builders: Vec<&ListBuilder> = builders.iter().collect();
    let options = compile::Options {
        seed,
        ..compile::Options::default()
    };
    Ok(compile::compile(&builders, &options)?)
}

/// The core on the host over the records of an image.
pub struct HostEngine {
    tables: HostTables,
    scratch: Box<Scratch>,
    /// Some policy refuses encrypted transports.
    watches_bypasses: bool,
    recorder: Option<Recorder>,
}

impl HostEngine {
    /// Puts `image` where a filter would have it, with a key of its own for connections.
    pub fn new(image: &Image) -> Self {
        Self::with_key(image, KEY)
    }

    /// The same, with the key that `kernel` drew: both have the same places for connections.
    pub fn beside(image: &Image, kernel: &KernelEngine) -> Self {
        Self::with_key(image, kernel.filter.maps.key())
    }

    fn with_key(image: &Image, key: HashKey) -> Self {
        let control = Control {
            active: 1,
            key,
            ..Control::default()
        };
        let mut records = vec![Record(bytemuck::cast(control))];
        records.extend_from_slice(image.records());
        Self::over(HostTables::new(records))
    }

    /// Judges by these tables.
    pub fn over(tables: HostTables) -> Self {
        let mut policies = tables.policies.values();
        Self {
            watches_bypasses: policies.any(|policy| policy.flags & POLICY_REFUSE_BYPASS != 0),
            recorder: Recorder::start(&tables),
            tables,
            scratch: bytemuck::allocation::zeroed_box(),
        }
    }

    /// Sets the time, in nanoseconds of CLOCK_BOOTTIME.
    pub fn set_now(&mut self, now_ns: u64) {
        self.tables.now_ns.set(now_ns);
    }

    /// Whether the verdict of the last frame depended on frames before it, or others will depend on it: the
    /// same frame without them is another one.
    pub fn has_followed(&self) -> bool {
        self.tables.has_followed.get()
    }

    /// Judges one frame.
    pub fn judge(&mut self, frame: &[u8]) -> Verdict {
        self.tables.has_followed.set(false);
        let before = frame;
        let mut buffer = frame.to_vec();
        buffer.resize(FRAME_ROOM_BYTES.max(frame.len()), 0);
        let mut frame = BufferFrame::new(&mut buffer, frame.len()).from_interface(LOOPBACK);
        if self.watches_bypasses {
            frame = frame.watching_bypasses();
        }
        let reason = filter(&mut frame, || {
            Some(Host::new(&self.tables, &mut self.scratch))
        });
        if let Some(recorder) = &mut self.recorder {
            recorder.frame(self.tables.now_ns.get(), before, (reason, frame.bytes()));
        }
        Verdict {
            reason,
            frame: frame.bytes().to_vec(),
        }
    }
}

/// The core in the kernel.
pub struct KernelEngine {
    filter: Filter,
}

impl KernelEngine {
    /// Loads the program with `image`.
    pub fn new(image: &Image) -> Result<Self> {
        Self::with_custom(image, None)
    }

    /// Loads the program with `image` and one of custom categories.
    pub fn with_custom(image: &Image, custom: Option<&Image>) -> Result<Self> {
        let records = custom.map_or(&[][..], Image::records);
        let capacity = u32::try_from(image.records().len() + records.len() + 1)?;
        let mut filter = Filter::load(capacity).context("load the program (needs root)")?;
        let judge = |_: &[_]| true;
        let custom = custom.map_or(GenerationChange::Keep, |custom| {
            GenerationChange::To(custom.records(), &judge)
        });
        let lists = GenerationChange::To(image.records(), &judge);
        filter.maps.change_generations(lists, custom)?;
        Ok(Self { filter })
    }

    /// Loads the program and leaves its maps as the kernel made them: all zero.
    pub fn empty() -> Result<Self> {
        let filter = Filter::load(1).context("load the program (needs root)")?;
        Ok(Self { filter })
    }

    /// Judges one frame; the reason is the counter that moved.
    pub fn judge(&mut self, frame: &[u8]) -> Result<Verdict> {
        let before = self.filter.maps.counters()?;
        let outcome = self.filter.test_run(frame, 1)?;
        let moved = self.filter.maps.counters()?.since(&before);
        let mut reasons = moved.iter().filter(|(_, packets)| *packets > 0);
        let (reason, packets) = reasons.next().context("no counter moved")?;
        ensure!(
            packets == 1 && reasons.next().is_none(),
            "one packet moved several counters"
        );
        let action = match reason.action() {
            Action::Pass => XDP_PASS,
            Action::Drop => XDP_DROP,
            Action::Transmit => XDP_TX,
        };
        ensure!(
            outcome.action == action,
            "counted as {} but returned {}",
            reason.name(),
            outcome.action
        );
        Ok(Verdict {
            reason,
            frame: outcome.frame,
        })
    }

    /// The loaded filter.
    pub fn filter(&mut self) -> &mut Filter {
        &mut self.filter
    }
}
