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

/// An instant: `18:00` of that day, `2026-02-01`, `2026-02-01T18:00`, all local, or with an
/// offset, or with a zone behind it in brackets.
pub(super) fn at(text: &str, now: &Zoned) -> anyhow::Result<Timestamp> {
    if let Some((time, zone)) = zone_behind(text)? {
        // An offset beside the zone must be right for it, which only this sees.
        return match text.parse::<Zoned>() {
            Ok(zoned) => Ok(zoned.timestamp()),
            Err(error) if is_offset_given(time) => {
                Err(error).context(format!("read time '{text}'"))
            }
            Err(_) => at(time, &now.with_time_zone(zone)),
        };
    }
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Ok(timestamp);
    }
    // In this order: of a date with a time, jiff takes the time alone, too.
    let local = if let Ok(local) = text.parse::<civil::DateTime>() {
        local
    } else if let Ok(time) = text.parse::<civil::Time>() {
        now.date().to_datetime(time)
    } else {
        bail!(
            "read time '{text}': write 18:00, 2026-02-01, 2026-02-01T18:00, 2026-02-01T18:00Z or 18:00[Europe/Berlin]"
        );
    };
    let zoned = local
        .to_zoned(now.time_zone().clone())
        .with_context(|| format!("read time '{text}'"))?;
    Ok(zoned.timestamp())
}

/// What stands in front of a zone in brackets, and the zone.
fn zone_behind(text: &str) -> anyhow::Result<Option<(&str, TimeZone)>> {
    let Some((time, bracketed)) = text.split_once('[') else {
        return Ok(None);
    };
    let name = bracketed.strip_suffix(']').unwrap_or(bracketed);
    let zone = TimeZone::get(name).with_context(|| {
        format!(
            "read time '{text}': '{name}' is no time zone: write an IANA name such as Europe/Berlin"
        )
    })?;
    Ok(Some((time.trim_end(), zone)))
}

fn is_offset_given(time: &str) -> bool {
    time.parse::<Timestamp>().is_ok()
}

/// The next time that it is so late: `18:00` is tomorrow's if today's is past.
pub(super) fn until(text: &str, now: &Zoned) -> anyhow::Result<Timestamp> {
    let end = at(text, now)?;
    let time = text.split('[').next().unwrap_or(text).trim_end();
    let is_dated = time.parse::<Timestamp>().is_ok() || time.parse::<civil::DateTime>().is_ok();
    if end > now.timestamp() || is_dated {
        return Ok(end);
    }
    let tomorrow = match zone_behind(text)? {
        Some((_, zone)) => now.with_time_zone(zone).tomorrow()?,
        None => now.tomorrow()?,
    };
    at(text, &tomorrow)
}

/// An instant in the machine's zone, with its offset, to the minute unless it has seconds.
pub(super) fn local(when: Timestamp) -> String {
    zoned(when, &TimeZone::system())
}

/// An instant as clocks in a zone show it, with its offset.
pub(super) fn zoned(when: Timestamp, zone: &TimeZone) -> String {
    let zoned = when.to_zoned(zone.clone());
    let format = if zoned.second() == 0 {
        "%F %H:%M %:z"
    } else {
        "%F %T %:z"
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
    fn an_instant_is_written_with_its_offset() {
        let zone = zone();
        assert_eq!(
            zoned(instant("2026-07-01T16:00:00Z"), &zone),
            "2026-07-01 18:00 +02:00"
        );
        assert_eq!(
            zoned(instant("2026-01-05T19:30:05Z"), &zone),
            "2026-01-05 20:30:05 +01:00"
        );
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
        for (text, end) in [
            // Brussels is an hour ahead of UTC in winter, New York five behind.
            ("21:15[Europe/Brussels]", "2026-01-05T20:15:00Z"),
            ("14:00[America/New_York]", "2026-01-06T19:00:00Z"),
            ("2026-07-01T18:00[America/New_York]", "2026-07-01T22:00:00Z"),
            (
                "2026-07-01T18:00-04:00[America/New_York]",
                "2026-07-01T22:00:00Z",
            ),
        ] {
            assert_eq!(until(text, &now()).unwrap(), instant(end), "{text}");
        }
        for wrong in [
            "21:15[Europe/Atlantis]",
            "21:15[",
            "2026-07-01T18:00+05:00[America/New_York]",
        ] {
            assert!(until(wrong, &now()).is_err(), "{wrong}");
        }
        let past = until("2025-07-01T18:00", &now()).unwrap();
        assert_eq!(past, instant("2025-07-01T16:00:00Z"));
        assert!(until("tonight", &now()).is_err());
    }
}
