//! Seeded random numbers: the same on every machine, on any number of threads.
//!
//! * [`Key`] names a draw, of which element `i` can be computed alone: what tensors, noise and dropout are drawn with.
//! * [`Random`] is a stream drawn from in turn: for samplers that need a number of draws that is not known before.
//! * [`mix`], [`below`] and [`sample`] draw single numbers by seed and counter.
//!
//! Keys are Philox, all else is SplitMix64. A stream's numbers are part of what a seed promises and never change.

mod philox;
mod stream;

pub use philox::Key;
pub use stream::Random;

/// The golden ratio as a 64-bit odd step.
const STEP: u64 = 0x9E37_79B9_7F4A_7C15;

/// The finaliser of SplitMix64 (Steele, Lea & Flood 2014, with Stafford's constants "mix13"): spreads a change of any bit
/// over all bits.
#[inline]
fn spread(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// 64 random bits for number `counter` of stream `seed`.
#[inline]
pub fn mix(seed: u64, counter: u64) -> u64 {
    spread(seed.wrapping_add(counter.wrapping_add(1).wrapping_mul(STEP)))
}

/// A whole number below `n`, evenly to within n / 2⁶⁴.
#[inline]
pub fn below(seed: u64, counter: u64, n: u64) -> u64 {
    scale(mix(seed, counter), n)
}

/// A random word as a whole number below `n`.
#[inline]
fn scale(word: u64, n: u64) -> u64 {
    ((u128::from(word) * u128::from(n)) >> 64) as u64
}

/// `n` different whole numbers below `total`, ascending (all of them when `n >= total`), every choice equally likely.
///
/// Floyd's algorithm (Bentley & Floyd 1987, doi:10.1145/30401.315746).
pub fn sample(seed: u64, n: usize, total: usize) -> Vec<usize> {
    if n >= total {
        return (0..total).collect();
    }
    let mut chosen = std::collections::BTreeSet::new();
    for top in total - n..total {
        let pick = below(seed, top as u64, top as u64 + 1) as usize;
        if !chosen.insert(pick) {
            chosen.insert(top);
        }
    }
    chosen.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_different_and_even() {
        let mut counts = [0usize; 10];
        for seed in 0..3000 {
            let s = sample(mix(7, seed), 3, 10);
            assert_eq!(s.len(), 3);
            assert!(s.windows(2).all(|w| w[0] < w[1]));
            s.iter().for_each(|&i| counts[i] += 1);
        }
        // 3000 draws of 3 in 10: 900 each, standard deviation 25.
        assert!(counts.iter().all(|&c| (800..1000).contains(&c)), "{counts:?}");
        assert_eq!(sample(1, 5, 5), [0, 1, 2, 3, 4]);
    }
}
