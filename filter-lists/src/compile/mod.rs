//! Lists into an image: the exact records of the kernel's table, and where each rule came from.
//!
//! [`ListBuilder`] collects the rules of one list; [`compile`] merges any
//! number of them. Owns the meaning of many rules together: which of them
//! wins, which is superfluous. It does not read lists (that is `list`) and
//! does not load anything.
//!
//! ```text
//! lists -> partition (names that share two labels) -> tree -> chains -> classes
//!       -> hashes and classes -> buckets -> every name looked up again -> image
//! ```

mod check;
mod classes;
mod directive;
mod error;
mod key;
mod list;
mod merge;
mod partition;
mod place;
mod records;
mod resolve;
mod room;
mod shapes;
mod template;
mod tree;

use filter_common::{layout::Settings, name::Name, rule::AnswerKind};

pub use classes::CHAIN_MAX;
pub use error::CompileError;
pub use list::{CATEGORY_MAX, Excess, LIST_SHAPES_MAX, LIST_SKIPPED_MAX, ListBuilder};

use crate::image::{Image, Kind};

/// What an image is compiled with, besides lists.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    /// Makes the key and so every byte of the image reproducible. For tests: whoever knows
    /// the seed can make names whose hashes collide.
    pub seed: Option<u64>,
    /// What rules that do not say otherwise do.
    pub settings: Settings,
    /// Names that must not be hit by accident: the key is drawn anew until no hash of
    /// them or of their parents collides with a rule of another name.
    pub check_names: &'a [Name],
    /// Whose names they are.
    pub kind: Kind,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self {
            seed: None,
            settings: Settings {
                ttl_s: 60,
                answer: AnswerKind::NxDomain as u8,
                // RFC 8914 §4.16: Blocked.
                ede_code: 15,
                ..Settings::default()
            },
            check_names: &[],
            kind: Kind::Lists,
        }
    }
}

/// Compiles lists into an image.
///
/// The order of lists decides only which of several rules of equal rank and name answers
/// and is named.
///
/// # Errors
///
/// When something exceeds what an image can hold, or no key can be drawn.
pub fn compile(lists: &[&ListBuilder], options: &Options) -> Result<Image, CompileError> {
    merge::compile(lists, options)
}
