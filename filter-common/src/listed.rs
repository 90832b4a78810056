//! Enums of which number, word, meaning and the list of all come from one declaration.
//!
//! A variant that is added is therefore in every list, in every help text and in every table of
//! counters; where more has to be said of it, a `match` without `_` asks for that.

/// Declares an enum by a list of `Variant = number, "word";`, each with its meaning as the comment.
///
/// Makes `ALL`, `from_number`, `from_word`, `word` and `meaning`.
#[macro_export]
macro_rules! listed {
    (
        $(#[$attribute:meta])*
        $visibility:vis enum $name:ident: $number:ident {
            $($(#[doc = $doc:literal])+ $variant:ident = $value:literal, $word:literal;)+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr($number)]
        $visibility enum $name {
            $($(#[doc = $doc])+ $variant = $value,)+
        }

        impl $name {
            /// Every one, in the order of the declaration.
            pub const ALL: [Self; [$($word),+].len()] = [$(Self::$variant),+];

            /// The one with this number.
            #[inline(always)]
            pub const fn from_number(number: $number) -> Option<Self> {
                match number { $($value => Some(Self::$variant),)+ _ => None }
            }

            /// The one with this word.
            pub fn from_word(word: &str) -> Option<Self> {
                match word { $($word => Some(Self::$variant),)+ _ => None }
            }

            /// The word for it, as configurations, reports and counters write it.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// One sentence on what it means.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc),+).trim_ascii(),)+ }
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use crate::{
        reason::Reason,
        rule::{AnswerKind, Priority, Scope},
    };

    macro_rules! each {
        ($($name:ident),+) => {$({
            for (i, one) in $name::ALL.into_iter().enumerate() {
                assert_eq!($name::from_number(one as u8), Some(one));
                assert_eq!($name::from_word(one.word()), Some(one));
                assert!(one.meaning().ends_with('.') && !one.meaning().starts_with(' '), "{one:?}");
                let others = &$name::ALL[i + 1..];
                assert!(others.iter().all(|other| other.word() != one.word()), "{one:?}");
            }
            assert_eq!($name::from_number(u8::MAX), None);
            assert_eq!($name::from_word("no such word"), None);
        })+};
    }

    #[test]
    fn numbers_and_words_lead_back_to_what_has_them() {
        each!(Reason, AnswerKind, Priority, Scope);
    }
}
