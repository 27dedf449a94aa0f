//! When to try again: what a service asks for, and what is usual when it asks for nothing.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ureq::http::HeaderMap;

use crate::http::{Ask, Progress, TICK, Watch};
use crate::{HubError, Patience};

/// How often something has failed in a row.
pub(crate) struct Tries<'p> {
    patience: &'p Patience,
    failed: u32,
}

impl<'p> Tries<'p> {
    pub fn new(patience: &'p Patience) -> Self {
        Tries { patience, failed: 0 }
    }

    /// Something went well: the count starts again.
    pub fn well(&mut self) {
        self.failed = 0;
    }

    /// Waits before the next try, as long as the service asks for or twice as long as before; an error when it was the
    /// last, or the service asks for too much.
    pub fn wait(
        &mut self,
        ask: &Ask<'_>,
        said: &str,
        asked: Option<Duration>,
        status: Option<u16>,
        watch: &mut Watch<'_>,
    ) -> Result<(), HubError> {
        let place = ask.place.to_owned();
        self.failed += 1;
        let give_up = |remedy: String| match status {
            Some(status) => HubError::Refused { place: place.clone(), status, said: said.to_owned(), remedy },
            None => HubError::Unreachable { place: place.clone(), said: said.to_owned(), remedy },
        };
        if let Some(asked) = asked.filter(|a| *a > self.patience.longest_wait) {
            let minutes = asked.as_secs().div_ceil(60);
            return Err(give_up(format!("it asks to come back in {minutes} minutes; the same command goes on then")));
        }
        if self.failed >= self.patience.attempts {
            let n = self.failed;
            return Err(give_up(match status {
                Some(_) => format!("tried {n} times; the service is busy or down: run the same command later"),
                None => format!(
                    "tried {n} times; is the network up, and a proxy needed (HTTPS_PROXY)? The same command goes on from there"
                ),
            }));
        }
        let doubled = self.patience.first_wait.saturating_mul(1 << (self.failed - 1).min(16));
        let until = Instant::now() + asked.unwrap_or(doubled.min(self.patience.longest_wait));
        tracing::debug!("{}: {said}; trying again", ask.place);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if watch(&Progress::Waiting { why: said, left }).is_break() {
                return Err(HubError::Stopped { place });
            }
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(TICK));
        }
    }
}

/// Whether an answer says that the same request may succeed later.
pub(crate) fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

/// Whether an answer says that nothing was done, so that even what must not be done twice may be tried again.
pub(crate) fn did_nothing(status: u16) -> bool {
    matches!(status, 425 | 429 | 503)
}

/// How long the service asks to wait, `now` in seconds since 1970: `Retry-After` in seconds or as a date, the `t` of
/// `RateLimit`, or the moment in `X-RateLimit-Reset` when nothing remains.
pub(crate) fn asked(headers: &HeaderMap, now: u64) -> Option<Duration> {
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::trim);
    if let Some(after) = header("retry-after") {
        let seconds = after.parse().ok().or_else(|| seconds_of(after).map(|at| at.saturating_sub(now)));
        if let Some(seconds) = seconds {
            return Some(Duration::from_secs(seconds));
        }
    }
    if let Some(limit) = header("ratelimit") {
        let value = |key: &str| limit.split([';', ',']).find_map(|p| p.trim().strip_prefix(key)?.parse::<u64>().ok());
        if value("r=").is_none_or(|remaining| remaining == 0)
            && let Some(seconds) = value("t=")
        {
            return Some(Duration::from_secs(seconds));
        }
    }
    let reset: u64 = header("x-ratelimit-reset")?.parse().ok()?;
    (header("x-ratelimit-remaining") == Some("0")).then(|| Duration::from_secs(reset.saturating_sub(now)))
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

/// Seconds since 1970 of a date as HTTP writes it: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn seconds_of(date: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let words: Vec<&str> = date.split_once(',')?.1.split_whitespace().collect();
    let [day, month, year, time, "GMT"] = words[..] else { return None };
    let month = MONTHS.iter().position(|m| *m == month)? as i64 + 1;
    let (day, year): (i64, i64) = (day.parse().ok()?, year.parse().ok()?);
    let clock: Vec<u64> = time.split(':').map_while(|p| p.parse().ok()).collect();
    let [hour, minute, second] = clock[..] else { return None };
    if !(1..=31).contains(&day) || !(1970..=9999).contains(&year) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Years that begin in March have their leap day at the end.
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468;
    Some(u64::try_from(days).ok()? * 86_400 + hour * 3600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[(&'static str, &'static str)]) -> Option<u64> {
        let mut map = HeaderMap::new();
        headers.iter().for_each(|(n, v)| drop(map.insert(*n, v.parse().unwrap())));
        asked(&map, 784_111_770).map(|d| d.as_secs())
    }

    #[test]
    fn every_way_of_asking_is_heard() {
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("retry-after", "7")]), Some(7));
        assert_eq!(of(&[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")]), Some(7));
        assert_eq!(of(&[("retry-after", "Sun, 06 Nov 1994 08:49:00 GMT")]), Some(0));
        assert_eq!(of(&[("retry-after", "soon")]), None);
        assert_eq!(of(&[("ratelimit", "\"api\";r=0;t=55")]), Some(55));
        assert_eq!(of(&[("ratelimit", "\"api\";r=3;t=55")]), None);
        assert_eq!(of(&[("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "784111777")]), Some(7));
        assert_eq!(of(&[("x-ratelimit-remaining", "3"), ("x-ratelimit-reset", "784111777")]), None);
    }

    #[test]
    fn dates_are_counted_from_1970() {
        assert_eq!(seconds_of("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        assert_eq!(seconds_of("Thu, 29 Feb 2024 12:00:00 GMT"), Some(1_709_208_000));
        assert_eq!(seconds_of("Mon, 01 Mar 2100 00:00:00 GMT"), Some(4_107_542_400));
        for wrong in
            ["", "Sun, 06", "Sun, 99 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 99:49:37 GMT", ", 1 Jan -5 0:0:0 GMT"]
        {
            assert_eq!(seconds_of(wrong), None, "{wrong}");
        }
    }
}
