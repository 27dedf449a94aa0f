//! The checksum of HDF5's newer structures: Bob Jenkins' lookup3 with the start value 0
//! (HDF5 File Format Specification 3.0, I.B; <https://burtleburtle.net/bob/c/lookup3.c>, in the public domain).

/// The checksum of some bytes.
pub(super) fn checksum(bytes: &[u8]) -> u32 {
    let start = 0xdead_beef_u32.wrapping_add(bytes.len() as u32);
    let [mut a, mut b, mut c] = [start; 3];
    let mut rest = bytes;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(rest.len().min(12));
        let word = |i: usize| {
            let mut word = [0; 4];
            let from = now.get(4 * i..).unwrap_or_default();
            let n = from.len().min(4);
            word[..n].copy_from_slice(&from[..n]);
            u32::from_le_bytes(word)
        };
        (a, b, c) = (a.wrapping_add(word(0)), b.wrapping_add(word(1)), c.wrapping_add(word(2)));
        if later.is_empty() {
            for (turn_c, turn_a, turn_b) in [(14, 11, 25), (16, 4, 14)] {
                c = (c ^ b).wrapping_sub(b.rotate_left(turn_c));
                a = (a ^ c).wrapping_sub(c.rotate_left(turn_a));
                b = (b ^ a).wrapping_sub(a.rotate_left(turn_b));
            }
            c = (c ^ b).wrapping_sub(b.rotate_left(24));
        } else {
            for (turn_c, turn_a, turn_b) in [(4, 6, 8), (16, 19, 4)] {
                a = a.wrapping_sub(c) ^ c.rotate_left(turn_c);
                c = c.wrapping_add(b);
                b = b.wrapping_sub(a) ^ a.rotate_left(turn_a);
                a = a.wrapping_add(c);
                c = c.wrapping_sub(b) ^ b.rotate_left(turn_b);
                b = b.wrapping_add(a);
            }
        }
        rest = later;
    }
    c
}

#[cfg(test)]
mod tests {
    use super::checksum;

    /// The values that lookup3's author gives for a start value of 0.
    #[test]
    fn the_checksum_is_lookup3() {
        assert_eq!(checksum(b""), 0xdead_beef);
        assert_eq!(checksum(b"Four score and seven years ago"), 0x1777_0551);
    }
}
