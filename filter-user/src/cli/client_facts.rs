//! Who asks whom, and when, in `nxdp query` and `nxdp explain`.

use std::net::IpAddr;

use clap::Args;
use filter_common::{
    address::{Mac, MacText, mac_from_text},
    selector::Selector,
};
use filter_kernel::features;
use filter_lists::{image::Decision, rule::ClientAddress};
use filter_user::{
    config::{Config, Refusal},
    enforcement::{Decider, Judgement, Plan, Preview},
    overrides::{Journal, OverrideAction, OverrideSet},
    policy::{Categories, ClientFacts, Numbers, Policies},
    service::{self, error_chain},
};
use jiff::{Timestamp, Zoned, tz::TimeZone};
use serde_json::json;

use super::{Failure, out, when};

/// What decides the policy.
const HEADING: &str = "Who asks";

/// Flags that tell who asks whom.
#[derive(Debug, Args)]
pub(super) struct ClientArguments {
    /// Client that asks, by its IP or hardware address
    #[arg(long, help_heading = HEADING, value_name = "ADDR")]
    client: Option<ClientAddress>,
    /// Hardware address of the client, beside its IP address
    #[arg(long, help_heading = HEADING, value_name = "MAC", value_parser = mac)]
    mac: Option<Mac>,
    /// VLAN in which it is asked
    #[arg(long, help_heading = HEADING, value_name = "NUMBER")]
    vlan: Option<u16>,
    /// Interface by which the query comes in
    #[arg(long = "from", help_heading = HEADING, value_name = "IF")]
    interface: Option<String>,
    /// Address of the resolver that is asked
    #[arg(long, help_heading = HEADING, value_name = "ADDRESS")]
    to: Option<IpAddr>,
    /// When it is asked, for schedules and overrides: 21:30 or 2026-02-01T21:30 in the zone of
    /// the policy's schedule, or 21:30[Europe/Berlin] [default: now]
    #[arg(long, help_heading = HEADING, value_name = "TIME")]
    at: Option<String>,
}

impl ClientArguments {
    pub(super) fn facts(&self) -> ClientFacts {
        let (ip, mac) = match self.client {
            Some(ClientAddress::Ip(ip)) => (Some(ip), None),
            Some(ClientAddress::Mac(mac)) => (None, Some(mac)),
            None => (None, None),
        };
        ClientFacts {
            client: ip,
            mac: self.mac.or(mac),
            vlan: self.vlan,
            interface: self.interface.clone(),
            to: self.to,
        }
    }

    /// Where the times are meant: where the policy that applies has its schedule.
    fn zone(&self, config: &Config, plan: &Plan) -> TimeZone {
        let (facts, _) = self.known(config, plan.policies());
        let schedule = &plan.policies().chosen(&facts).policy.schedule;
        match schedule.spans.is_empty() {
            true => TimeZone::system(),
            false => schedule.zone.clone(),
        }
    }

    /// Fails if policies are asked about where there are none.
    pub(super) fn check(&self, has_config: bool) -> Result<(), Failure> {
        let flags = [
            ("--mac", self.mac.is_some()),
            ("--vlan", self.vlan.is_some()),
            ("--from", self.interface.is_some()),
            ("--to", self.to.is_some()),
            ("--at", self.at.is_some()),
        ];
        match flags.iter().find(|(_, is_given)| *is_given) {
            Some((flag, _)) if !has_config => Err(Failure::usage(anyhow::anyhow!(
                "{flag} asks about policies, and there are none without a configuration: name one with `--config`"
            ))),
            _ => Ok(()),
        }
    }

    /// The client, for rules that are for some clients only.
    pub(super) fn client_address(&self) -> Option<ClientAddress> {
        self.client.or(self.mac.map(ClientAddress::Mac))
    }

    /// What a configuration amounts to at the time that is asked for.
    ///
    /// Overrides are part of it where a configuration file says so, and if they can be read.
    pub(super) fn preview(
        &self,
        config: &Config,
        categories: &Categories,
        is_from_file: bool,
    ) -> Result<Preview, Failure> {
        let plan = Plan::of(config, categories, &Numbers::new()).map_err(Failure::usage)?;
        let at = match &self.at {
            Some(text) => {
                let now = Zoned::now().with_time_zone(self.zone(config, &plan));
                when::at(text, &now).map_err(Failure::usage)?
            }
            None => Timestamp::now(),
        };
        let set = if is_from_file {
            overrides(config)
        } else {
            OverrideSet::default()
        };
        Ok(Preview::new(plan, set, at))
    }
}

impl ClientArguments {
    /// Whom the configuration knows: the client by its hardware address too, if it is a neighbour of
    /// this machine; and what the answer rests on.
    pub(super) fn known(&self, config: &Config, policies: &Policies) -> (ClientFacts, Vec<String>) {
        let mut facts = self.facts();
        let mut notes = Vec::new();
        let Some(client) = facts.client else {
            return (facts, notes);
        };
        if facts.mac.is_none() && policies.clients().selected.count(Selector::Mac) > 0 {
            // Without netlink nothing is known, as without a neighbour.
            let seen = features::hardware_addresses(client).unwrap_or_default();
            match *seen {
                [mac] => {
                    facts.mac = Some(mac);
                    notes.push(format!(
                        "{client} has the hardware address {} here (`ip neigh`)",
                        MacText(mac)
                    ));
                }
                _ => notes.push(format!(
                    "some policies are for hardware addresses, and that of {client} is not known here: \
                     say it with `--mac`"
                )),
            }
        }
        if !service::is_client(config, policies, client) {
            let fate = match config.strangers {
                Refusal::Drop => "its queries for blocked names get no answer (drop_stranger)",
                Refusal::Pass => "its queries pass, also those for blocked names (pass_not_client)",
            };
            notes.push(format!(
                "{client} is no client by this configuration, on this machine: {fate}, until its prefix is in \
                 `clients`"
            ));
        }
        (facts, notes)
    }
}

fn overrides(config: &Config) -> OverrideSet {
    match Journal::open(config.overrides()) {
        Ok((_, set)) => set,
        Err(error) => {
            out::say(&format!("nxdp: without overrides: {}", error_chain(&error)));
            OverrideSet::default()
        }
    }
}

fn mac(text: &str) -> Result<Mac, String> {
    mac_from_text(text).ok_or_else(|| "write six bytes such as 02:00:5e:10:00:01".to_owned())
}

/// What becomes of a query that no list decides; nothing if the lists do.
pub(super) fn decision(judgement: &Judgement<'_>) -> Option<Decision> {
    match judgement.by {
        Decider::Lists => None,
        Decider::Override(entry) if entry.spec.action == OverrideAction::Block => {
            Some(Decision::Block)
        }
        Decider::Override(_) => Some(Decision::Allow),
        // Lists that must block something are asked during a pause, too.
        Decider::Paused(_) if judgement.categories != 0 => None,
        Decider::Unfiltered | Decider::Paused(_) => Some(Decision::None),
    }
}

/// What decides instead of lists, in words.
pub(super) fn decider_text(judgement: &Judgement<'_>) -> Option<String> {
    let policy = &judgement.chosen.policy.name;
    match judgement.by {
        Decider::Lists => None,
        Decider::Unfiltered => Some(format!("policy {policy} is unfiltered")),
        Decider::Paused(until) => Some(format!("paused until {}", when::local(until))),
        Decider::Override(entry) => Some(format!("override {}", super::overrides::line(entry))),
    }
}

/// The policy and why it applies, in words; nothing if there is no choice.
pub(super) fn policy_text(judgement: &Judgement<'_>) -> Option<String> {
    if !judgement.is_chosen {
        return None;
    }
    let (name, because) = (&judgement.chosen.policy.name, &judgement.chosen.because);
    let observes = if judgement.observes {
        ", which observes only"
    } else {
        ""
    };
    let scheduled = if judgement.is_scheduled {
        ", at a time of its schedule"
    } else {
        ""
    };
    Some(format!("policy {name}{observes}: {because}{scheduled}"))
}

/// The same for programs.
pub(super) fn add_json(object: &mut serde_json::Value, judgement: &Judgement<'_>) {
    let chosen = &judgement.chosen;
    object["policy"] = json!(chosen.policy.name);
    object["policy_because"] = json!(chosen.because.to_string());
    object["observed"] = json!(judgement.observes);
    object["scheduled"] = json!(judgement.is_scheduled);
    match judgement.by {
        Decider::Lists => {}
        Decider::Unfiltered => object["unfiltered"] = json!(true),
        Decider::Paused(until) => object["paused_until"] = json!(until),
        Decider::Override(entry) => object["override"] = json!(entry),
    }
}
