//! A file from an address into the cache: resumed where it broke, held against every checksum that is known.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use md5::Md5;
use serde::{Deserialize, Serialize};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use ureq::http::HeaderMap;

use crate::HubError;
use crate::aside::pieces;
use crate::cache::{Cache, Validator, hex, read_through};
use crate::http::{Answer, Ask, Failure, Http, Progress, Service, Watch};
use crate::reply::{Reply, refused, said};
use crate::retry::{self, Tries, now};

/// A file to fetch.
pub(crate) struct Source<'a> {
    /// The address, for messages.
    pub place: &'a str,
    pub url: String,
    pub service: Option<&'a Service>,
    /// The file's name.
    pub name: &'a str,
    /// How many bytes it has, where that is known.
    pub bytes: Option<u64>,
    /// What it must hash to.
    pub checksum: Option<Checksum>,
    /// The state of it that is in the cache: an unchanged file does not come again.
    pub known: Option<&'a Validator>,
}

/// A checksum, in lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Checksum {
    /// As Zenodo has it.
    Md5(String),
    /// Git's name of a file: SHA-1 of its length and bytes.
    Git(String),
    Sha256(String),
}

impl Checksum {
    /// `md5:…`, `sha256:…`; nothing of kinds that are not known.
    pub fn parse(text: &str) -> Option<Checksum> {
        let (kind, digits) = text.split_once(':')?;
        Checksum::of(kind, digits)
    }

    pub fn of(kind: &str, digits: &str) -> Option<Checksum> {
        let digits = digits.to_ascii_lowercase();
        let whole = |n: usize| digits.len() == n && digits.bytes().all(|b| b.is_ascii_hexdigit());
        match kind {
            "md5" if whole(32) => Some(Checksum::Md5(digits)),
            "git" if whole(40) => Some(Checksum::Git(digits)),
            "sha256" if whole(64) => Some(Checksum::Sha256(digits)),
            _ => None,
        }
    }
}

impl std::fmt::Display for Checksum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Checksum::Md5(d) => write!(f, "md5:{d}"),
            Checksum::Git(d) => write!(f, "git:{d}"),
            Checksum::Sha256(d) => write!(f, "sha256:{d}"),
        }
    }
}

/// What came.
pub(crate) enum Came {
    /// A file, now in the cache.
    File { path: PathBuf, sha256: String, bytes: u64, validator: Option<Validator> },
    /// The state that was known is still the file's.
    Unchanged,
}

/// The most bytes that a file of unknown size may have: what Zenodo takes.
const MOST: u64 = 50 << 30;
/// After so many bytes a connection that breaks counts as the first failure again.
const WELL: u64 = 1 << 16;

/// What a file that has not come whole is the beginning of.
#[derive(Serialize, Deserialize)]
struct Begun {
    validator: Option<Validator>,
}

/// Fetches a file into the cache.
pub(crate) fn download(
    http: &Http,
    cache: &Cache,
    source: &Source<'_>,
    watch: &mut Watch<'_>,
) -> Result<Came, HubError> {
    // A link that is signed anew each time names the same file.
    let plain = source.url.split('?').next().unwrap_or(&source.url);
    let key = match &source.checksum {
        Some(checksum) => checksum.to_string(),
        None => plain.to_owned(),
    };
    let mut partial = cache.partial(&key, source.name, watch)?;
    let (path, file) = (partial.path.clone(), &mut partial.file);
    let io = |e| HubError::Io { path: path.clone(), source: e };
    let mut sums = Sums::new(source);
    let mut begun: Option<Begun> = cache.note("partial", &key);
    // Without a checksum a beginning is of use only if the server can say that the file is still the same.
    if source.checksum.is_none() && begun.as_ref().is_none_or(|b| b.validator.is_none()) {
        file.set_len(0).map_err(io)?;
    }
    file.seek(SeekFrom::Start(0)).map_err(io)?;
    read_through(&mut *file, &path, source.name, watch, &mut |bytes| sums.add(bytes))?;

    let mut tries = Tries::new(&http.patience);
    let mut anew = false;
    loop {
        let ask = request(source, sums.bytes, begun.as_ref());
        let at_start = sums.bytes;
        let (said_why, status, asked) = match http.once(&ask, watch) {
            Ok(answer) => match step(source, answer, (file, &path), &mut sums, &mut begun, (http, cache, &key), watch)?
            {
                Step::Unchanged => {
                    finish_partial(cache, &key, &path);
                    return Ok(Came::Unchanged);
                }
                Step::Whole => {
                    let found = std::mem::replace(&mut sums, Sums::new(source)).finish();
                    match found.compare(source) {
                        None => {
                            file.sync_all().map_err(io)?;
                            let path = cache.keep_file(&path, &found.sha256)?;
                            cache.drop_note("partial", &key);
                            let validator = begun.and_then(|b| b.validator);
                            return Ok(Came::File { path, sha256: found.sha256, bytes: found.bytes, validator });
                        }
                        // Once more from the start: a beginning from an earlier run may have been of other bytes.
                        Some(_) if !anew && at_start > 0 => {
                            anew = true;
                            file.set_len(0).map_err(io)?;
                            continue;
                        }
                        Some((expected, got)) => {
                            finish_partial(cache, &key, &path);
                            return Err(HubError::Checksum {
                                place: source.place.to_owned(),
                                expected,
                                found: got,
                                remedy: "it was thrown away; run the same command again, and if it stays so, tell who \
                                         published it"
                                    .to_owned(),
                            });
                        }
                    }
                }
                Step::Again(why, status, asked) => (why, status, asked),
                Step::FromStart => {
                    file.set_len(0).map_err(io)?;
                    sums = Sums::new(source);
                    begun = None;
                    if anew {
                        ("it cannot be resumed".to_owned(), None, None)
                    } else {
                        anew = true;
                        continue;
                    }
                }
            },
            Err(Failure::Final(error)) => return Err(error),
            Err(Failure::Broken { said, .. }) => (said, None, None),
        };
        if sums.bytes >= at_start + WELL {
            tries.well();
        }
        tries.wait(&ask, &said_why, asked, status, watch)?;
    }
}

fn finish_partial(cache: &Cache, key: &str, path: &Path) {
    cache.drop_note("partial", key);
    // An empty or wrong beginning; the next run would throw it away as well.
    let _ = std::fs::remove_file(path);
}

/// The request for what is not here yet.
fn request<'a>(source: &Source<'a>, have: u64, begun: Option<&Begun>) -> Ask<'a> {
    let mut ask = Ask::get(source.place, source.url.clone(), source.service);
    if have > 0 {
        ask = ask.header("range", format!("bytes={have}-"));
        // Where the bytes are known by a checksum, it alone decides.
        if source.checksum.is_none()
            && let Some(validator) = begun.and_then(|b| b.validator.as_ref())
        {
            let (Validator::ETag(state) | Validator::LastModified(state)) = validator;
            ask = ask.header("if-range", state);
        }
    } else {
        match source.known {
            Some(Validator::ETag(state)) => ask = ask.header("if-none-match", state),
            Some(Validator::LastModified(state)) => ask = ask.header("if-modified-since", state),
            None => {}
        }
    }
    ask
}

/// What one answer led to.
enum Step {
    Unchanged,
    Whole,
    /// It is to be tried again: why, the status, and how long the service asks to wait.
    Again(String, Option<u16>, Option<std::time::Duration>),
    FromStart,
}

/// Takes one answer: appends what it brings.
fn step(
    source: &Source<'_>,
    answer: Answer,
    (file, path): (&mut File, &Path),
    sums: &mut Sums,
    begun: &mut Option<Begun>,
    (http, cache, key): (&Http, &Cache, &str),
    watch: &mut Watch<'_>,
) -> Result<Step, HubError> {
    let io = |source| HubError::Io { path: path.to_owned(), source };
    let header = |name: &str| answer.headers.get(name).and_then(|v| v.to_str().ok()).map(str::trim);
    let total = match answer.status {
        304 if source.known.is_some() => return Ok(Step::Unchanged),
        200 => {
            if sums.bytes > 0 {
                // The server sends all of it, whatever was asked for.
                file.set_len(0).map_err(io)?;
                *sums = Sums::new(source);
            }
            header("content-length").and_then(|n| n.parse().ok())
        }
        206 => match header("content-range").and_then(content_range) {
            Some((first, total)) if first == sums.bytes => total,
            _ => return Ok(Step::FromStart),
        },
        416 => {
            // Nothing is left to come, or what is here is no beginning of it.
            let total = header("content-range").and_then(|r| r.strip_prefix("bytes */")).and_then(|n| n.parse().ok());
            let total: Option<u64> = source.bytes.or(total);
            return Ok(if total == Some(sums.bytes) { Step::Whole } else { Step::FromStart });
        }
        status => {
            let headers = answer.headers.clone();
            // A few words of what went wrong; if even they do not come, the number says enough.
            let text = match http.read_text(answer, source.place, watch) {
                Err(Failure::Final(stopped @ HubError::Stopped { .. })) => return Err(stopped),
                text => text.unwrap_or_default(),
            };
            let reply = Reply { status, headers, text };
            if retry::is_passing(status) {
                let asked = retry::asked(&reply.headers, now());
                return Ok(Step::Again(said(&reply, source.service), Some(status), asked));
            }
            return Err(refused(source.place, source.service, &reply));
        }
    };
    let promised = source.bytes.or(total);
    if let (Some(listed), Some(total)) = (source.bytes, total)
        && listed != total
    {
        return Err(HubError::Checksum {
            place: source.place.to_owned(),
            expected: format!("{listed} bytes"),
            found: format!("{total} bytes"),
            remedy: "the service is at odds with itself; try again later".to_owned(),
        });
    }
    *begun = Some(Begun { validator: validator(&answer.headers) });
    cache.keep_note("partial", key, begun)?;

    let mut pieces = pieces(answer.body);
    loop {
        let progress = Progress::Receiving { name: source.name, done: sums.bytes, total: promised };
        if watch(&progress).is_break() {
            return Err(HubError::Stopped { place: source.place.to_owned() });
        }
        let piece = match pieces.next(source.place, watch)? {
            Some(Ok(piece)) if !piece.is_empty() => piece,
            Some(Err(e)) => match http.failure(source.place, ureq::Error::from(e)) {
                Failure::Broken { said, .. } => return Ok(Step::Again(said, None, None)),
                Failure::Final(error) => return Err(error),
            },
            _ => break,
        };
        file.write_all(&piece).map_err(io)?;
        sums.add(&piece);
        if sums.bytes > promised.unwrap_or(MOST) {
            return Err(HubError::Checksum {
                place: source.place.to_owned(),
                expected: format!("at most {} bytes", promised.unwrap_or(MOST)),
                found: "more".to_owned(),
                remedy: "nothing of it was kept; check the address".to_owned(),
            });
        }
    }
    match promised {
        Some(promised) if sums.bytes < promised => {
            Ok(Step::Again(format!("the connection broke after {} of {promised} bytes", sums.bytes), None, None))
        }
        _ => Ok(Step::Whole),
    }
}

/// The first byte and the whole size of `bytes 10-99/100`; the size may be `*`.
fn content_range(text: &str) -> Option<(u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last): (u64, u64) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    let total = total.trim().parse::<u64>().ok();
    (first <= last && total.is_none_or(|t| last < t)).then_some((first, total))
}

/// By what the server will know this state of the file: an ETag that stands for bytes, or a date.
fn validator(headers: &HeaderMap) -> Option<Validator> {
    let header = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    match header("etag").filter(|e| !e.starts_with("W/")) {
        Some(etag) => Some(Validator::ETag(etag)),
        None => header("last-modified").map(Validator::LastModified),
    }
}

/// Checksums as bytes come.
struct Sums {
    bytes: u64,
    sha256: Sha256,
    md5: Option<Md5>,
    git: Option<Sha1>,
}

/// Checksums of all of it.
struct Found {
    bytes: u64,
    sha256: String,
    /// Of the kind that is expected, where one is.
    checksum: Checksum,
}

impl Sums {
    fn new(source: &Source<'_>) -> Sums {
        let md5 = matches!(source.checksum, Some(Checksum::Md5(_))).then(Md5::new);
        let git = matches!(source.checksum, Some(Checksum::Git(_)))
            .then(|| Sha1::new_with_prefix(format!("blob {}\0", source.bytes.unwrap_or(0))));
        Sums { bytes: 0, sha256: Sha256::new(), md5, git }
    }

    fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.sha256.update(bytes);
        self.md5.iter_mut().for_each(|h| h.update(bytes));
        self.git.iter_mut().for_each(|h| h.update(bytes));
    }

    fn finish(self) -> Found {
        let sha256 = hex(&self.sha256.finalize());
        let checksum = match (self.md5, self.git) {
            (Some(md5), _) => Checksum::Md5(hex(&md5.finalize())),
            (_, Some(git)) => Checksum::Git(hex(&git.finalize())),
            _ => Checksum::Sha256(sha256.clone()),
        };
        Found { bytes: self.bytes, sha256, checksum }
    }
}

impl Found {
    /// What was expected and what was found, where they differ.
    fn compare(&self, source: &Source<'_>) -> Option<(String, String)> {
        if let Some(expected) = source.bytes.filter(|b| *b != self.bytes) {
            return Some((format!("{expected} bytes"), format!("{} bytes", self.bytes)));
        }
        let expected = source.checksum.as_ref()?;
        (self.checksum != *expected).then(|| (expected.to_string(), self.checksum.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read() {
        assert_eq!(content_range("bytes 10-99/100"), Some((10, Some(100))));
        assert_eq!(content_range("bytes 10-99/*"), Some((10, None)));
        for wrong in ["", "bytes", "bytes 10-100/100", "bytes 9-3/10", "items 1-2/3", "bytes a-b/c", "bytes */100"] {
            assert_eq!(content_range(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn checksums_are_read() {
        let sum = "md5:0123456789ABCDEF0123456789abcdef";
        assert_eq!(Checksum::parse(sum).unwrap().to_string(), sum.to_lowercase());
        for wrong in ["md5:12", "crc32:12345678", "sha256:zz", ""] {
            assert_eq!(Checksum::parse(wrong), None, "{wrong}");
        }
    }
}
