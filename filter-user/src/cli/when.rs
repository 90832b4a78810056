//! Times and durations as people write them on a command line.

use anyhow::{Context as _, bail, ensure};
use jiff::{Span, Timestamp, Zoned, civil, tz::TimeZone};

/// When something ends that lasts so long from now: `90s`, `10m`, `2h`, `1d12h`, `2 weeks`.
///
/// Days are those of the clock in `zone`. It is asked for only then: to find the machine's takes
/// longer than all else that a command like `nxdp allow` does.
pub(super) fn after(
    text: &str,
    now: Timestamp,
    zone: impl FnOnce() -> TimeZone,
) -> anyhow::Result<Timestamp> {
    let span: Span = text
        .parse()
        .with_context(|| format!("read duration '{text}': write 90s, 10m, 2h, 1d or 1w"))?;
    let end = now.checked_add(span).or_else(|_| {
        let end = now.to_zoned(zone()).checked_add(span)?;
        Ok::<_, jiff::Error>(end.timestamp())
    });
    let end = end.with_context(|| format!("read duration '{text}'"))?;
    ensure!(end > now, "read duration '{text}': it must lie ahead");
    Ok(end)
}

/// An instant: `18:00` of that day, `2026-02-01`, `2026-02-01T18:00`, all local, or with an offset.
pub(super) fn at(text: &str, now: &Zoned) -> anyhow::Result<Timestamp> {
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Ok(timestamp);
    }
    // In this order: of a date with a time, jiff takes the time alone, too.
    let local = if let Ok(local) = text.parse::<civil::DateTime>() {
        local
    } else if let Ok(time) = text.parse::<civil::Time>() {
        now.date().to_datetime(time)
    } else {
        bail!("read time '{text}': write 18:00, 2026-02-01, 2026-02-01T18:00 or 2026-02-01T18:00Z");
    };
    let zoned = local
        .to_zoned(now.time_zone().clone())
        .with_context(|| format!("read time '{text}'"))?;
    Ok(zoned.timestamp())
}

/// The next time that it is so late: `18:00` is tomorrow's if today's is past.
pub(super) fn until(text: &str, now: &Zoned) -> anyhow::Result<Timestamp> {
    let end = at(text, now)?;
    let is_dated = text.parse::<Timestamp>().is_ok() || text.parse::<civil::DateTime>().is_ok();
    if end > now.timestamp() || is_dated {
        return Ok(end);
    }
    at(text, &now.tomorrow()?)
}

/// An instant in the local zone, to the minute unless it has seconds.
pub(super) fn local(when: Timestamp) -> String {
    let zoned = when.to_zoned(TimeZone::system());
    let format = if zoned.second() == 0 {
        "%F %H:%M"
    } else {
        "%F %T"
    };
    zoned.strftime(format).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Zoned {
        "2026-01-05T20:30:00+01:00[Europe/Berlin]".parse().unwrap()
    }

    fn zone() -> TimeZone {
        now().time_zone().clone()
    }

    fn instant(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn durations_are_counted_from_now() {
        for (text, end) in [
            ("90s", "2026-01-05T19:31:30Z"),
            ("10m", "2026-01-05T19:40:00Z"),
            ("2h", "2026-01-05T21:30:00Z"),
            ("1d12h", "2026-01-07T07:30:00Z"),
            ("2 weeks", "2026-01-19T19:30:00Z"),
        ] {
            let end_of = after(text, now().timestamp(), zone).unwrap();
            assert_eq!(end_of, instant(end), "{text}");
        }
        for wrong in ["", "2", "-2h", "0s", "soon", "-1d"] {
            assert!(after(wrong, now().timestamp(), zone).is_err(), "{wrong}");
        }
        let unasked = || -> TimeZone { panic!("hours are the same everywhere") };
        assert!(after("36h", now().timestamp(), unasked).is_ok());
        // Clocks are put forward in between: the day has 23 hours.
        let evening = instant("2026-03-28T19:30:00Z");
        let next_evening = after("1d", evening, zone).unwrap();
        assert_eq!(next_evening, instant("2026-03-29T18:30:00Z"));
    }

    #[test]
    fn times_are_local_unless_they_say_otherwise_and_lie_ahead() {
        for (text, end) in [
            ("21:00", "2026-01-05T20:00:00Z"),
            ("18:00", "2026-01-06T17:00:00Z"),
            ("2026-02-01", "2026-01-31T23:00:00Z"),
            ("2026-07-01T18:00", "2026-07-01T16:00:00Z"),
            ("2026-07-01 18:00:30", "2026-07-01T16:00:30Z"),
            ("2026-07-01T18:00Z", "2026-07-01T18:00:00Z"),
            ("2026-07-01T18:00:00+05:00", "2026-07-01T13:00:00Z"),
        ] {
            assert_eq!(until(text, &now()).unwrap(), instant(end), "{text}");
        }
        assert_eq!(
            at("18:00", &now()).unwrap(),
            instant("2026-01-05T17:00:00Z")
        );
        let past = until("2025-07-01T18:00", &now()).unwrap();
        assert_eq!(past, instant("2025-07-01T16:00:00Z"));
        assert!(until("tonight", &now()).is_err());
    }
}
