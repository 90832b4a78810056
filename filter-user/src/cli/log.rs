//! `nxdp log`.

use std::io::{self, Write};

use anyhow::anyhow;
use clap::{Args, ValueEnum};
use filter_lists::rule::ClientAddress;
use filter_user::{
    config::LogQueries,
    control::{self, Response, Verb},
    querylog::{LogLine, LogRequest},
};

use super::{Failure, SocketArgument, offline::without_daemon, out};

/// Queries that are printed first with `--follow`, unless told otherwise.
const LAST_FOLLOWED: u32 = 10;

/// Flags of `nxdp log`.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    socket: SocketArgument,
    /// Stay and print queries as they come, until Ctrl-C
    #[arg(long, short = 'f')]
    follow: bool,
    /// Leave out queries that merely passed
    #[arg(long)]
    blocked: bool,
    /// Only queries of this client, by its IP or hardware address
    #[arg(long, value_name = "ADDR")]
    client: Option<ClientAddress>,
    /// Log these queries from now on, until nxdp ends or its configuration says otherwise
    #[arg(long, value_name = "QUERIES", conflicts_with_all = ["follow", "blocked", "client", "last", "json"])]
    set: Option<LogFlag>,
    /// How many of the last queries to print first [default: all that nxdp kept; 10 with --follow]
    #[arg(long, short = 'n', value_name = "COUNT")]
    last: Option<u32>,
    /// Print JSON, one object a line; `{"lost":…}` where queries are missing
    #[arg(long)]
    json: bool,
}

/// Which queries are told of.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum LogFlag {
    /// None
    Off,
    /// Those that were answered or dropped, or would have been
    Blocked,
    /// Every one
    All,
}

impl From<LogFlag> for LogQueries {
    fn from(flag: LogFlag) -> Self {
        match flag {
            LogFlag::Off => Self::Off,
            LogFlag::Blocked => Self::Blocked,
            LogFlag::All => Self::All,
        }
    }
}

impl Arguments {
    pub(super) fn run(self) -> Result<(), Failure> {
        if let Some(queries) = self.set {
            return self.set(queries.into());
        }
        let kept = if self.follow { LAST_FOLLOWED } else { u32::MAX };
        let request = LogRequest {
            last: self.last.unwrap_or(kept),
            follow: self.follow,
            blocked: self.blocked,
            client: self.client,
        };
        let (_, lines) = control::follow(&self.socket.path(), request).map_err(without_daemon)?;
        let mut out = out::stdout();
        for line in lines {
            self.print(&mut out, &line?)?;
        }
        if self.follow {
            return Err(anyhow!("follow the query log: nxdp ended").into());
        }
        Ok(())
    }

    fn set(&self, queries: LogQueries) -> Result<(), Failure> {
        let Response::Stats(stats) =
            control::ask(&self.socket.path(), Verb::Logging(queries)).map_err(without_daemon)?
        else {
            return Err(control::Error::OtherAnswer.into());
        };
        out::say(&format!(
            "logging {} from now on, until nxdp ends",
            stats.log.queries
        ));
        Ok(())
    }

    fn print(&self, out: &mut impl Write, line: &LogLine) -> io::Result<()> {
        if self.json {
            serde_json::to_writer(&mut *out, line)?;
            return writeln!(out);
        }
        match line {
            LogLine::Query(query) => writeln!(out, "{query}"),
            LogLine::Lost(lost) => {
                out::say(&format!("nxdp: {lost}"));
                Ok(())
            }
        }
    }
}
