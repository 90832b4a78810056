//! The choices that make one query.

use std::sync::LazyLock;

use super::names;
use crate::{cases::Message, mutate::Random};

static BLOCKED: LazyLock<Vec<Vec<u8>>> = LazyLock::new(names::blocked);
static CLEAN: LazyLock<Vec<Vec<u8>>> = LazyLock::new(names::clean);

/// Types that blocked names have data of, and ANY.
const TYPES: [u16; 8] = [1, 28, 16, 15, 33, 65, 1, 255];

/// A sequence of choices, and how many queries of the kind there were before.
#[derive(Clone, Debug)]
pub(super) struct Draw {
    random: Random,
    /// Queries of this kind that were made before: what is to be tried at each byte goes by it.
    pub(super) turn: usize,
}

impl Draw {
    pub(super) fn new(seed: u64, number: u32, turn: usize) -> Self {
        let mixed = Random::new(seed ^ (u64::from(number) << 32)).bits();
        Self {
            random: Random::new(mixed),
            turn,
        }
    }

    pub(super) fn random(&mut self) -> &mut Random {
        &mut self.random
    }

    /// A number below `bound`, which is not 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.random.below(bound)
    }

    /// A number from `first` to `last`.
    pub(super) fn between(&mut self, first: usize, last: usize) -> usize {
        first + self.random.below(last + 1 - first)
    }

    /// True once in `count` times.
    pub(super) fn once_in(&mut self, count: usize) -> bool {
        self.random.below(count) == 0
    }

    pub(super) fn choice<T: Copy>(&mut self, choices: &[T]) -> T {
        *self.random.choice(choices)
    }

    pub(super) fn number(&mut self) -> u16 {
        self.random.bits() as u16
    }

    pub(super) fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.random.bits() as u8).collect()
    }

    /// Each of `count` in turn.
    pub(super) fn each(&self, count: usize) -> usize {
        self.turn % count.max(1)
    }

    /// A blocked name in wire format; every other time in mixed case.
    pub(super) fn blocked(&mut self) -> Vec<u8> {
        let name = self.random.choice(&BLOCKED).clone();
        if self.once_in(2) {
            self.mixed_case(name)
        } else {
            name
        }
    }

    /// A name that nobody blocks.
    pub(super) fn clean(&mut self) -> Vec<u8> {
        self.random.choice(&CLEAN).clone()
    }

    fn mixed_case(&mut self, mut name: Vec<u8>) -> Vec<u8> {
        let mut at = 0;
        while name[at] != 0 {
            let len = usize::from(name[at]);
            for byte in &mut name[at + 1..=at + len] {
                if byte.is_ascii_alphabetic() && self.random.bits() & 1 == 1 {
                    *byte ^= 0x20;
                }
            }
            at += 1 + len;
        }
        name
    }

    /// A well-formed query for a name.
    pub(super) fn query_for(&mut self, qname: Vec<u8>) -> Message {
        let mut message = Message::new("").qtype(self.choice(&TYPES));
        message.qname = qname;
        message
    }

    /// A well-formed query for a blocked name, without records.
    pub(super) fn query(&mut self) -> Message {
        let qname = self.blocked();
        self.query_for(qname)
    }

    /// The same for a name that nobody blocks.
    pub(super) fn clean_query(&mut self) -> Message {
        let qname = self.clean();
        self.query_for(qname)
    }

    /// A well-formed query for a blocked name, every other time with OPT.
    pub(super) fn usual_query(&mut self) -> Message {
        let message = self.query();
        if self.once_in(2) {
            message.opt(0, &[])
        } else {
            message
        }
    }
}
