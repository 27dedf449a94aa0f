//! Counter-based random numbers: element `i` of a draw is a pure function of (key, `i`).
//!
//! A draw is the same whatever order or number of threads computes it, and two draws with
//! different keys are independent. The generator is Philox 4×32-10 (Salmon et al., SC 2011).

use super::{mix, scale};
use crate::isa::kernel;
use crate::math;

/// Names one draw: a seed, what the draw is for, and when it happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    seed: u64,
    stream: u64,
}

impl Key {
    /// The root of all draws of a run.
    pub fn new(seed: u64) -> Self {
        Key { seed, stream: 0 }
    }

    /// A key for a sub-draw: the same `tag` gives the same key.
    pub fn fold(self, tag: u64) -> Self {
        Key { seed: self.seed, stream: mix(self.stream, tag) }
    }

    /// Four random words for counter `i`.
    pub fn words(self, i: u64) -> [u32; 4] {
        philox(self.seed, self.stream, i)
    }

    /// Fills `out` with the words of counters `first`, `first` + 1, …
    pub fn fill_words(self, first: u64, out: &mut [u32]) {
        fill_words(self.seed, self.stream, first, out);
    }

    /// A number in [0, 1) with 53 random bits, for counter `i`.
    pub fn uniform(self, i: u64) -> f64 {
        let w = self.words(i);
        let bits = (u64::from(w[0]) << 21) ^ (u64::from(w[1]) >> 11);
        bits as f64 / (1u64 << 53) as f64
    }

    /// A whole number in 0..`n`, for counter `i` (bias below n / 2⁶⁴).
    pub fn below(self, i: u64, n: usize) -> usize {
        let w = self.words(i);
        scale((u64::from(w[0]) << 32) | u64::from(w[1]), n as u64) as usize
    }

    /// Puts `items` in random order (Fisher–Yates).
    pub fn shuffle<T>(self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u64, i + 1));
        }
    }

    /// Fills `out` with standard normal numbers: element `i` depends on the key and `i` only.
    pub fn fill_normal(self, out: &mut [f32]) {
        fill_normal(self.seed, self.stream, out);
    }

    /// Fills `out` with numbers uniform in [−bound, bound].
    pub fn fill_uniform(self, bound: f32, out: &mut [f32]) {
        for (i, quad) in out.chunks_mut(4).enumerate() {
            let words = self.words(i as u64);
            for (o, w) in quad.iter_mut().zip(words) {
                *o = bound * (unit(w) * 2.0 - 1.0);
            }
        }
    }

    /// Fills `out` with 1/(1 − p) where an element is kept and 0 where it is dropped (probability p).
    pub fn fill_dropout(self, p: f32, out: &mut [f32]) {
        let threshold = (f64::from(p) * 65536.0).round() as u32;
        fill_dropout(self.seed, self.stream, threshold.min(65535), 1.0 / (1.0 - p), out);
    }
}

/// The top 24 bits of a word as a number in [0, 1).
#[inline(always)]
fn unit(w: u32) -> f32 {
    // Through i32: processors without AVX-512 cannot convert lanes of u32.
    (w >> 8) as i32 as f32 * (1.0 / 16_777_216.0)
}

#[inline(always)]
fn philox(seed: u64, stream: u64, counter: u64) -> [u32; 4] {
    let mut c = [counter as u32, (counter >> 32) as u32, stream as u32, (stream >> 32) as u32];
    let mut k = [seed as u32, (seed >> 32) as u32];
    for _ in 0..10 {
        let p0 = u64::from(c[0]) * 0xd251_1f53;
        let p1 = u64::from(c[2]) * 0xcd9e_8d57;
        c = [(p1 >> 32) as u32 ^ c[1] ^ k[0], p1 as u32, (p0 >> 32) as u32 ^ c[3] ^ k[1], p0 as u32];
        k = [k[0].wrapping_add(0x9e37_79b9), k[1].wrapping_add(0xbb67_ae85)];
    }
    c
}

/// Counters handled together, so that the compiler can keep each in a lane.
const GROUP: usize = 16;

kernel! {
/// The words of 16 counters at a time.
#[expect(clippy::needless_range_loop, reason = "a lane of several arrays")]
fn fill_words(s, seed: u64, stream: u64, first: u64, out: &mut [u32]) {
    let mut words = [[0u32; GROUP]; 4];
    let mut quads = [0u32; 4 * GROUP];
    for (block, chunk) in out.chunks_mut(4 * GROUP).enumerate() {
        for j in 0..GROUP {
            let w = philox(seed, stream, first + (block * GROUP + j) as u64);
            for q in 0..4 {
                words[q][j] = w[q];
            }
        }
        for j in 0..GROUP {
            for q in 0..4 {
                quads[4 * j + q] = words[q][j];
            }
        }
        chunk.copy_from_slice(&quads[..chunk.len()]);
    }
}
}

kernel! {
/// Box–Muller on 16 Philox counters at a time; 64 normals a group.
#[expect(clippy::needless_range_loop, reason = "a lane of several arrays")]
fn fill_normal(s, seed: u64, stream: u64, out: &mut [f32]) {
    let mut words = [[0u32; GROUP]; 4];
    let mut normals = [0f32; 4 * GROUP];
    for (block, chunk) in out.chunks_mut(4 * GROUP).enumerate() {
        for j in 0..GROUP {
            let w = philox(seed, stream, (block * GROUP + j) as u64);
            for q in 0..4 {
                words[q][j] = w[q];
            }
        }
        for j in 0..GROUP {
            for half in 0..2 {
                // 1 − u lies in (0, 1], where the logarithm is finite.
                let radius = (-2.0 * math::ln(s, 1.0 - unit(words[2 * half][j]))).sqrt();
                let (sin, cos) = math::sin_cos_turn(s, unit(words[2 * half + 1][j]));
                normals[4 * j + 2 * half] = radius * cos;
                normals[4 * j + 2 * half + 1] = radius * sin;
            }
        }
        chunk.copy_from_slice(&normals[..chunk.len()]);
    }
}
}

kernel! {
/// Eight 16-bit decisions a Philox counter; the probability is rounded to 1/65536.
fn fill_dropout(s, seed: u64, stream: u64, threshold: u32, keep: f32, out: &mut [f32]) {
    let mut scales = [0f32; 8 * GROUP];
    for (block, chunk) in out.chunks_mut(8 * GROUP).enumerate() {
        for j in 0..GROUP {
            let w = philox(seed, stream, (block * GROUP + j) as u64);
            for q in 0..4 {
                scales[2 * q * GROUP + j] = if (w[q] & 0xffff) < threshold { 0.0 } else { keep };
                scales[(2 * q + 1) * GROUP + j] = if (w[q] >> 16) < threshold { 0.0 } else { keep };
            }
        }
        chunk.copy_from_slice(&scales[..chunk.len()]);
    }
}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn philox_gives_the_published_vectors() {
        // Known-answer tests of the Random123 library.
        assert_eq!(philox(0, 0, 0), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox(u64::MAX, u64::MAX, u64::MAX), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
    }

    #[test]
    fn words_in_bulk_are_those_of_their_counters() {
        let key = Key::new(5).fold(2);
        let mut out = vec![0u32; 331];
        key.fill_words(9, &mut out);
        for (i, word) in out.iter().enumerate() {
            assert_eq!(*word, key.words(9 + i as u64 / 4)[i % 4]);
        }
    }

    #[test]
    fn normals_have_the_moments_of_a_normal() {
        let mut x = vec![0f32; 400_000];
        Key::new(7).fill_normal(&mut x);
        let n = x.len() as f64;
        let moment = |p: i32| x.iter().map(|&v| f64::from(v).powi(p)).sum::<f64>() / n;
        assert!(moment(1).abs() < 0.01, "mean {}", moment(1));
        assert!((moment(2) - 1.0).abs() < 0.01, "variance {}", moment(2));
        assert!(moment(3).abs() < 0.03, "third moment {}", moment(3));
        assert!((moment(4) - 3.0).abs() < 0.06, "fourth moment {}", moment(4));
        let lag: f64 = x.windows(2).map(|w| f64::from(w[0] * w[1])).sum::<f64>() / n;
        assert!(lag.abs() < 0.01, "neighbours correlate: {lag}");
    }

    #[test]
    fn an_element_does_not_depend_on_the_length_of_the_draw() {
        let key = Key::new(3).fold(9);
        let (mut long, mut short) = (vec![0f32; 1000], vec![0f32; 130]);
        key.fill_normal(&mut long);
        key.fill_normal(&mut short);
        assert_eq!(long[..130], short[..]);
    }

    #[test]
    fn dropout_drops_the_share_asked_for() {
        let mut x = vec![0f32; 200_000];
        Key::new(1).fill_dropout(0.05, &mut x);
        let dropped = x.iter().filter(|&&v| v == 0.0).count() as f64 / x.len() as f64;
        assert!((dropped - 0.05).abs() < 0.003, "{dropped}");
        assert!(x.iter().all(|&v| v == 0.0 || (v - 1.0 / 0.95).abs() < 1e-6));
    }

    #[test]
    fn shuffling_keeps_every_item_and_differs_by_key() {
        let shuffled = |key: Key| {
            let mut v: Vec<u32> = (0..100).collect();
            key.shuffle(&mut v);
            v
        };
        let mut sorted = shuffled(Key::new(1));
        assert_ne!(sorted, shuffled(Key::new(2)));
        sorted.sort_unstable();
        assert_eq!(sorted, (0..100).collect::<Vec<_>>());
    }
}
