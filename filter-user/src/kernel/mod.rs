//! The kernel side of a running filter: program, table, counters, attachments.
//!
//! The only module that knows aya, and with [`table`] the only one with unsafe
//! code. It does not know lists, names or configuration: it takes the records
//! of an image and the name of an interface.

#![allow(
    unsafe_code,
    reason = "table.rs maps kernel memory and proves each use"
)]

mod assignments;
mod error;
mod log;
mod overrides;
mod table;
mod tallies;

use std::{collections::BTreeMap, sync::Arc};

use aya::{
    Ebpf, EbpfLoader, TestRun as _, TestRunOptions, VerifierLogLevel,
    maps::{Array, Map, MapData, PerCpuArray},
    programs::{Xdp, XdpMode, links::FdLink, xdp::XdpLink},
};
use filter_common::{
    hash::HashKey,
    layout::{Header, PolicyRecord, Record},
    reason::{COUNTER_COUNT, Reason},
};

pub use self::{
    assignments::Assignments,
    error::Error,
    tallies::{InUse, Tallies},
};
use self::{log::PacketLog, table::TableMap};

/// The object that `cargo xtask build` made.
static OBJECT: &[u8] = aya::include_bytes_aligned!(env!("NXDP_BPF_OBJECT"));
/// Name of the program in the object.
const PROGRAM: &str = "nxdp";

/// Bytes of the measuring programs' frame, its length in front.
const ORIGINAL_BYTES: usize = 4 + 512;

/// Where in the driver's receive path the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the driver, before the kernel allocates anything.
    Native,
    /// Behind it, on any device, slower.
    Skb,
}

/// A loaded program with its maps; dropping it detaches and frees everything.
pub struct Filter {
    ebpf: Ebpf,
    program_name: &'static str,
    table: TableMap,
    capacity: u32,
    generation: u32,
    before: Counters,
    tallies_before: Tallies,
    assignments: Arc<Assignments>,
    links: BTreeMap<String, (Mode, XdpLink)>,
    log: Option<PacketLog>,
}

impl Filter {
    /// Loads the program with a table of `capacity` records of 64 bytes.
    ///
    /// # Errors
    ///
    /// A missing capability, a kernel that refuses the program, too little memory.
    pub fn load(capacity: u32) -> Result<Self, Error> {
        Self::load_from(OBJECT, PROGRAM, capacity)
    }

    /// Loads `program_name` of another object with the same maps: the
    /// measuring programs.
    pub fn load_from(
        object: &[u8],
        program_name: &'static str,
        capacity: u32,
    ) -> Result<Self, Error> {
        let mut ebpf = EbpfLoader::new()
            .map_max_entries("TABLE", capacity)
            .verifier_log_level(VerifierLogLevel::STATS)
            .load(object)
            .map_err(Error::load)?;
        let log = PacketLog::of(&mut ebpf);
        let map = ebpf.map("TABLE").ok_or(Error::Object("TABLE"))?;
        let Map::Array(data) = map else {
            return Err(Error::Object("TABLE"));
        };
        let table = TableMap::map(data.fd(), capacity)?;
        program(&mut ebpf, program_name)?
            .load()
            .map_err(|error| Error::load(error.into()))?;
        let mut filter = Self {
            ebpf,
            program_name,
            table,
            capacity,
            generation: 0,
            before: Counters([0; COUNTER_COUNT]),
            tallies_before: Tallies::default(),
            assignments: Arc::default(),
            links: BTreeMap::new(),
            log,
        };
        filter.draw_key()?;
        let block_all = PolicyRecord {
            categories: u64::MAX,
            ..PolicyRecord::default()
        };
        filter.put_policy(0, &block_all)?;
        Ok(filter)
    }

    /// Draws the key of everything that is found by a hash besides the names of a generation.
    fn draw_key(&mut self) -> Result<(), Error> {
        let mut words = [0; 3];
        for word in &mut words {
            *word = getrandom::u64().map_err(Error::Random)?;
        }
        let key = HashKey::from_words(words);
        self.table.update_control(|control| control.key = key);
        Ok(())
    }

    /// Limits the answers that one client prefix may cause; see [`filter_common::limit`].
    pub fn set_limit(&mut self, answers_per_s: u32, burst: u32) {
        self.table.update_control(|control| {
            control.answers_per_s = answers_per_s;
            control.answers_burst = burst;
        });
    }

    /// Writes the records of an image beside the active generation and switches to it.
    ///
    /// Returns the number of the new generation. No packet sees parts of both.
    /// Fails without any change, with [`Error::TableFull`] if the table must grow first.
    pub fn activate(&mut self, records: &[Record]) -> Result<u32, Error> {
        let generation = self.generation + 1;
        self.table.activate(records, generation)?;
        self.generation = generation;
        Ok(generation)
    }

    /// A map by its name in the object.
    fn map(&self, name: &'static str) -> Result<&Map, Error> {
        self.ebpf.map(name).ok_or(Error::Object(name))
    }

    /// A map by its name in the object, to be changed.
    fn map_mut(&mut self, name: &'static str) -> Result<&mut Map, Error> {
        self.ebpf.map_mut(name).ok_or(Error::Object(name))
    }

    /// Header of the active generation.
    pub fn active(&self) -> Option<Header> {
        self.table.active().map(|(_, header)| header)
    }

    /// All records of the table, as the program sees them.
    pub fn records(&self) -> &[Record] {
        self.table.records()
    }

    /// Records that the table holds.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Attaches to `interface`; never falls back to another mode or to a link
    /// that would outlive this process.
    pub fn attach(&mut self, interface: &str, mode: Mode) -> Result<(), Error> {
        let program = program(&mut self.ebpf, self.program_name)?;
        let id = program
            .attach(interface, mode.into())
            .map_err(|error| Error::attach(interface, mode, error))?;
        let link = program
            .take_link(id)
            .map_err(|error| Error::attach(interface, mode, error))?;
        // aya falls back to netlink when the kernel refuses a link: such an
        // attachment would outlive this process, and hides why it was refused.
        let link = FdLink::try_from(link).map_err(|_| Error::refused(interface, mode))?;
        self.links.insert(
            interface.to_owned(),
            (
                mode,
                XdpLink::try_from(link).map_err(|_| Error::refused(interface, mode))?,
            ),
        );
        Ok(())
    }

    /// Goes on where `other` is: the control record, and the counts of generations and packets.
    ///
    /// Policies, clients and overrides are for whoever knows them to put there.
    pub fn continue_from(&mut self, other: &Self) -> Result<(), Error> {
        let control = other.table.control();
        self.table.update_control(|own| *own = control);
        self.generation = other.generation;
        self.continue_counts(other)
    }

    /// Moves the attachments of `other` to this program, each in one atomic step.
    pub fn take_over(&mut self, other: &mut Self) -> Result<(), Error> {
        while let Some((interface, (mode, link))) = other.links.pop_first() {
            let program = program(&mut self.ebpf, self.program_name)?;
            let id = program
                .attach_to_link(link)
                .and_then(|id| program.take_link(id))
                .map_err(|error| Error::attach(&interface, mode, error))?;
            self.links.insert(interface, (mode, id));
        }
        // It counted until its last link was moved, and a run on another CPU may still count.
        table::wait_for_running_programs().map_err(Error::Membarrier)?;
        self.continue_counts(other)
    }

    fn continue_counts(&mut self, other: &Self) -> Result<(), Error> {
        self.before = other.counters()?;
        self.tallies_before = other.tallies(InUse::ALL)?;
        Ok(())
    }

    /// Interfaces in use with their modes.
    pub fn attachments(&self) -> impl Iterator<Item = (&str, Mode)> {
        self.links
            .iter()
            .map(|(interface, (mode, _))| (interface.as_str(), *mode))
    }

    /// Packets by reason since the first program was loaded, summed over the CPUs.
    pub fn counters(&self) -> Result<Counters, Error> {
        let map = self.ebpf.map("COUNTERS").ok_or(Error::Object("COUNTERS"))?;
        let map: PerCpuArray<&MapData, [u64; COUNTER_COUNT]> =
            map.try_into().map_err(Error::Counters)?;
        let cpus = map.get(&0, 0).map_err(Error::Counters)?;
        let mut sums = self.before.0;
        for cpu in cpus.iter() {
            for (sum, count) in sums.iter_mut().zip(cpu) {
                *sum += count;
            }
        }
        Ok(Counters(sums))
    }

    /// Queries by policy, list and category since the first program was loaded.
    pub fn tallies(&self, in_use: InUse) -> Result<Tallies, Error> {
        let mut tallies = Tallies::read(&self.ebpf, in_use)?;
        tallies.add(&self.tallies_before);
        Ok(tallies)
    }

    /// Writes the lines that a program built for debugging left, to standard error.
    pub fn flush_log(&mut self) {
        if let Some(log) = &mut self.log {
            log.flush();
        }
    }

    /// Runs the program over `frame` in the kernel (BPF_PROG_TEST_RUN).
    pub fn test_run(&mut self, frame: &[u8], repeat: u32) -> Result<TestRunOutcome, Error> {
        let mut out = vec![0; 4096];
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            repeat,
            ..TestRunOptions::new()
        };
        let result = program(&mut self.ebpf, self.program_name)?
            .test_run(options)
            .map_err(|error| Error::load(error.into()))?;
        out.truncate(result.data_size_out as usize);
        Ok(TestRunOutcome {
            action: result.return_value,
            frame: out,
            duration_ns: result.duration.as_nanos() as u64,
        })
    }

    /// Gives the measuring programs the frame that they put back before each run.
    pub fn set_original(&mut self, frame: &[u8]) -> Result<(), Error> {
        const NAME: &str = "ORIGINAL";
        let map = self.ebpf.map_mut(NAME).ok_or(Error::Object(NAME))?;
        let mut map: Array<&mut MapData, [u8; ORIGINAL_BYTES]> =
            map.try_into().map_err(Error::Counters)?;
        let mut original = [0; ORIGINAL_BYTES];
        let (len, bytes) = original.split_at_mut(4);
        len.copy_from_slice(&(frame.len() as u32).to_ne_bytes());
        bytes[..frame.len()].copy_from_slice(frame);
        map.set(0, original, 0).map_err(Error::Counters)
    }

    /// Instructions that the verifier looked at, of the million it allows.
    pub fn verified_instructions(&mut self) -> Option<u32> {
        program(&mut self.ebpf, self.program_name)
            .ok()?
            .info()
            .ok()?
            .verified_instruction_count()
    }
}

/// Fails if there is no interface of this name: better told before lists are compiled.
pub fn check_interface(interface: &str) -> Result<(), Error> {
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        None,
    );
    match socket.and_then(|socket| rustix::net::netdevice::name_to_index(socket, interface)) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::NoInterface(interface.to_owned())),
    }
}

/// The name of the loaded program with this id; `None` without the capability to ask, or when it is gone.
pub fn program_name(id: u32) -> Option<String> {
    let program = aya::programs::loaded_programs()
        .flatten()
        .find(|program| program.id() == id)?;
    program.name_as_str().map(str::to_owned)
}

fn program<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut Xdp, Error> {
    ebpf.program_mut(name)
        .and_then(|program| program.try_into().ok())
        .ok_or(Error::Object(name))
}

impl From<Mode> for XdpMode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Native => Self::Driver,
            Mode::Skb => Self::Skb,
        }
    }
}

/// What a program run in the kernel left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TestRunOutcome {
    /// The program's return value, an `xdp_action`.
    pub action: u32,
    /// The frame behind it.
    pub frame: Vec<u8>,
    /// Mean time of a run, in nanoseconds.
    pub duration_ns: u64,
}

/// Packets by reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters([u64; COUNTER_COUNT]);

impl Counters {
    /// Packets that left by `reason`.
    pub fn of(&self, reason: Reason) -> u64 {
        self.0[reason as usize]
    }

    /// Every reason with its packets.
    pub fn iter(&self) -> impl Iterator<Item = (Reason, u64)> {
        Reason::ALL.iter().map(|&reason| (reason, self.of(reason)))
    }

    #[cfg(test)]
    pub(crate) fn of_reasons(counts: &[(Reason, u64)]) -> Self {
        let mut all = [0; COUNTER_COUNT];
        for (reason, count) in counts {
            all[*reason as usize] = *count;
        }
        Self(all)
    }

    /// What came since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        Self(std::array::from_fn(|i| {
            self.0[i].wrapping_sub(earlier.0[i])
        }))
    }
}
