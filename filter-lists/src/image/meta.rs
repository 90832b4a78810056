//! The descriptive part of an image file: lists, shapes of rules, the compile report, as JSON.
//!
//! The forms here are what is written; they change only with the file's format version.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use filter_common::{
    name::Name,
    rule::{AnswerKind, QtypeSet, Scope},
};
use serde::{Deserialize, Serialize};

use crate::{
    image::{ListInfo, Report},
    rule::{Answer, Client, Effect, Shape},
};

#[derive(Serialize, Deserialize)]
pub(super) struct Meta {
    pub(super) lists: Vec<ListForm>,
    pub(super) shapes: Vec<ShapeForm>,
    pub(super) report: Report,
}

#[derive(Serialize, Deserialize)]
pub(super) struct ListForm {
    name: String,
    path: String,
    categories: u64,
    category: Option<String>,
    answer: Option<AnswerForm>,
    ede_code: u8,
    ede_text: Option<String>,
    ttl_s: u32,
    serial: Option<u32>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct ShapeForm {
    scope: u8,
    effect: EffectForm,
    important: bool,
    qtype_mode: u8,
    qtypes: Vec<u16>,
    /// Wire format in hexadecimal: names may hold any byte.
    except: Vec<String>,
    clients: Vec<ClientForm>,
    host_rule: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum EffectForm {
    Block(Option<AnswerForm>),
    Allow,
    Rewrite(AnswerForm),
    CancelRewrite,
    Delete(Box<EffectForm>),
}

#[derive(Serialize, Deserialize)]
struct AnswerForm {
    kind: u8,
    ipv4: Option<Ipv4Addr>,
    ipv6: Option<Ipv6Addr>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ClientForm {
    Prefix { address: IpAddr, len: u8, not: bool },
    Mac { address: [u8; 6], not: bool },
}

impl ListForm {
    pub(super) fn of(info: &ListInfo) -> Self {
        Self {
            name: info.name.clone(),
            path: info.path.clone(),
            categories: info.categories,
            category: info.category.clone(),
            answer: info.answer.as_ref().map(AnswerForm::of),
            ede_code: info.ede_code,
            ede_text: info.ede_text.clone(),
            ttl_s: info.ttl_s,
            serial: info.serial,
        }
    }

    /// `None` if a number in it has no meaning.
    pub(super) fn read(self) -> Option<ListInfo> {
        let answer = match self.answer {
            Some(answer) => Some(answer.read()?),
            None => None,
        };
        Some(ListInfo {
            name: self.name,
            path: self.path,
            categories: self.categories,
            category: self.category,
            answer,
            ede_code: self.ede_code,
            ede_text: self.ede_text,
            ttl_s: self.ttl_s,
            serial: self.serial,
        })
    }
}

impl ShapeForm {
    pub(super) fn of(shape: &Shape) -> Self {
        Self {
            scope: shape.scope as u8,
            effect: EffectForm::of(&shape.effect),
            important: shape.important,
            qtype_mode: shape.qtypes.mode(),
            qtypes: shape.qtypes.named_qtypes().to_vec(),
            except: shape
                .except
                .iter()
                .map(|name| hex(name.as_wire()))
                .collect(),
            clients: shape.clients.iter().map(ClientForm::of).collect(),
            host_rule: shape.host_rule,
        }
    }

    /// `None` if a number in it has no meaning.
    pub(super) fn read(self) -> Option<Shape> {
        let qtypes = match self.qtype_mode {
            QtypeSet::ONLY => QtypeSet::only(&self.qtypes)?,
            QtypeSet::EXCEPT => QtypeSet::except(&self.qtypes)?,
            _ => QtypeSet::ALL,
        };
        let except: Option<Vec<_>> = self.except.iter().map(|text| name(text)).collect();
        Some(Shape {
            scope: Scope::from_number(self.scope)?,
            effect: self.effect.read()?,
            important: self.important,
            qtypes,
            except: except?,
            clients: self.clients.into_iter().map(ClientForm::read).collect(),
            host_rule: self.host_rule,
        })
    }
}

impl EffectForm {
    fn of(effect: &Effect) -> Self {
        match effect {
            Effect::Block(answer) => Self::Block(answer.as_ref().map(AnswerForm::of)),
            Effect::Allow => Self::Allow,
            Effect::Rewrite(answer) => Self::Rewrite(AnswerForm::of(answer)),
            Effect::CancelRewrite => Self::CancelRewrite,
            Effect::Delete(deleted) => Self::Delete(Box::new(Self::of(deleted))),
        }
    }

    fn read(self) -> Option<Effect> {
        Some(match self {
            Self::Block(None) => Effect::Block(None),
            Self::Block(Some(answer)) => Effect::Block(Some(answer.read()?)),
            Self::Allow => Effect::Allow,
            Self::Rewrite(answer) => Effect::Rewrite(answer.read()?),
            Self::CancelRewrite => Effect::CancelRewrite,
            Self::Delete(deleted) => Effect::Delete(Box::new(deleted.read()?)),
        })
    }
}

impl AnswerForm {
    fn of(answer: &Answer) -> Self {
        Self {
            kind: answer.kind as u8,
            ipv4: answer.ipv4,
            ipv6: answer.ipv6,
        }
    }

    fn read(self) -> Option<Answer> {
        Some(Answer {
            kind: AnswerKind::from_number(self.kind)?,
            ipv4: self.ipv4,
            ipv6: self.ipv6,
        })
    }
}

impl ClientForm {
    fn of(client: &Client) -> Self {
        match *client {
            Client::Prefix { address, len, not } => Self::Prefix { address, len, not },
            Client::Mac { address, not } => Self::Mac { address, not },
        }
    }

    fn read(self) -> Client {
        match self {
            Self::Prefix { address, len, not } => Client::Prefix { address, len, not },
            Self::Mac { address, not } => Client::Mac { address, not },
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn name(text: &str) -> Option<Name> {
    let digits = text.as_bytes().chunks(2);
    let bytes: Option<Vec<u8>> = digits
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok())
        .collect();
    Name::from_wire(&bytes?).ok()
}
