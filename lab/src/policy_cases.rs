//! The table of policies and overrides: who asks whom for what, and why it must end as it does.
//!
//! A case is data. The test holds the kernel and the host to the same table, and
//! both to each other over every client, server and name of it.
// tidy: long because a table of cases is read in one place.

use filter_common::reason::Reason;
use filter_user::overrides::{
    OverrideAction::{self, Allow, Block, Pause},
    OverrideScope::{self, Exact, Suffix},
};

/// Lists: file, category (none if empty), text.
pub const LISTS: [(&str, &str, &str); 3] = [
    ("ads.txt", "ads", "||ads.test^\n||shop.ads.test^\n"),
    (
        "adult.txt",
        "adult",
        "||adult.test^\n@@||good.ads.test^\n||null.adult.test^$dnsrewrite=0.0.0.0\n",
    ),
    ("order.txt", "", "||order.test^$important\n"),
];

/// Who has which policy, where the interface says nothing.
pub const POLICIES: &str = "
[policy.default]
block = ['ads']
[policy.kids]
block = ['ads', 'adult']
answer = 'nodata'
block_bypass = true
clients = ['02:00:00:00:00:01', '10.1.0.0/16', 'fd00:1::/32']
[policy.teacher]
block = []
clients = ['10.1.2.3', 'fd00:1::3']
[policy.guests]
answer = 'refused'
clients = ['vlan:30']
[policy.free]
unfiltered = true
clients = ['10.7.0.0/16', 'vlan:31']
[policy.trial]
observe = true
block_bypass = true
clients = ['10.8.0.0/16']
[policy.rest]
clients = ['10.6.0.0/16']
[policy.second]
block = ['adult']
destinations = ['10.0.0.2', 'fd00::2']
[bypass]
resolvers = ['10.0.0.3']
built_in_resolvers = false
";

/// The same, and a policy for the interface by which every frame of TEST_RUN comes.
pub const INTERFACE_POLICY: &str = "
[policy.cable]
block = ['adult']
clients = ['interface:lo']
";

/// An override or a pause.
#[derive(Clone, Copy, Debug)]
pub struct Said {
    /// What it does.
    pub action: OverrideAction,
    /// To which name.
    pub name: &'static str,
    /// Whether names below it are meant.
    pub scope: OverrideScope,
    /// For whom, as in the journal.
    pub clients: &'static str,
    /// It ends after the first column of reasons.
    pub ends: bool,
}

const fn said(
    action: OverrideAction,
    name: &'static str,
    scope: OverrideScope,
    clients: &'static str,
) -> Said {
    Said {
        action,
        name,
        scope,
        clients,
        ends: false,
    }
}

const fn ending(said: Said) -> Said {
    Said { ends: true, ..said }
}

/// What the operator said, in this order.
pub const SAID: [Said; 16] = [
    said(Allow, "good.order.test", Suffix, "everybody"),
    said(Block, "bad.good.order.test", Exact, "everybody"),
    said(Block, "game.test", Suffix, "policy kids"),
    said(Allow, "game.test", Suffix, "client 10.1.2.9"),
    said(Block, "game.test", Exact, "client 02:00:00:00:00:09"),
    said(Block, "free.test", Suffix, "everybody"),
    said(Block, "news.test", Suffix, "everybody"),
    ending(said(Allow, "news.test", Suffix, "everybody")),
    ending(said(Block, "soon.test", Suffix, "policy kids")),
    ending(said(Allow, "ads.test", Exact, "client fd00:9::9")),
    ending(said(Pause, ".", Suffix, "policy rest")),
    ending(said(Pause, ".", Suffix, "client 10.1.4.4")),
    ending(said(Pause, ".", Suffix, "client 02:00:00:00:00:0a")),
    said(
        Allow,
        "a.deep.chain.of.labels.order.test",
        Suffix,
        "policy guests",
    ),
    said(Block, "chain.of.labels.test", Suffix, "client 10.9.9.9"),
    said(Allow, "www.chain.of.labels.test", Suffix, "everybody"),
];

/// Where a query comes from.
#[derive(Clone, Copy, Debug)]
pub struct Client {
    /// Last byte of its MAC address.
    pub mac: u8,
    /// Its address.
    pub address: &'static str,
    /// Its VLAN, or 0.
    pub vlan: u16,
}

const fn client(mac: u8, address: &'static str, vlan: u16) -> Client {
    Client { mac, address, vlan }
}

/// Whoever asks in the table.
pub const CLIENTS: [Client; 20] = [
    NOBODY,
    NOBODY_V6,
    client(1, "10.9.0.1", 0),
    client(1, "10.7.0.1", 30),
    client(1, "fd00:9::1", 31),
    client(2, "10.1.9.9", 0),
    client(2, "10.1.2.3", 0),
    client(2, "fd00:1::3", 30),
    client(2, "fd00:1::4", 30),
    client(2, "10.9.0.2", 30),
    client(2, "10.9.0.2", 31),
    client(2, "10.7.0.9", 0),
    client(2, "10.8.0.9", 0),
    client(2, "10.6.0.9", 0),
    client(2, "10.1.2.9", 0),
    client(9, "10.1.2.9", 0),
    client(2, "10.1.4.4", 0),
    client(10, "10.1.4.5", 0),
    client(2, "fd00:9::9", 0),
    client(2, "10.9.9.9", 0),
];
const NOBODY: Client = client(2, "10.9.0.2", 0);
const NOBODY_V6: Client = client(2, "fd00:9::2", 0);

/// One case.
#[derive(Debug)]
pub struct Case {
    /// What it shows.
    pub description: &'static str,
    /// Who asks.
    pub from: Client,
    /// Whom.
    pub to: &'static str,
    /// For what.
    pub name: &'static str,
    /// How it must leave: while everything holds that was said, and after the end of what ends.
    pub reasons: [Reason; 2],
}

const fn case(
    description: &'static str,
    from: Client,
    to: &'static str,
    name: &'static str,
    reasons: [Reason; 2],
) -> Case {
    Case {
        description,
        from,
        to,
        name,
        reasons,
    }
}

/// How a case leaves that time does not touch.
const fn always(reason: Reason) -> [Reason; 2] {
    [reason, reason]
}

/// The resolver without a policy of its own, the one with one, and both over IPv6.
pub const SERVERS: [&str; 4] = ["10.0.0.1", "10.0.0.2", "fd00::1", "fd00::2"];

/// Every case of [`POLICIES`].
pub fn all() -> Vec<Case> {
    use Reason::{
        Address, Allowed, NoData, NoRule, NxDomain, Observed, Overridden, Paused, Refused,
        Unfiltered,
    };
    let [first, second, first_v6, second_v6] = SERVERS;
    let kid = client(2, "10.1.9.9", 0);
    let rest = client(2, "10.6.0.9", 0);
    vec![
        case(
            "the default policy",
            NOBODY,
            first,
            "www.ads.test",
            always(NxDomain),
        ),
        case(
            "not its category",
            NOBODY,
            first,
            "adult.test",
            always(NoRule),
        ),
        case(
            "a list without a category",
            rest,
            first,
            "order.test",
            [Paused, NoData],
        ),
        case(
            "the resolver decides",
            NOBODY,
            second,
            "www.adult.test",
            always(NxDomain),
        ),
        case(
            "the resolver decides over IPv6",
            NOBODY_V6,
            second_v6,
            "ads.test",
            always(NoRule),
        ),
        case(
            "a station before its address",
            client(1, "10.7.0.1", 30),
            second,
            "ads.test",
            always(NoData),
        ),
        case(
            "a prefix before the resolver",
            kid,
            second,
            "ads.test",
            always(NoData),
        ),
        case(
            "an exception of a category that is on",
            kid,
            first,
            "good.ads.test",
            always(Allowed),
        ),
        case(
            "an exception of a category that is off",
            NOBODY,
            first,
            "good.ads.test",
            always(NxDomain),
        ),
        case(
            "a rule's own answer before the policy's",
            kid,
            first,
            "null.adult.test",
            always(Address),
        ),
        case(
            "the longer prefix",
            client(2, "10.1.2.3", 0),
            first,
            "ads.test",
            always(NoRule),
        ),
        case(
            "an address before its VLAN",
            client(2, "fd00:1::3", 30),
            first_v6,
            "ads.test",
            always(NoRule),
        ),
        case(
            "the shorter prefix",
            client(2, "fd00:1::4", 30),
            first_v6,
            "ads.test",
            always(NoData),
        ),
        case(
            "a VLAN",
            client(2, "10.9.0.2", 30),
            second,
            "ads.test",
            always(Refused),
        ),
        case(
            "unfiltered by VLAN",
            client(2, "10.9.0.2", 31),
            first,
            "order.test",
            always(Unfiltered),
        ),
        case(
            "unfiltered, and no override is looked at",
            client(2, "10.7.0.9", 0),
            first,
            "free.test",
            always(Unfiltered),
        ),
        case(
            "a station is filtered in an unfiltered VLAN",
            client(1, "fd00:9::1", 31),
            first_v6,
            "ads.test",
            always(NoData),
        ),
        case(
            "a trial",
            client(2, "10.8.0.9", 0),
            first,
            "ads.test",
            always(Observed),
        ),
        case(
            "an override in a trial",
            client(2, "10.8.0.9", 0),
            first,
            "free.test",
            always(Observed),
        ),
        case(
            "an override before an important rule",
            kid,
            first,
            "x.good.order.test",
            always(Overridden),
        ),
        case(
            "the longer override",
            kid,
            first,
            "bad.good.order.test",
            always(NoData),
        ),
        case(
            "an exact override is not for names below",
            kid,
            first,
            "x.bad.good.order.test",
            always(Overridden),
        ),
        case(
            "an override for a policy",
            kid,
            first,
            "www.game.test",
            always(NoData),
        ),
        case(
            "and for nobody else",
            NOBODY,
            first,
            "www.game.test",
            always(NoRule),
        ),
        case(
            "an address before its policy",
            client(2, "10.1.2.9", 0),
            first,
            "game.test",
            always(Overridden),
        ),
        case(
            "a station before its address",
            client(9, "10.1.2.9", 0),
            first,
            "game.test",
            always(NoData),
        ),
        case(
            "an exact one of a station leaves the rest",
            client(9, "10.1.2.9", 0),
            first,
            "www.game.test",
            always(Overridden),
        ),
        case(
            "an override for everybody",
            NOBODY_V6,
            second_v6,
            "x.free.test",
            always(NxDomain),
        ),
        case(
            "one with an end over one without",
            NOBODY,
            first,
            "news.test",
            [Overridden, NxDomain],
        ),
        case(
            "the end of an override",
            kid,
            first,
            "soon.test",
            [NoData, NoRule],
        ),
        case(
            "the end of an exception",
            client(2, "fd00:9::9", 0),
            first_v6,
            "ads.test",
            [Overridden, NoData],
        ),
        case(
            "an exact exception is not for names below",
            client(2, "fd00:9::9", 0),
            first_v6,
            "www.ads.test",
            always(NxDomain),
        ),
        case(
            "a policy is paused",
            rest,
            first,
            "ads.test",
            [Paused, NoData],
        ),
        case(
            "a pause goes before overrides",
            rest,
            first,
            "free.test",
            [Paused, NxDomain],
        ),
        case(
            "an address is paused",
            client(2, "10.1.4.4", 0),
            first,
            "free.test",
            [Paused, NoData],
        ),
        case(
            "a station is paused",
            client(10, "10.1.4.5", 0),
            first,
            "www.ads.test",
            [Paused, NoData],
        ),
        case(
            "nobody else is paused",
            kid,
            first,
            "www.ads.test",
            always(NoData),
        ),
        case(
            "a name far below",
            client(2, "10.9.0.2", 30),
            first,
            "x.a.deep.chain.of.labels.order.test",
            always(Overridden),
        ),
        case(
            "its parent",
            client(2, "10.9.0.2", 30),
            first,
            "deep.chain.of.labels.order.test",
            always(Refused),
        ),
        case(
            "the longer name before the narrower client",
            client(2, "10.9.9.9", 0),
            first,
            "x.www.chain.of.labels.test",
            always(Overridden),
        ),
        case(
            "the client's name",
            client(2, "10.9.9.9", 0),
            first,
            "ftp.chain.of.labels.test",
            always(NxDomain),
        ),
    ]
}

/// Every case of [`POLICIES`] with [`INTERFACE_POLICY`].
pub fn by_interface() -> Vec<Case> {
    use Reason::{NoData, NoRule, NxDomain, Refused};
    let second = SERVERS[1];
    vec![
        case(
            "an interface before the resolver",
            NOBODY,
            second,
            "www.adult.test",
            always(NxDomain),
        ),
        case(
            "an interface before the default policy",
            NOBODY,
            SERVERS[0],
            "ads.test",
            always(NoRule),
        ),
        case(
            "a VLAN before its interface",
            client(2, "10.9.0.2", 30),
            second,
            "ads.test",
            always(Refused),
        ),
        case(
            "a prefix before its interface",
            client(2, "10.1.9.9", 0),
            second,
            "ads.test",
            always(NoData),
        ),
        case(
            "a station before its interface",
            client(1, "10.9.0.1", 0),
            second,
            "ads.test",
            always(NoData),
        ),
    ]
}
