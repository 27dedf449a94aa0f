//! Elementary and special functions that the compiler can vectorise: no branch, no table, no call.
//!
//! Accuracy is tested against `f64` references at the bottom of this file.

use crate::isa::Isa;

/// e^x in `f32`, within 2 ulp; 0 below −87.3 (flushed), saturates above 88.7.
///
/// x = n ln 2 + r with |r| ≤ ½ ln 2; e^r by its Taylor polynomial of degree 7; 2^n by exponent bits.
#[inline(always)]
pub fn exp<I: Isa>(s: I, x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 · 2²³: adding it rounds to a whole number
    const LN2_HI: f32 = 355.0 / 512.0;
    const LN2_LO: f32 = -2.121_944_4e-4;
    let clamped = x.clamp(-87.3, 88.7);
    let shifted = s.fma(clamped, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = s.fma(n, -LN2_LO, s.fma(n, -LN2_HI, clamped));
    let mut p = 1.0 / 5040.0;
    p = s.fma(p, r, 1.0 / 720.0);
    p = s.fma(p, r, 1.0 / 120.0);
    p = s.fma(p, r, 1.0 / 24.0);
    p = s.fma(p, r, 1.0 / 6.0);
    p = s.fma(p, r, 0.5);
    p = s.fma(p, r, 1.0);
    p = s.fma(p, r, 1.0);
    // n as a whole number stands in the low bits of `shifted`; `n as i32` would saturate, lane by lane.
    let n = shifted.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    // 2^n in two factors, since n = 128 has no exponent of its own.
    let half = n >> 1;
    let scale_a = f32::from_bits(((half + 127) as u32) << 23);
    let scale_b = f32::from_bits(((n - half + 127) as u32) << 23);
    let value = p * scale_a * scale_b;
    if x < -87.3 { 0.0 } else { value }
}

/// 2^x to within 3e-7, relative; x is kept between −125 and 125. Without fused steps: for loops outside of kernels.
#[inline(always)]
pub fn exp2(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // as in `exp`
    let x = x.clamp(-125.0, 125.0);
    let rounded = x + ROUND;
    let f = (x - (rounded - ROUND)) * std::f32::consts::LN_2;
    let polynomial =
        1.0 + f * (1.0 + f * (0.5 + f * (1.0 / 6.0 + f * (1.0 / 24.0 + f * (1.0 / 120.0 + f * (1.0 / 720.0))))));
    let exponent = rounded.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127);
    polynomial * f32::from_bits(exponent << 23)
}

/// x^y to within 2e-5, for x a positive normal number.
#[inline(always)]
pub fn power(x: f32, y: f32) -> f32 {
    // x = m 2^e with m in [√½, √2).
    const ROOT_HALF: u32 = 0x3f35_04f3;
    let shifted = x.to_bits().wrapping_add(0x3f80_0000 - ROOT_HALF);
    let exponent = (shifted >> 23) as i32 - 127;
    let m = f32::from_bits((shifted & 0x007f_ffff) + ROOT_HALF);
    let t = (m - 1.0) / (m + 1.0);
    let t2 = t * t;
    let ln_m = 2.0 * t * (1.0 + t2 * (1.0 / 3.0 + t2 * (0.2 + t2 * (1.0 / 7.0))));
    exp2((exponent as f32 + ln_m * std::f32::consts::LOG2_E) * y)
}

/// ln x in `f32` for positive normal x, within 2 ulp.
///
/// x = 2^e (1 + f) with 1 + f in [1/√2, √2]; ln(1 + f) = f − f²/2 + f³ P(f), P the polynomial of degree 7 whose largest
/// relative error there is least (0.1 ulp; our own fit). No division: it takes as long as all of P.
#[inline(always)]
pub fn ln<I: Isa>(s: I, x: f32) -> f32 {
    const LN2_HI: f32 = 355.0 / 512.0;
    const LN2_LO: f32 = -2.121_944_4e-4;
    let bits = x.to_bits() as i32;
    let e = (bits - 0x3f35_04f3) >> 23; // 0x3f3504f3 is 1/√2
    let f = f32::from_bits((bits - (e << 23)) as u32) - 1.0;
    let e = e as f32;
    let mut p = -0.076_344_93;
    p = s.fma(p, f, 0.127_615_75);
    p = s.fma(p, f, -0.131_601_83);
    p = s.fma(p, f, 0.142_017_59);
    p = s.fma(p, f, -0.166_233_57);
    p = s.fma(p, f, 0.200_012_27);
    p = s.fma(p, f, -0.250_008_2);
    p = s.fma(p, f, 0.333_333_3);
    let f2 = f * f;
    // The small terms first, so that the leading one keeps its digits.
    let tail = s.fma(f2 * f, p, s.fma(e, LN2_LO, -0.5 * f2));
    s.fma(e, LN2_HI, f + tail)
}

/// ln(1 + x) in `f32` for x ≥ 0, to 3 ulp: the digits lost in 1 + x are put back.
#[inline(always)]
pub fn ln_1p<I: Isa>(s: I, x: f32) -> f32 {
    let u = 1.0 + x;
    ln(s, u) + (x - (u - 1.0)) / u
}

/// ln(1 + e^x), without overflow.
#[inline(always)]
pub fn softplus<I: Isa>(s: I, x: f32) -> f32 {
    x.max(0.0) + ln_1p(s, exp(s, -x.abs()))
}

/// 1/(1 + e^−x), accurate on both sides.
#[inline(always)]
pub fn logistic<I: Isa>(s: I, x: f32) -> f32 {
    let e = exp(s, -x.abs());
    (if x > 0.0 { 1.0 } else { e }) / (1.0 + e)
}

/// ln x in `f64` for positive normal x, to about 1e-15 relative away from 1.
#[inline(always)]
pub fn ln64<I: Isa>(s: I, x: f64) -> f64 {
    const ODD: [f64; 10] = [
        2.0 / 3.0,
        2.0 / 5.0,
        2.0 / 7.0,
        2.0 / 9.0,
        2.0 / 11.0,
        2.0 / 13.0,
        2.0 / 15.0,
        2.0 / 17.0,
        2.0 / 19.0,
        2.0 / 21.0,
    ];
    let bits = x.to_bits() as i64;
    let e = (bits - 0x3fe6_a09e_667f_3bcd) >> 52;
    let m = f64::from_bits((bits - (e << 52)) as u64);
    let t = (m - 1.0) / (m + 1.0);
    let t2 = t * t;
    let mut p = ODD[9];
    p = s.fma64(p, t2, ODD[8]);
    p = s.fma64(p, t2, ODD[7]);
    p = s.fma64(p, t2, ODD[6]);
    p = s.fma64(p, t2, ODD[5]);
    p = s.fma64(p, t2, ODD[4]);
    p = s.fma64(p, t2, ODD[3]);
    p = s.fma64(p, t2, ODD[2]);
    p = s.fma64(p, t2, ODD[1]);
    p = s.fma64(p, t2, ODD[0]);
    let f = m - 1.0;
    // Through i32: processors without AVX-512 cannot convert lanes of i64.
    s.fma64(f64::from(e as i32), std::f64::consts::LN_2, f - t * s.fma64(-t2, p, f))
}

/// e^x in `f64` for x ≤ 0, within 2 ulp down to e⁻⁶⁹⁰; 0 below.
///
/// x = n ln 2 + r with |r| ≤ ½ ln 2; e^r by its Taylor polynomial of degree 13; 2^n by exponent bits.
#[inline(always)]
pub fn exp64<I: Isa>(s: I, x: f64) -> f64 {
    const ROUND: f64 = 6_755_399_441_055_744.0; // 1.5 · 2⁵²: adding it rounds to a whole number
    const LN2_HI: f64 = 6.931_471_803_691_238e-1; // its last 21 bits are zero
    const LN2_LO: f64 = 1.908_214_929_270_587_7e-10;
    const LEAST: f64 = -690.0;
    let clamped = if x > LEAST { x } else { LEAST };
    let shifted = s.fma64(clamped, std::f64::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = s.fma64(n, -LN2_LO, s.fma64(n, -LN2_HI, clamped));
    let mut p = 1.0 / 6_227_020_800.0;
    p = s.fma64(p, r, 1.0 / 479_001_600.0);
    p = s.fma64(p, r, 1.0 / 39_916_800.0);
    p = s.fma64(p, r, 1.0 / 3_628_800.0);
    p = s.fma64(p, r, 1.0 / 362_880.0);
    p = s.fma64(p, r, 1.0 / 40_320.0);
    p = s.fma64(p, r, 1.0 / 5040.0);
    p = s.fma64(p, r, 1.0 / 720.0);
    p = s.fma64(p, r, 1.0 / 120.0);
    p = s.fma64(p, r, 1.0 / 24.0);
    p = s.fma64(p, r, 1.0 / 6.0);
    p = s.fma64(p, r, 0.5);
    p = s.fma64(p, r, 1.0);
    p = s.fma64(p, r, 1.0);
    // n as a whole number stands in the low bits of `shifted`.
    let n = shifted.to_bits().wrapping_sub(ROUND.to_bits());
    let value = p * f64::from_bits(n.wrapping_add(1023) << 52);
    if x > LEAST { value } else { 0.0 }
}

/// ln Γ(x) and its derivative ψ(x) for x > 0, in `f64`, to about 1e-13.
///
/// The argument is raised by eight (Γ(x) = Γ(x + 8) / Π (x + i)), where Stirling's series is
/// accurate; the product and its logarithmic derivative are carried along together.
#[inline(always)]
pub fn lgamma_digamma<I: Isa>(s: I, x: f64) -> (f64, f64) {
    const HALF_LN_2PI: f64 = 0.918_938_533_204_672_8;
    // Above 2⁵⁰ the shift would be lost and the product overflow; there Stirling needs no help.
    let far = x > 1e15;
    let a = if far { 1.0 } else { x };
    let mut product = a;
    let mut slope = 1.0; // derivative of the product
    for i in 1..8 {
        let factor = a + f64::from(i);
        slope = s.fma64(slope, factor, product);
        product *= factor;
    }
    let b = if far { x } else { x + 8.0 };
    let (ln_product, shift) = if far { (0.0, 0.0) } else { (ln64(s, product), slope / product) };
    let ln_b = ln64(s, b);
    let inv = 1.0 / b;
    let inv2 = inv * inv;
    // Bernoulli terms of Stirling's series.
    let mut g = -691.0 / 360_360.0;
    g = s.fma64(g, inv2, 1.0 / 1188.0);
    g = s.fma64(g, inv2, -1.0 / 1680.0);
    g = s.fma64(g, inv2, 1.0 / 1260.0);
    g = s.fma64(g, inv2, -1.0 / 360.0);
    g = s.fma64(g, inv2, 1.0 / 12.0);
    let lgamma = s.fma64(b - 0.5, ln_b, s.fma64(g, inv, HALF_LN_2PI - b)) - ln_product;
    let mut d = -691.0 / 32_760.0;
    d = s.fma64(d, inv2, 1.0 / 132.0);
    d = s.fma64(d, inv2, -1.0 / 240.0);
    d = s.fma64(d, inv2, 1.0 / 252.0);
    d = s.fma64(d, inv2, -1.0 / 120.0);
    d = s.fma64(d, inv2, 1.0 / 12.0);
    let digamma = ln_b - 0.5 * inv - inv2 * d - shift;
    (lgamma, digamma)
}

/// sin and cos of 2π u for u in [0, 1), to 1e-7 absolute (for Gaussian sampling).
#[inline(always)]
pub fn sin_cos_turn<I: Isa>(s: I, u: f32) -> (f32, f32) {
    // u = k/4 + r, |r| ≤ 1/8 of a turn.
    const ROUND: f32 = 12_582_912.0;
    let shifted = s.fma(4.0, u, ROUND);
    let k = shifted.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    let r = s.fma(shifted - ROUND, -0.25, u) * std::f32::consts::TAU;
    let r2 = r * r;
    let mut sp = -1.0 / 5040.0;
    sp = s.fma(sp, r2, 1.0 / 120.0);
    sp = s.fma(sp, r2, -1.0 / 6.0);
    let sin = s.fma(sp * r2, r, r);
    let mut cp = 1.0 / 40320.0;
    cp = s.fma(cp, r2, -1.0 / 720.0);
    cp = s.fma(cp, r2, 1.0 / 24.0);
    cp = s.fma(cp, r2, -0.5);
    let cos = s.fma(cp, r2, 1.0);
    let swap = k & 1 == 1;
    let (a, b) = if swap { (cos, sin) } else { (sin, cos) };
    let sin_sign = if k & 2 == 2 { -1.0 } else { 1.0 };
    let cos_sign = if (k + 1) & 2 == 2 { -1.0 } else { 1.0 };
    (a * sin_sign, b * cos_sign)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isa::{Fused, Separate};

    fn ulps(got: f32, want: f64) -> f64 {
        let unit = f64::from(f32::from_bits((want as f32).abs().to_bits() + 1)) - f64::from((want as f32).abs());
        (f64::from(got) - want).abs() / unit.max(1e-45)
    }

    #[test]
    fn exp_is_within_two_ulp() {
        let mut worst: f64 = 0.0;
        for i in -870_000..887_000 {
            let x = i as f32 * 1e-4;
            worst = worst.max(ulps(exp(Fused, x), f64::from(x).exp()));
            worst = worst.max(ulps(exp(Separate, x), f64::from(x).exp()) - 1.0);
        }
        assert!(worst <= 2.0, "{worst} ulp");
        assert_eq!(exp(Fused, -200.0), 0.0);
        assert_eq!(exp(Fused, f32::NEG_INFINITY), 0.0);
        assert!(exp(Fused, 200.0).is_finite());
    }

    #[test]
    fn powers() {
        for i in -60..60 {
            let x = 1.37f32.powi(i);
            for y in [0.7f32, 0.895, 1.0, 1.334] {
                let exact = f64::from(x).powf(f64::from(y));
                assert!((f64::from(power(x, y)) / exact - 1.0).abs() < 2e-5, "{x}^{y}: {} {exact}", power(x, y));
            }
        }
        for i in 0..1000 {
            let x = -0.015 * i as f32;
            assert!((f64::from(exp2(x)) / f64::from(x).exp2() - 1.0).abs() < 3e-7, "2^{x}: {}", exp2(x));
        }
        assert!(exp2(-1e9) < 1e-37 && exp2(0.0) == 1.0);
    }

    #[test]
    fn exp64_is_within_two_ulp() {
        for i in 0..689_000 {
            let x = -f64::from(i) * 1e-3;
            let want = x.exp();
            assert!((exp64(Fused, x) - want).abs() <= 2.0 * f64::EPSILON * want, "{x}");
            assert!((exp64(Separate, x) - want).abs() <= 4.0 * f64::EPSILON * want, "{x}");
        }
        assert_eq!([exp64(Fused, 0.0), exp64(Fused, -700.0), exp64(Fused, f64::NEG_INFINITY)], [1.0, 0.0, 0.0]);
    }

    #[test]
    fn ln_is_within_two_ulp() {
        let mut worst: f64 = 0.0;
        let mut x = 1e-30f32;
        while x < 1e30 {
            worst = worst.max(ulps(ln(Fused, x), f64::from(x).ln()));
            worst = worst.max(ulps(ln(Separate, x), f64::from(x).ln()) - 1.0);
            x *= 1.000_13;
        }
        assert!(worst <= 2.0, "{worst} ulp");
    }

    /// ln Γ by Stirling's series after raising the argument by 100: an independent reference.
    fn reference(x: f64) -> (f64, f64) {
        let (mut l, mut d) = (0.0, 0.0);
        for i in 0..100 {
            l -= (x + f64::from(i)).ln();
            d -= 1.0 / (x + f64::from(i));
        }
        let b = x + 100.0;
        l += (b - 0.5) * b.ln() - b + 0.918_938_533_204_672_8 + 1.0 / (12.0 * b) - 1.0 / (360.0 * b.powi(3));
        d += b.ln() - 0.5 / b - 1.0 / (12.0 * b * b) + 1.0 / (120.0 * b.powi(4));
        (l, d)
    }

    #[test]
    fn gamma_functions_agree_with_the_reference() {
        let mut x = 1e-6;
        while x < 1e7 {
            let (l, d) = lgamma_digamma(Fused, x);
            let (rl, rd) = reference(x);
            assert!((l - rl).abs() <= 1e-11 * rl.abs().max(1.0), "lgamma({x}) = {l}, reference {rl}");
            assert!((d - rd).abs() <= 1e-11 * rd.abs().max(1.0), "digamma({x}) = {d}, reference {rd}");
            x *= 1.07;
        }
        // Known values: Γ(1) = 1, Γ(½) = √π, ψ(1) = −γ.
        assert!(lgamma_digamma(Fused, 1.0).0.abs() < 1e-13);
        assert!((lgamma_digamma(Fused, 0.5).0 - 0.5 * std::f64::consts::PI.ln()).abs() < 1e-13);
        assert!((lgamma_digamma(Fused, 1.0).1 + 0.577_215_664_901_532_9).abs() < 1e-13);
        assert!(lgamma_digamma(Fused, 1e300).0.is_finite());
    }

    #[test]
    fn sine_and_cosine_of_a_turn() {
        for i in 0..100_000 {
            let u = i as f32 / 100_000.0;
            let (s, c) = sin_cos_turn(Fused, u);
            let angle = f64::from(u) * std::f64::consts::TAU;
            assert!((f64::from(s) - angle.sin()).abs() < 6e-7, "sin at {u}");
            assert!((f64::from(c) - angle.cos()).abs() < 6e-7, "cos at {u}");
        }
    }
}
