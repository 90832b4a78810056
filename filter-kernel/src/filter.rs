//! A loaded program with its maps and attachments.

use std::collections::BTreeSet;

use aya::{
    Ebpf, EbpfLoader, TestRun as _, TestRunOptions, VerifierLogLevel,
    maps::{Array, MapData},
    programs::{Xdp, XdpMode},
};

use crate::{
    Attachments, Error, Hold, Maps,
    log::PacketLog,
    object::{self, PROGRAM},
    on_link, table,
};

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

/// A loaded program with its maps; dropping it detaches and frees what is not pinned.
pub struct Filter {
    pub(crate) ebpf: Ebpf,
    program_name: &'static str,
    /// What the program looks at and counts in.
    pub maps: Maps,
    pub(crate) links: Attachments,
    log: Option<PacketLog>,
}

impl Filter {
    /// Loads the program with a table of `capacity` records of 64 bytes.
    ///
    /// # Errors
    ///
    /// A missing capability, a kernel that refuses the program, too little memory.
    pub fn load(capacity: u32) -> Result<Self, Error> {
        Self::load_from(object::bytes()?, PROGRAM, capacity)
    }

    /// Loads `program_name` of another object with the same maps: the
    /// measuring programs.
    pub fn load_from(
        object: &[u8],
        program_name: &'static str,
        capacity: u32,
    ) -> Result<Self, Error> {
        let mut loader = EbpfLoader::new();
        Self::load_with(
            loader.map_max_entries("TABLE", capacity),
            object,
            program_name,
        )
    }

    pub(crate) fn load_with(
        loader: &mut EbpfLoader<'_>,
        object: &[u8],
        program_name: &'static str,
    ) -> Result<Self, Error> {
        let mut ebpf = loader
            .verifier_log_level(VerifierLogLevel::STATS)
            .load(object)
            .map_err(Error::load)?;
        let log = PacketLog::of(&mut ebpf);
        let maps = Maps::take(&mut ebpf)?;
        program(&mut ebpf, program_name)?
            .load()
            .map_err(|error| Error::load(error.into()))?;
        Ok(Self {
            ebpf,
            program_name,
            maps,
            links: Attachments::default(),
            log,
        })
    }

    /// Attaches to `interface`; never falls back to another mode or to a link
    /// that would outlive this process.
    pub fn attach(&mut self, interface: &str, mode: Mode) -> Result<(), Error> {
        let index = interface_index(interface)?;
        let program = program(&mut self.ebpf, self.program_name)?;
        self.links.attach(program, (index, interface), mode)
    }

    /// Whether the interface with this index has an attachment.
    pub fn is_attached(&self, index: u32) -> bool {
        self.links.has(index)
    }

    /// Moves the attachments of `other` to this program, each in one atomic step.
    pub fn take_over(&mut self, other: &mut Self) -> Result<(), Error> {
        self.links = std::mem::take(&mut other.links);
        self.links
            .change_program(program(&mut self.ebpf, self.program_name)?)?;
        // It counted until its last link was moved, and a run on another CPU may still count.
        table::wait_for_running_programs().map_err(Error::Membarrier)?;
        self.maps.recount(&other.maps)
    }

    /// The program and its attachments.
    pub fn hold(&mut self) -> Result<Hold<'_>, Error> {
        Ok(Hold {
            program: program(&mut self.ebpf, self.program_name)?,
            links: &mut self.links,
            on_link: self.maps.map_mut(on_link::NAME)?,
        })
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

    /// Gives the measuring programs the frame that they put back before each run; an empty one is not.
    pub fn set_original(&mut self, frame: &[u8]) -> Result<(), Error> {
        let mut original = [0; ORIGINAL_BYTES];
        let (len, bytes) = original.split_at_mut(4);
        len.copy_from_slice(&(frame.len() as u32).to_ne_bytes());
        bytes[..frame.len()].copy_from_slice(frame);
        self.set_only_value("ORIGINAL", original)
    }

    /// Sets the one value of a measuring program's map.
    pub fn set_only_value<const N: usize>(
        &mut self,
        map: &'static str,
        value: [u8; N],
    ) -> Result<(), Error> {
        let mut map: Array<&mut MapData, [u8; N]> = self
            .maps
            .map_mut(map)?
            .try_into()
            .map_err(Error::Counters)?;
        map.set(0, value, 0).map_err(Error::Counters)
    }

    /// Instructions that the verifier looked at, of the million it allows.
    pub fn verified_instructions(&mut self) -> Option<u32> {
        program(&mut self.ebpf, self.program_name)
            .ok()?
            .info()
            .ok()?
            .verified_instruction_count()
    }

    /// Bytes of the program as the kernel keeps it, and as machine code.
    pub fn program_bytes(&mut self) -> Result<(u32, u32), Error> {
        let info = program(&mut self.ebpf, self.program_name)?
            .info()
            .map_err(|error| Error::load(error.into()))?;
        Ok((info.size_translated().unwrap_or(0), info.size_jitted()))
    }
}

/// The index of an interface; fails if there is none of this name.
pub fn interface_index(interface: &str) -> Result<u32, Error> {
    let socket = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        None,
    );
    socket
        .and_then(|socket| rustix::net::netdevice::name_to_index(socket, interface))
        .map_err(|_| Error::NoInterface(interface.to_owned()))
}

/// The name of the loaded program with this id; `None` without the capability to ask, or when it is gone.
pub fn program_name(id: u32) -> Option<String> {
    let program = aya::programs::loaded_programs()
        .flatten()
        .find(|program| program.id() == id)?;
    program.name_as_str().map(str::to_owned)
}

/// Whether a program with this id is loaded; one that cannot be asked for is not.
pub fn is_loaded(id: u32) -> bool {
    let mut programs = aya::programs::loaded_programs().flatten();
    programs.any(|program| program.id() == id)
}

/// Programs of nxdp that no attachment runs: those of another `nxdp load` that is under way, or one that
/// a driver did not let go of. Without the capability to ask there are none.
pub fn unattached_programs() -> Vec<u32> {
    let links = aya::programs::loaded_links().flatten();
    let attached: BTreeSet<u32> = links.map(|link| link.program_id()).collect();
    let programs = aya::programs::loaded_programs().flatten();
    let ours = programs.filter(|program| program.name_as_str() == Some(PROGRAM));
    let ids = ours.map(|program| program.id());
    ids.filter(|id| !attached.contains(id)).collect()
}

/// Whether there is a map with this id; one that cannot be asked for is not.
pub fn has_map(id: u32) -> bool {
    let mut maps = aya::maps::loaded_maps().flatten();
    maps.any(|map| map.id() == id)
}

pub(crate) fn id_of(program: &Xdp) -> Result<u32, Error> {
    let info = program.info().map_err(|error| Error::load(error.into()))?;
    Ok(info.id())
}

pub(crate) fn program<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut Xdp, Error> {
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

impl From<Mode> for crate::features::Mode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Native => Self::Native,
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
