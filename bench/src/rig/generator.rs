//! Frames that the kernel makes by itself, one after the other.
//!
//! BPF_PROG_TEST_RUN with live frames runs `generate` over fresh frames and sends them; `collect`, on
//! the same interface, counts the answers. No socket and no copy limits it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use aya::{
    Ebpf, TestRun as _, TestRunAttrs, TestRunOptions,
    maps::{Array, MapData, PerCpuArray},
    programs::{Xdp, XdpMode},
};
use filter_kernel::interface_index;
use nxdp_lab::namespace::Namespace;

use crate::programs::object;

/// `QUERY_COUNT` and `QUERY_MAX_BYTES` of the kernel side.
const QUERY_COUNT: usize = 1 << 16;
const QUERY_MAX_BYTES: usize = 124;
const QUERY_BYTES: usize = 4 + QUERY_MAX_BYTES;
/// Frames that are made before any is sent, at full speed.
const BATCH: u32 = 64;
/// The same at a pace: frames that are due leave soon.
const BATCH_AT_PACE: u32 = 8;
/// Runs of the program a system call: some milliseconds.
const RUNS: u32 = 20_000;
/// Rcodes that the kernel side tells apart, without and with answer records.
const KINDS: usize = 32;
const WITH_RECORDS: usize = 16;
const NXDOMAIN: usize = 3;

/// The programs; the one that counts is attached.
pub(super) struct Generator {
    ebpf: Ebpf,
    interface_index: u32,
}

/// Answers that came in, by rcode.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers([u64; KINDS]);

impl Answers {
    pub(crate) fn all(&self) -> u64 {
        self.0.iter().sum()
    }

    /// NXDOMAIN without answer records.
    pub(crate) fn blocked(&self) -> u64 {
        self.0[NXDOMAIN]
    }

    pub(super) fn since(&self, earlier: &Self) -> Self {
        let mut answers = self.clone();
        for (now, before) in answers.0.iter_mut().zip(earlier.0) {
            *now -= before;
        }
        answers
    }
}

impl std::fmt::Display for Answers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (kind, count) in self.0.iter().enumerate().filter(|(_, count)| **count > 0) {
            let records = if kind >= WITH_RECORDS {
                " with records"
            } else {
                ""
            };
            write!(f, "[rcode {}{records}: {count}]", kind % WITH_RECORDS)?;
        }
        Ok(())
    }
}

impl Generator {
    /// Loads both programs and counts what arrives on `interface`.
    pub(super) fn new(client: &Namespace, interface: &str) -> Result<Self> {
        let object = object("generate.bpf.o")?;
        client.run(|| {
            let mut ebpf = Ebpf::load(&object).context("load the generator (needs root)")?;
            program(&mut ebpf, "generate")?.load()?;
            let collect = program(&mut ebpf, "collect")?;
            collect.load()?;
            collect.attach(interface, XdpMode::Driver)?;
            Ok(Self {
                ebpf,
                interface_index: interface_index(interface)?,
            })
        })?
    }

    /// Sets what is sent, in turns.
    pub(super) fn aim(&mut self, frames: &[Vec<u8>]) -> Result<()> {
        ensure!(!frames.is_empty(), "there is nothing to send");
        let mut queries: Array<&mut MapData, [u8; QUERY_BYTES]> = self
            .ebpf
            .map_mut("QUERIES")
            .context("the generator has no queries")?
            .try_into()?;
        for (number, frame) in frames.iter().cycle().take(QUERY_COUNT).enumerate() {
            ensure!(
                frame.len() <= QUERY_MAX_BYTES,
                "a query of {} bytes is too long for the generator",
                frame.len()
            );
            let mut query = [0; QUERY_BYTES];
            query[..4].copy_from_slice(&u32::try_from(frame.len())?.to_ne_bytes());
            query[4..4 + frame.len()].copy_from_slice(frame);
            queries.set(u32::try_from(number)?, query, 0)?;
        }
        Ok(())
    }

    /// Sends for so long, on the calling thread, which is in the client's namespace.
    pub(super) fn send(
        &mut self,
        rate: Option<u32>,
        time: Duration,
        goes_on: impl Fn() -> bool,
    ) -> Result<()> {
        let interval_ns = rate.map_or(0, |rate| 1_000_000_000 / u64::from(rate.max(1)));
        let sent = self.sent()?;
        self.pace()?.set(0, [interval_ns, 0, sent], 0)?;
        let end = Instant::now() + time;
        while Instant::now() < end && goes_on() {
            self.run(if rate.is_some() { BATCH_AT_PACE } else { BATCH })?;
        }
        Ok(())
    }

    /// Queries that went out so far.
    pub(super) fn sent(&mut self) -> Result<u64> {
        let [_, _, sent] = self.pace()?.get(&0, 0)?;
        Ok(sent)
    }

    /// Answers that came in so far.
    pub(super) fn answers(&self) -> Result<Answers> {
        let answers: PerCpuArray<&MapData, [u64; KINDS]> = self
            .ebpf
            .map("ANSWERS")
            .context("the generator does not count")?
            .try_into()?;
        let mut all = Answers::default();
        for of_cpu in answers.get(&0, 0)?.iter() {
            for (sum, count) in all.0.iter_mut().zip(of_cpu) {
                *sum += count;
            }
        }
        Ok(all)
    }

    fn pace(&mut self) -> Result<Array<&mut MapData, [u64; 3]>> {
        let map = self.ebpf.map_mut("PACE");
        Ok(map.context("the generator has no pace")?.try_into()?)
    }

    fn run(&mut self, batch: u32) -> Result<()> {
        let frame = [0; QUERY_MAX_BYTES];
        // `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let context = [0, frame.len() as u32, 0, self.interface_index, 0, 0];
        let options = TestRunOptions {
            data_in: Some(&frame),
            ctx_in: Some(bytemuck::bytes_of(&context)),
            repeat: RUNS,
            attrs: TestRunAttrs::new().xdp_live_frames(batch),
            ..TestRunOptions::new()
        };
        program(&mut self.ebpf, "generate")?
            .test_run(options)
            .context("cannot send frames (live frames need Linux 5.18)")?;
        Ok(())
    }
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut Xdp> {
    let program = ebpf.program_mut(name).context("the program is missing")?;
    Ok(program.try_into()?)
}
