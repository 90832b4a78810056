//! Enums that are written and read by the word of their declaration.

/// Lets a type that `filter_common::listed!` declared be written as its word, and read by it.
macro_rules! serde_by_word {
    ($($name:ident),+) => {$(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.word())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(
                deserializer: D,
            ) -> Result<Self, D::Error> {
                let word = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
                // As serde itself says it: what suggests a word to the reader looks for that.
                Self::from_word(&word).ok_or_else(|| {
                    let known = Self::ALL.map(|one| format!("`{}`", one.word())).join(", ");
                    let error = format!("unknown variant `{word}`, expected one of {known}");
                    serde::de::Error::custom(error)
                })
            }
        }
    )+};
}

pub(crate) use serde_by_word;
