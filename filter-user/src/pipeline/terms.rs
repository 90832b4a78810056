//! What the configuration says of lists, in the words of the compiler.

use filter_common::{layout::Settings, rule::AnswerKind};
use filter_lists::{image::ListInfo, rule::Answer};

use crate::{
    config::{Config, EdeCode, ListConfig, TTL_DEFAULT_S},
    policy::Categories,
};

/// What the compiler is told of a list.
pub(super) fn info(categories: &Categories, config: &ListConfig) -> ListInfo {
    let name = config.name();
    let category = config.category.as_deref();
    let mask = category.and_then(|name| categories.mask(name));
    let text = config.text.clone().unwrap_or_else(|| truncated(&name));
    ListInfo {
        answer: config.answer.map(|answer| Answer::of(answer.into())),
        ede_text: Some(text),
        categories: mask.unwrap_or(categories.every()),
        category: config.category.clone(),
        ede_code: config.ede.map_or(0, |code| code.0),
        ttl_s: config.ttl_s.unwrap_or(0),
        ..ListInfo::new(&name, &config.source())
    }
}

/// As much of `text` as an answer carries.
fn truncated(text: &str) -> String {
    let end = text.floor_char_boundary(filter_common::layout::TEXT_MAX_BYTES);
    text[..end].to_owned()
}

/// What it is told for all of them.
pub(super) fn settings(config: &Config) -> Settings {
    Settings {
        ttl_s: config.ttl_s.unwrap_or(TTL_DEFAULT_S),
        answer: AnswerKind::from(config.answer) as u8,
        ede_code: config.ede.unwrap_or(EdeCode::BLOCKED).0,
        ..Settings::default()
    }
}
