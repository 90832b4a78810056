//! Who takes part, and what each is sent.

use std::iter::repeat_n;

use anyhow::{Context as _, Result};

use filter_kernel::Filter;
use nxdp_lab::engines;

use crate::{
    programs::object,
    rig::{
        NOBODY,
        traffic::{QUERIES, blocked_name, clean_name, frames, spread_over},
    },
};

/// A loaded program and the queries it is measured with.
pub(super) struct Contestant {
    pub(super) name: &'static str,
    pub(super) what: &'static str,
    pub(super) fate: Fate,
    pub(super) filter: Filter,
    pub(super) frames: Vec<Vec<u8>>,
}

/// What becomes of its packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Freed, by the program or by a stack that has no way for them.
    Ends,
    /// Sent back as they came.
    Returns,
    /// Answered with NXDOMAIN.
    Answered,
}

impl Contestant {
    /// Mean length of its queries' frames.
    pub(super) fn frame_bytes(&self) -> usize {
        let bytes: usize = self.frames.iter().map(Vec::len).sum();
        bytes / self.frames.len().max(1)
    }
}

/// Everybody, in the order of their turns.
pub(super) fn all(names: u32) -> Result<Vec<Contestant>> {
    let measuring = object("bench.bpf.o")?;
    let blocked = |has_edns| frames(spread_over(names).map(blocked_name), has_edns, NOBODY);
    let queries = QUERIES as usize;
    let clean = || frames(spread_over(names).map(clean_name), false, NOBODY);
    let bare = |name, program, what, fate, frames| -> Result<Contestant> {
        Ok(Contestant {
            name,
            what,
            fate,
            filter: Filter::load_from(&measuring, program, 1)?,
            frames,
        })
    };
    let image = engines::compile_texts(&[("bench", &list(names))])?;
    let capacity = u32::try_from(image.records().len() + 1)?;
    let own = |name, what, fate, frames| -> Result<Contestant> {
        let mut filter = Filter::load_from(&object("nxdp.bpf.o")?, "nxdp", capacity)
            .context("load the filter (needs root)")?;
        filter.maps.activate(image.records(), |_| true)?;
        Ok(Contestant {
            name,
            what,
            fate,
            filter,
            frames,
        })
    };
    Ok(vec![
        bare(
            "drop",
            "discard",
            "bare XDP_DROP",
            Fate::Ends,
            blocked(false),
        )?,
        bare(
            "reflect",
            "reflect",
            "bare XDP_TX, addresses swapped",
            Fate::Returns,
            blocked(false),
        )?,
        own(
            "blocked",
            "nxdp, NXDOMAIN and SOA",
            Fate::Answered,
            blocked(false),
        )?,
        own(
            "blocked_edns",
            "nxdp, NXDOMAIN, SOA and extended error",
            Fate::Answered,
            blocked(true),
        )?,
        own(
            "blocked_again",
            "nxdp, one blocked name over and over: what it reads of the table is in the caches",
            Fate::Answered,
            frames(repeat_n(0, queries).map(blocked_name), false, NOBODY),
        )?,
        bare(
            "pass",
            "floor",
            "bare XDP_PASS into a stack without a way for it",
            Fate::Ends,
            clean(),
        )?,
        own(
            "clean",
            "nxdp, no name of a list, into the same stack",
            Fate::Ends,
            clean(),
        )?,
        own(
            "clean_again",
            "nxdp, one clean name over and over",
            Fate::Ends,
            frames(repeat_n(0, queries).map(clean_name), false, NOBODY),
        )?,
    ])
}

fn list(names: u32) -> String {
    let rules = (0..names).map(|number| format!("||{}^\n", blocked_name(number)));
    rules.collect()
}
