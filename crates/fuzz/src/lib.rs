//! Damaged and hostile files: sound ones are changed, and a reader has to give an error or a value, without a panic and
//! within seconds.
//!
//! Cases are numbered: the same target, number and seeds give the same bytes, on every machine. [`run`] tries a range of
//! numbers; a bounded test does so for every reader, and `SCGRAFT_FUZZ` asks for more of each, `SCGRAFT_FUZZ_FIRST` for
//! those that follow earlier ones. Memory is bounded from outside, and files lie in memory:
//!
//! ```text
//! cargo test --release -p scgraft-fuzz --no-run
//! export SCGRAFT_FUZZ=1000000 TMPDIR=/dev/shm
//! (ulimit -v 4000000; cargo test --release -p scgraft-fuzz --test readers gene_sets -- --nocapture)
//! ```

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// The longest that one file may take, in the better of two tries.
pub const LONGEST: Duration = Duration::from_secs(5);

/// A reader with sound files to change.
pub struct Target<'t> {
    /// Its name.
    pub name: &'t str,
    /// Sound files: the name that the reader sees, and the bytes.
    pub seeds: Vec<(String, Vec<u8>)>,
    /// Reads bytes under a name; what it finds does not matter.
    pub read: &'t (dyn Fn(&str, Vec<u8>) + 't),
}

/// What came of a range of cases.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Cases tried.
    pub cases: u64,
    /// Cases in which the reader panicked, or took too long: number, and what happened.
    pub failures: Vec<(u64, String)>,
    /// The longest that one took, and its number.
    pub slowest: (Duration, u64),
    /// How long all of them took.
    pub whole: Duration,
}

/// Tries cases of these numbers.
pub fn run(target: &Target, cases: Range<u64>) -> Outcome {
    let mut out = Outcome::default();
    let begun = Instant::now();
    for number in cases {
        let attempt = || {
            let (name, bytes) = case(target, number);
            let start = Instant::now();
            let panicked = catch_unwind(AssertUnwindSafe(|| (target.read)(&name, bytes))).is_err();
            (panicked, start.elapsed())
        };
        let (mut panicked, mut took) = attempt();
        if took > LONGEST {
            // Other work on the machine makes any file slow, but seldom twice.
            let again = attempt();
            (panicked, took) = (panicked || again.0, took.min(again.1));
        }
        out.cases += 1;
        out.slowest = out.slowest.max((took, number));
        if panicked {
            out.failures.push((number, "a panic".to_owned()));
        } else if took > LONGEST {
            out.failures.push((number, format!("{} s", took.as_secs())));
        }
    }
    out.whole = begun.elapsed();
    out
}

/// The name and the bytes of a case.
pub fn case(target: &Target, number: u64) -> (String, Vec<u8>) {
    let mut random = Random::new(number ^ hash(target.name));
    let Some((name, bytes)) = target.seeds.get(random.below(target.seeds.len())) else {
        return ("empty".to_owned(), Vec::new());
    };
    let mut bytes = bytes.clone();
    let other = &target.seeds[random.below(target.seeds.len())].1;
    for _ in 0..1 + random.below(6) {
        change(&mut bytes, other, &mut random);
    }
    (name.clone(), bytes)
}

/// Numbers that sizes and addresses are seldom, and words that text seldom holds.
const NUMBERS: [u64; 12] = [0, 1, 2, 7, 0x7f, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, 1 << 40, u64::MAX >> 1, u64::MAX];
const WORDS: [&str; 18] = [
    "\t",
    "\n",
    "\r",
    "\"",
    ",",
    "NaN",
    "-1",
    "1e400",
    "99999999999999999999",
    "%%MatrixMarket",
    "\0",
    "\u{feff}",
    "//",
    "<GENESET ",
    "{",
    "[",
    "=",
    "é",
];

/// Makes one change.
fn change(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    let n = bytes.len();
    if n == 0 {
        bytes.extend_from_slice(&other[..other.len().min(64)]);
        return;
    }
    let at = random.below(n);
    match random.below(9) {
        0 => bytes[at] ^= 1 << random.below(8),
        1 => bytes[at] = random.next() as u8,
        2 | 3 => {
            let wide = [1, 2, 4, 8][random.below(4)].min(n - at);
            let number = NUMBERS[random.below(NUMBERS.len())].to_le_bytes();
            bytes[at..at + wide].copy_from_slice(&number[..wide]);
        }
        4 => bytes.truncate(at),
        5 => {
            let end = (at + 1 + random.below(512)).min(n);
            bytes.drain(at..end);
        }
        6 => {
            let end = (at + 1 + random.below(512)).min(n);
            let copy = bytes[at..end].to_vec();
            let to = random.below(n);
            bytes.splice(to..to, copy);
        }
        7 => {
            let word = WORDS[random.below(WORDS.len())];
            bytes.splice(at..at, word.bytes());
        }
        _ => {
            let from = random.below(other.len().max(1)).min(other.len());
            let taken = &other[from..(from + 1 + random.below(256)).min(other.len())];
            let end = (at + taken.len()).min(n);
            bytes.splice(at..end, taken.iter().copied());
        }
    }
}

fn hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Random {
        Random(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { (self.next() % n as u64) as usize }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_is_the_same_every_time_and_failures_are_told() {
        let read = |_: &str, bytes: Vec<u8>| assert!(bytes.starts_with(b"a"), "another start");
        let target = Target { name: "t", seeds: vec![("x.txt".into(), b"abcdefgh".to_vec())], read: &read };
        assert_eq!(case(&target, 5), case(&target, 5));
        assert_ne!(case(&target, 5), case(&target, 6));
        let found = run(&target, 0..200);
        assert_eq!(found.cases, 200);
        assert!(!found.failures.is_empty() && found.failures.len() < 200);
    }
}
