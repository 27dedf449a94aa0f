//! Random numbers as a function of a seed and a counter: no state, so threads cannot change them.

/// 64 random bits for number `counter` of stream `seed` (finaliser of SplitMix64; Steele, Lea & Flood 2014).
pub fn mix(seed: u64, counter: u64) -> u64 {
    let mut z = seed.wrapping_add(counter.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
